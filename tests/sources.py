"""Sources as tests write them."""

from typing import Any

from reconciler.model.source import SourceRequest
from reconciler.registries.ec2.dialect import AmiRequest


def amis(**asked: Any) -> SourceRequest:
    """An upstream AMI, asked for as image.yaml does."""
    return of(AmiRequest(**asked))


def of(asked: AmiRequest) -> SourceRequest:
    """The same from its model."""
    return SourceRequest.model_validate({"ami": asked.model_dump(mode="json", exclude_defaults=True)})


def parameter(name: str) -> SourceRequest:
    """An SSM parameter that holds the id of one."""
    return SourceRequest.model_validate({"ssm": name})
