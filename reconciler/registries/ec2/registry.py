"""AMIs: the registry that is EC2, and the sources that images are built on."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from reconciler.aws.clock import clock_until
from reconciler.aws.errors import code_of, misspelt, translated
from reconciler.aws.session import Clients, clients_of
from reconciler.model.care import Grants
from reconciler.model.collection import Abandoned, Unmanaged
from reconciler.model.errors import ReconcilerError, Terminal, UserError
from reconciler.model.lockfile import Artifact, Conversion
from reconciler.model.observation import Observation, Seen
from reconciler.model.restoration import Binned
from reconciler.model.source import Pin, SourceRequest
from reconciler.model.usage import Usage, Use
from reconciler.model.values import told_instant, told_moment
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Located, Opening, Remains
from reconciler.registries.ec2 import care, changes, images, keys, recycle_bin
from reconciler.registries.ec2.abandoned import abandoned
from reconciler.registries.ec2.abandoned import remove as remove_abandoned
from reconciler.registries.ec2.account import FleetInAccount
from reconciler.registries.ec2.dialect import AMI, AmiRequest
from reconciler.registries.ec2.images import NEVER_REACHED, PAGE, describe, server_time
from reconciler.registries.ec2.usage import unmanaged
from reconciler.registries.ec2.usage import usage as ask_usage
from reconciler.registries.ec2.usage_reports import elsewhere

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import FilterTypeDef, ImageTypeDef


# Resolves what an image is built on: an AMI id, a filter or an SSM parameter, to one AMI.
#
# Packer's own "most recent" sorts unstably, and inside the build. Here the newest creation date wins, then the greatest
# id, so that the same catalogue gives the same AMI every time.

_AMI_ID = re.compile(r"ami-[0-9a-f]+")
_NO_PARAMETER = frozenset({"ParameterNotFound", "ParameterVersionNotFound"})


def resolve(clients: Clients, request: SourceRequest, *, region: str, architecture: str | None, now: datetime) -> Pin:
    """Resolve a source in a region. See `Registry.resolve`. `now` tells which AMIs are deprecated."""
    with _spelt(clients, region):
        return _resolved(clients, request, region=region, architecture=architecture, now=now)


@contextmanager
def _spelt(clients: Clients, region: str) -> Iterator[None]:
    """Where a region could not be reached, say so if there is none of that name."""
    try:
        yield
    except ReconcilerError as error:
        never_reached = isinstance(error.__cause__, Exception) and code_of(error.__cause__) in NEVER_REACHED
        fault = misspelt(region, known=clients.regions) if never_reached else None
        if fault is None:
            raise
        raise fault.rule.error(fault.reason, hint=fault.rule.hint) from error


def _resolved(clients: Clients, request: SourceRequest, *, region: str, architecture: str | None, now: datetime) -> Pin:
    if request.upstream is None:
        raise ValueError("a parent image is resolved from state/, not from a registry")
    word, asked = request.upstream
    if word == "ssm":
        held = _parameter(clients, asked, region=region)
        return _pin(_by_id(clients, held, region=region, said_by=f"SSM parameter {asked}"), region)
    ami = AmiRequest.model_validate(asked)
    if ami.id is not None:
        return _pin(_by_id(clients, ami.id, region=region, said_by=None), region)
    return _pin(_newest(clients, ami, region=region, architecture=architecture, now=now), region)


def _pin(image: ImageTypeDef, region: str) -> Pin:
    return AMI.pin(
        region,
        image["ImageId"],
        name=image.get("Name"),
        owner=image.get("OwnerId"),
        created=told_instant(image.get("CreationDate")) or None,
    )


def _by_id(clients: Clients, image_id: str, *, region: str, said_by: str | None) -> ImageTypeDef:
    with translated(f"describing source {image_id} in {region}"):
        image = describe(clients.ec2(region), image_id)
    whence = f" (from {said_by})" if said_by else ""
    if image is None:
        raise UserError(
            f"source {image_id}{whence} is not in {region}, or not shared with this account",
            hint="AMI ids differ from region to region: name one of this region, or declare a filter with owners",
        )
    if image["State"] != "available":
        raise UserError(
            f"source {image_id}{whence} in {region} is {image['State']} and can't be built on",
            hint="name another AMI, or wait until its owner makes it available",
        )
    return image


def _parameter(clients: Clients, name: str, *, region: str) -> str:
    with translated(f"reading SSM parameter {name} in {region}"):
        try:
            parameter = clients.ssm(region).get_parameter(Name=name)["Parameter"]
        except ClientError as error:
            if code_of(error) not in _NO_PARAMETER:
                raise
            raise UserError(
                f"there is no SSM parameter {name} in {region}",
                hint=f"`aws ssm get-parameter --region {region} --name {name}` shows what it holds",
            ) from error
    value = parameter.get("Value", "").strip()
    if not _AMI_ID.fullmatch(value):
        # The value of a SecureString is never shown, encrypted or not.
        shown = "a SecureString" if parameter.get("Type") == "SecureString" else repr(value[:40])
        raise UserError(
            f"SSM parameter {name} in {region} holds {shown}, which is no AMI id",
            hint="its value must be an AMI id; of public parameters that is often the one that ends in /image_id",
        )
    return value


def _newest(
    clients: Clients, request: AmiRequest, *, region: str, architecture: str | None, now: datetime
) -> ImageTypeDef:
    filters = _filters(request, architecture=architecture)
    with translated(f"looking in {region} for an AMI with {_described(filters, request.owners)}"):
        matches = _matches(clients.ec2(region), filters, owners=request.owners)
    if not matches:
        raise UserError(
            f"no AMI in {region} has {_described(filters, request.owners)}",
            hint=(
                "check name, owners and architecture; AMIs of other owners that are deprecated are not taken",
                f"`aws ec2 describe-images --region {region} --owners {' '.join(request.owners)}` lists what there is",
            ),
        )
    # EC2 hides the deprecated images of other owners, but shows one's own.
    current = [image for image in matches if not _is_deprecated(image, now=now)]
    return max(current or matches, key=lambda image: (image.get("CreationDate", ""), image["ImageId"]))


def _filters(request: AmiRequest, *, architecture: str | None) -> dict[str, tuple[str, ...]]:
    wanted = dict(request.filters)
    if request.name is not None:
        wanted["name"] = (request.name,)
    arch = request.architecture or (None if "architecture" in wanted else architecture)
    if arch is not None:
        wanted["architecture"] = (arch,)
    wanted["state"] = ("available",)
    return dict(sorted(wanted.items()))


def _matches(ec2: EC2Client, filters: dict[str, tuple[str, ...]], *, owners: Sequence[str]) -> list[ImageTypeDef]:
    listed: list[FilterTypeDef] = [{"Name": name, "Values": list(values)} for name, values in filters.items()]
    # Aliases (self, amazon, aws-marketplace) go to Owners as account ids do.
    pages = ec2.get_paginator("describe_images").paginate(
        Owners=list(owners), Filters=listed, PaginationConfig={"PageSize": PAGE}
    )
    return [image for page in pages for image in page["Images"]]


def _is_deprecated(image: ImageTypeDef, *, now: datetime) -> bool:
    since = told_moment(image.get("DeprecationTime"))
    return since is not None and since <= now


def _described(filters: dict[str, tuple[str, ...]], owners: Sequence[str]) -> str:
    asked = (f"{name} {' or '.join(values)}" for name, values in filters.items() if name != "state")
    return f"{', '.join(asked)} and owner {' or '.join(owners)}"


# EC2 as a registry of AMIs.


class Ec2Registry(FleetInAccount):
    """One fleet's AMIs in one account. Implements `Registry`."""

    _ahead: tuple[tuple[str, ...], Future[Observation]] | None = None
    """What is read ahead: which locations, and what comes of it."""

    def is_same(self, location: str, other: str, *, artifact_id: str = "") -> bool:
        """Whether it is one region. See `Registry.is_same`."""
        del artifact_id
        return location == other

    def expect(self, locations: Sequence[str]) -> None:
        """Begin to read locations that will probably be observed next, while the caller does something else."""
        pool = ThreadPoolExecutor(max_workers=1)
        asked = tuple(locations)
        self._ahead = asked, pool.submit(images.observe, self._clients, asked, fleet=self._fleet)
        pool.shutdown(wait=False)

    def observe(self, locations: Sequence[str]) -> Observation:
        """Report the fleet's AMIs. See `Registry.observe`. What was expected, and asked for just so, is used once."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead[0] == tuple(locations):
            return ahead[1].result()
        return images.observe(self._clients, locations, fleet=self._fleet)

    def find(self, location: str, artifact_id: str, *, patience: float = 0) -> Seen | None:
        """Report one AMI, or None. See `Registry.find`."""
        return images.find(self._clients, location, artifact_id, patience=patience, clock=self._clock)

    def named(self, location: str, name: str) -> tuple[Seen, ...]:
        """Report the account's own AMIs of a name. See `Registry.named`."""
        return images.named(self._clients, location, name)

    def store(
        self, location: str, made: Sequence[Made], *, name: str, tags: Mapping[str, str]
    ) -> Sequence[Artifact]:  # fmt: skip
        """Nothing: Packer itself makes AMIs. See `Registry.store`."""
        del location, made, name, tags
        return ()

    def tag(self, artifact: Located, tags: Mapping[str, str]) -> None:
        """Set tags on an AMI and its snapshots. See `Registry.tag`."""
        changes.tag(self._clients, artifact, tags, clock=self._clock)

    def tag_all(self, location: str, artifacts: Sequence[Located], tags: Mapping[str, str]) -> None:
        """Set the same tags on many AMIs and their snapshots. See `Registry.tag_all`."""
        changes.tag_all(self._clients, location, artifacts, tags, clock=self._clock)

    def copy(self, source: Located, *, to: str, name: str, tags: Mapping[str, str], token: str) -> str:
        """Begin a copy in another region and return its id. See `Registry.copy`."""
        return changes.copy(self._clients, source, to=to, name=name, tags=tags, token=token)

    def convert(
        self, artifact: Located, *, form: str, name: str, tags: Mapping[str, str], known: Sequence[tuple[str, str]]
    ) -> Conversion:  # fmt: skip
        """An AMI has one format. See `Registry.convert`."""
        del name, tags, known
        raise Terminal(f"{artifact.id} in {artifact.location} can't be converted to {form}: an AMI has one format")

    def complete_copy(self, made: Located, *, of: Located) -> None:
        """Give a copy what CopyImage left out. See `Registry.complete_copy`."""
        changes.complete_copy(self._clients, made, of=of, now=self._clock.now())

    def wait_available(self, location: str, artifact_id: str, *, timeout: float) -> Seen:
        """Wait for an AMI. See `Registry.wait_available`."""
        return images.wait_available(
            self._clients, location, artifact_id, timeout=timeout, polling=self._polling, clock=self._clock
        )

    def grants(self, artifact: Located) -> Grants:
        """Who may launch an AMI. See `Registry.grants`."""
        return care.grants(self._clients, artifact)

    def obstacles(self, location: str, artifacts: Sequence[Located], *, everybody: bool = False) -> Mapping[str, str]:
        """Why others could not launch AMIs. See `Registry.obstacles`."""
        return care.obstacles(self._clients, location, artifacts, everybody=everybody)

    def lacking(self, location: str, artifacts: Sequence[Located], *, to: Grants) -> Mapping[str, Sequence[str]]:
        """What a key keeps from those who may launch AMIs. See `Registry.lacking`."""
        return keys.lacking(self._clients, location, artifacts, to=to)

    def share(self, artifact: Located, *, add: Grants, remove: Grants) -> None:
        """Change launch permissions. See `Registry.share`."""
        care.share(self._clients, artifact, add=add, remove=remove)

    def deprecate(self, artifact: Located, at: datetime | None) -> None:
        """Set the date of deprecation. See `Registry.deprecate`."""
        care.deprecate(self._clients, artifact, at)

    def protect(self, artifact: Located, *, on: bool) -> None:
        """Switch deregistration protection. See `Registry.protect`."""
        care.protect(self._clients, artifact, on=on)

    def disable(self, artifact: Located) -> None:
        """Disable an AMI. See `Registry.disable`."""
        care.disable(self._clients, artifact)

    def enable(self, artifact: Located) -> None:
        """Enable an AMI. See `Registry.enable`."""
        care.enable(self._clients, artifact)

    def retire(self, artifact: Located, *, image: str) -> Remains:
        """Deregister an AMI and delete its snapshots. See `Registry.retire`."""
        return changes.retire(self._clients, artifact, fleet=self._fleet, image=image)

    def reconsider(self, artifacts: Sequence[Located]) -> bool:
        """False: nothing stays here that was to go. See `Registry.reconsider`."""
        del artifacts
        return False

    def resolve(self, request: SourceRequest, *, location: str, architecture: str | None = None) -> Pin:
        """Resolve a source to one AMI. See `Registry.resolve`."""
        return resolve(self._clients, request, region=location, architecture=architecture, now=self._clock.now())

    def given(self, location: str, source: str) -> str:
        """As it is: the builders take the id of an AMI. See `Registry.given`."""
        del location
        return source

    def usage(self, location: str, ids: Sequence[str]) -> Usage:
        """What uses AMIs in a region. See `Registry.usage`."""
        return ask_usage(self._clients, location, ids, fleet=self._fleet)

    def usage_elsewhere(self, location: str, ids: Sequence[str], *, asks: bool) -> Mapping[str, tuple[Use, ...] | str]:
        """What uses AMIs in other accounts, by EC2's reports. See `Registry.usage_elsewhere`."""
        return elsewhere(self._clients, location, ids, fleet=self._fleet, asks=asks, now=self._clock.now())

    def abandoned(self, location: str, *, before: datetime) -> Sequence[Abandoned]:
        """Packer's instances, key pairs, groups and volumes. See `Registry.abandoned`."""
        return abandoned(self._clients, location, fleet=self._fleet, before=before)

    def remove_abandoned(self, found: Sequence[Abandoned]) -> Iterator[Abandoned]:
        """End, delete and detach them. See `Registry.remove_abandoned`."""
        return remove_abandoned(self._clients, found, clock=self._clock, polling=self._polling)

    def unmanaged(self, location: str) -> Sequence[Unmanaged] | None:
        """The account's own AMIs that are no fleet's, and snapshots of AMIs that are gone. See `Registry.unmanaged`."""
        return unmanaged(self._clients, location)

    def restorable(self, location: str) -> int | None:
        """For how long the Recycle Bin keeps AMIs. See `Registry.restorable`."""
        return recycle_bin.restorable(self._clients, location, fleet=self._fleet)

    def binned(self, location: str) -> Sequence[Binned]:
        """What the Recycle Bin has of AMIs. See `Registry.binned`."""
        return recycle_bin.binned(self._clients, location)

    def restore(self, artifact: Located) -> None:
        """Bring an AMI back from the Recycle Bin, after its snapshots. See `Registry.restore`."""
        recycle_bin.restore(self._clients, artifact)

    def server_time(self, location: str) -> datetime | None:
        """What time EC2 has. See `Registry.server_time`."""
        return server_time(self._clients, location)


def open_registry(opening: Opening) -> Ec2Registry:
    """The registry of a fleet's AMIs. Once the run is cancelled its waits end, with Transient."""
    return Ec2Registry(
        opening.settings.aws, fleet=opening.fleet, clients=clients_of(opening), clock=clock_until(opening.cancelled)
    )
