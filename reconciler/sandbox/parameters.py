"""SSM's parameters of data type aws:ec2:image as SSM has them, where moto has less. Seen with moto 5.2.5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from moto.ec2.models import ec2_backends
from moto.ssm.exceptions import ValidationException
from moto.ssm.models import Parameter, SimpleSystemManagerBackend

_IMAGE = "aws:ec2:image"
_put = SimpleSystemManagerBackend.put_parameter
_get = SimpleSystemManagerBackend.get_parameter
_get_several = SimpleSystemManagerBackend.get_parameters


@dataclass
class _Written:
    """A version that SSM has answered for, and has not looked up yet."""

    version: Parameter
    passes: bool
    seen: bool = False
    """Whether somebody looked since: whoever looks first finds what was there before."""


_asks = {"allowed": True}
"""Whether whoever makes the call that is judged now may describe images."""


def install() -> None:
    """Have moto's parameters validated as SSM's are. Versions and labels moto has as SSM does."""
    SimpleSystemManagerBackend.put_parameter = _put_parameter  # type: ignore[method-assign]  # no hook
    SimpleSystemManagerBackend.get_parameter = _get_parameter  # type: ignore[method-assign]  # no hook
    SimpleSystemManagerBackend.get_parameters = _get_parameters  # type: ignore[method-assign]  # no hook


def checked_by_its_caller(*, allowed: bool) -> None:
    """Note whether the caller may describe images: SSM looks an AMI up with the rights of whoever writes it."""
    _asks["allowed"] = allowed


def _put_parameter(self: Any, name: str, *args: Any, **kwargs: Any) -> Parameter:
    """PutParameter; moto takes any value at once, and another data type for one that is there.

    "If you call PutParameter with aws:ec2:image data type, a successful HTTP 200 response does not guarantee that your
    parameter was successfully created or updated. The aws:ec2:image value is validated asynchronously … If you submit
    an invalid AMI value, the PutParameter operation will return success, but the asynchronous validation will fail and
    the parameter will not be created or updated":
    https://docs.aws.amazon.com/systems-manager/latest/APIReference/API_PutParameter.html#systemsmanager-PutParameter-request-DataType
    Without ec2:DescribeImages it is the same (boto/boto3#3588, aws/aws-sdk-java#2919). The data type of one that is
    there can't be changed (bottlerocket-os/twoliter#495, hashicorp/terraform-provider-aws#35959).
    """
    _settle(self, name)
    before = _get(self, name)
    data_type = args[7] if len(args) > 7 else kwargs.get("data_type")  # as moto's own call has it, and CloudFormation's
    if before is not None and data_type not in (None, before.data_type):
        raise ValidationException(f"The data type of parameter {name} is {before.data_type} and can't be changed")
    made = _put(self, name, *args, **kwargs)
    if made.data_type == _IMAGE:
        versions = self._parameters[name]
        versions.pop()
        if not versions:
            del self._parameters[name]
        _written(self)[name] = _Written(made, passes=_asks["allowed"] and _is_available(self, made.value))
    return made


def _get_parameter(self: Any, name: str) -> Parameter | None:
    """GetParameter, and whatever else moto does by it."""
    _look(self, name.partition(":")[0])
    return _get(self, name)


def _get_parameters(self: Any, names: list[str]) -> dict[str, Parameter]:
    """GetParameters; of names that are there moto asks by GetParameter."""
    for name in (one.partition(":")[0] for one in names):
        if name not in self._parameters:
            _look(self, name)
    return _get_several(self, names)


def _look(self: Any, name: str) -> None:
    waiting = _written(self).get(name)
    if waiting is None:
        return
    if waiting.seen:
        _settle(self, name)
    waiting.seen = True


def _settle(self: Any, name: str) -> None:
    """Let SSM have looked the AMI up."""
    waiting = _written(self).pop(name, None)
    if waiting is None:
        return
    if waiting.passes:
        self._parameters[name].append(waiting.version)
    elif name not in self._parameters:
        self._resource_tags["Parameter"].pop(name, None)


def _is_available(self: Any, image_id: str) -> bool:
    image = ec2_backends[self.account_id][self.region_name].amis.get(image_id)
    return image is not None and image.state == "available"


def _written(self: Any) -> dict[str, _Written]:
    """What waits to be looked up in this account and region, by name."""
    waiting: dict[str, _Written] = self.__dict__.setdefault("written", {})
    return waiting
