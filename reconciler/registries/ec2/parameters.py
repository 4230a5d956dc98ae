"""SSM parameters of data type aws:ec2:image: where consumers of AMIs look them up by names that stay."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from reconciler.aws.clock import Clock, Polling
from reconciler.aws.errors import code_of, translated
from reconciler.aws.session import Clients
from reconciler.model.errors import Terminal, Transient
from reconciler.model.observation import Held
from reconciler.registries.ec2.images import FLEET_TAG

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import ParameterTypeDef

MOST_NAMES = 10
"""Names that GetParameters takes in one call (SSM's API reference)."""
DATA_TYPE = "aws:ec2:image"
AMI_ID = re.compile(r"\bami-[0-9a-f]{8,17}\b")
"""An AMI's id in a text."""
LABEL = "build-"
"""What our labels begin with: SSM takes none that begins with a digit, as a build's id does."""
MOST_LABELLED = 20
"""Versions of a parameter that have one. Eighty more can be written until the oldest of them would be in the way."""
_PATIENCE = 60.0
"""Seconds for which a value is awaited. SSM looks the AMI up after PutParameter has answered, in a few seconds."""
_MAY_LOOK = "may this role call ec2:DescribeImages? SSM checks the AMI with its rights, and without it says nothing"


class Parameters:
    """One fleet's parameters in one account; making one reads nothing and never fails.

    They are what `Publisher` promises of names; `Consumers` is all of it.
    """

    def __init__(
        self, clients: Clients, *, fleet: str, clock: Clock | None = None, polling: Polling | None = None
    ) -> None:
        """Take the clients of the run. `fleet` is the value of the tag that its parameters carry."""
        self._clients, self._fleet = clients, fleet
        self._clock, self._polling = clock or Clock(), polling or Polling(first=0.5, longest=8)

    def read(self, location: str, names: Sequence[str]) -> Mapping[str, Held]:
        """What the parameters hold: a call for every ten. See `Publisher.read`."""
        found: dict[str, Held] = {}
        for first in range(0, len(names), MOST_NAMES):
            with translated(f"reading SSM parameters in {location}"):
                batch = list(names[first : first + MOST_NAMES])
                for one in self._ssm(location).get_parameters(Names=batch)["Parameters"]:
                    found[one["Name"]] = _held(one)
        return found

    def is_ours(self, location: str, name: str) -> bool:
        """Whether a parameter carries the fleet's tag. See `Publisher.is_ours`."""
        with translated(f"reading the tags of SSM parameter {name} in {location}"):
            try:
                tags = self._ssm(location).list_tags_for_resource(ResourceType="Parameter", ResourceId=name)["TagList"]
            except ClientError as error:
                if code_of(error) == "InvalidResourceId":
                    return True
                raise
        return any((one["Key"], one["Value"]) == (FLEET_TAG, self._fleet) for one in tags)

    def put(self, location: str, name: str, artifact_id: str, *, description: str) -> int:
        """Write an AMI's id. See `Publisher.put`.

        A new parameter is made with its tag, in one call that refuses one which is there. One that is there is looked
        at before: an overwrite asks neither for whose it is nor whether it is there at all.
        """
        before = self.read(location, [name]).get(name)
        ssm, doing = self._ssm(location), f"writing SSM parameter {name} in {location}"
        if before is None:
            with translated(doing):
                return ssm.put_parameter(
                    Name=name, Value=artifact_id, Type="String", DataType=DATA_TYPE, Description=description,
                    Tags=[{"Key": FLEET_TAG, "Value": self._fleet}],
                )["Version"]  # fmt: skip
        if before.misfit is not None:
            raise Terminal(f"SSM parameter {name} in {location} {before.misfit}, which can't be changed",
                           hint="give another name in `publish.ssm`")  # fmt: skip
        self._refuse_others(location, name, what="written")
        with translated(doing):
            return ssm.put_parameter(
                Name=name, Value=artifact_id, Type="String", DataType=DATA_TYPE, Description=description,
                Overwrite=True,
            )["Version"]  # fmt: skip

    def confirm(self, location: str, name: str, artifact_id: str, *, version: int) -> None:
        """Read a parameter until it is the version that was written. See `Publisher.confirm`.

        "A successful HTTP 200 response does not guarantee that your parameter was successfully created or updated"
        (PutParameter, SSM's API reference, of this data type).
        """
        held = self._wait_for(location, name, artifact_id, version=version)
        if held.value != artifact_id or held.misfit is not None:
            raise Transient(f"SSM parameter {name} in {location} was written by somebody else meanwhile: {held.value}")
        if version == 1:
            # Somebody may have deleted it while it was overwritten: that makes it, and takes no tags.
            with translated(f"tagging SSM parameter {name} in {location}"):
                self._ssm(location).add_tags_to_resource(
                    ResourceType="Parameter", ResourceId=name, Tags=[{"Key": FLEET_TAG, "Value": self._fleet}]
                )

    def label(self, location: str, name: str, *, version: int, build: str) -> None:
        """Label a version `build-…`, read it by that, and take the labels of old ones off. See `Publisher.label`.

        SSM drops the oldest of 100 versions for the next one, but none that has a label: it writes no more then
        ("Working with parameter versions", Systems Manager user guide). So only the newest have one of ours. A label
        that another version has moves ("Working with parameter labels": no digit first, ten for each version).
        """
        ssm, label = self._ssm(location), f"{LABEL}{build}"
        with translated(f"labelling SSM parameter {name} in {location}"):
            refused = ssm.label_parameter_version(Name=name, ParameterVersion=version, Labels=[label])["InvalidLabels"]
            found = ssm.get_parameters(Names=[f"{name}:{label}"])["Parameters"]
            if refused or [one["Version"] for one in found] != [version]:
                raise Transient(f"version {version} of SSM parameter {name} in {location} is not found by {label}")
            if version > MOST_LABELLED:
                self._unlabel(ssm, name, before=version - MOST_LABELLED)

    @staticmethod
    def _unlabel(ssm: SSMClient, name: str, *, before: int) -> None:
        """Take our labels off a version and those before: mostly off one, as each write leaves one more behind."""
        pages = ssm.get_paginator("get_parameter_history").paginate(Name=name, PaginationConfig={"PageSize": 50})
        for one in (one for page in pages for one in page["Parameters"] if one["Version"] <= before):
            ours = [label for label in one.get("Labels", ()) if label.startswith(LABEL)]
            if ours:
                ssm.unlabel_parameter_version(Name=name, ParameterVersion=one["Version"], Labels=ours)

    def remove(self, location: str, name: str) -> None:
        """Delete a parameter of ours. See `Publisher.remove`."""
        self._refuse_others(location, name, what="deleted")
        with translated(f"deleting SSM parameter {name} in {location}"):
            try:
                self._ssm(location).delete_parameter(Name=name)
            except ClientError as error:
                if code_of(error) != "ParameterNotFound":
                    raise

    def _wait_for(self, location: str, name: str, artifact_id: str, *, version: int) -> Held:
        waited = 0.0
        for delay in self._polling.delays():
            held = self.read(location, [name]).get(name)
            if held is not None and held.version >= version:
                return held
            if waited >= _PATIENCE:
                break
            self._clock.sleep(delay)
            waited += delay
        raise Terminal(
            f"SSM parameter {name} in {location} did not take {artifact_id} within {_PATIENCE:.0f} s",
            hint=(_MAY_LOOK, f"`aws ec2 describe-images --region {location} --image-ids {artifact_id}` shows it"),
        )

    def _refuse_others(self, location: str, name: str, *, what: str) -> None:
        if not self.is_ours(location, name):
            raise Terminal(
                f"SSM parameter {name} in {location} is not {what}: it does not carry {FLEET_TAG}={self._fleet}",
                hint="give another name in `publish.ssm`; if it is this fleet's, tag it so",
            )

    def _ssm(self, location: str) -> SSMClient:
        with translated(f"reaching SSM in {location}"):
            return self._clients.ssm(location)


def _held(parameter: ParameterTypeDef) -> Held:
    kind, data_type = parameter.get("Type", "String"), parameter.get("DataType", "text")
    misfit = f"is a {kind}" if kind != "String" else f"has the data type {data_type}"
    return Held(
        value=parameter.get("Value", "") if kind != "SecureString" else "a SecureString",
        version=parameter.get("Version", 0),
        misfit=None if (kind, data_type) == ("String", DATA_TYPE) else misfit,
    )
