"""What the loop asks of a registry, of each kind, against the real thing.

That is moto's EC2, a folder, two container registries, and VMware's simulator of a vCenter.
What EC2 alone can do is in test_contract.py.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError

from reconciler.model.care import NOBODY, Grants
from reconciler.model.declaration import Settings
from reconciler.model.errors import ReconcilerError, Terminal
from reconciler.model.lockfile import Artifact
from reconciler.model.observation import Seen
from reconciler.model.values import format_instant
from reconciler.plan.tags import own
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Opening, Registry, Remains
from reconciler.registries import dialect_of, open_registry
from reconciler.steps.artifacts import is_own
from tests import containers
from tests.doubles.registry import MemoryRegistry
from tests.doubles.texts import TextRegistry, put_into_table
from tests.vcenter import Simulator

FLEET = "acme/images"
BIRTH = own(fleet=FLEET, image="web", build="20261122T101530Z-1a2b3c4", run="run-1")
MORE = {**own(key="sha256:1", phase="candidate"), "CostCenter": "42"}


class Kept(Protocol):
    """A registry of one kind, with two locations, and how a test makes what is in it."""

    registry: Registry
    home: str
    elsewhere: str

    def make(self, name: str, tags: Mapping[str, str]) -> Seen: ...
    def lay(self, name: str) -> str: ...  # what somebody makes there without us; its id
    def lose(self, location: str) -> None: ...


class InMemory:
    home, elsewhere = "us-east-1", "eu-west-1"

    def __init__(self) -> None:
        self.memory = MemoryRegistry(fleet=FLEET)
        self.registry: Registry = self.memory

    def make(self, name: str, tags: Mapping[str, str]) -> Seen:
        return self.memory.seed(self.home, name, tags=tags)

    def lay(self, name: str) -> str:
        return self.make(name, {}).id

    def lose(self, location: str) -> None:
        self.memory.unreadable[location] = "it does not answer"


class InEc2:
    home, elsewhere = "us-east-1", "eu-west-1"

    def __init__(self) -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AWS_MAX_ATTEMPTS", "1")  # what is lost does not come back: nothing is waited for
            self.registry = open_registry("ami", Opening(FLEET, Settings()))

    def make(self, name: str, tags: Mapping[str, str]) -> Seen:
        ec2 = boto3.client("ec2", region_name=self.home)
        made = ec2.register_image(Name=name)["ImageId"]
        found = self.registry.find(self.home, made)
        assert found is not None
        ec2.create_tags(
            Resources=[made, *found.parts], Tags=[{"Key": key, "Value": value} for key, value in tags.items()]
        )  # fmt: skip
        return found

    def lay(self, name: str) -> str:
        return str(boto3.client("ec2", region_name=self.home).register_image(Name=name)["ImageId"])

    def lose(self, location: str) -> None:
        def unreachable(**_: object) -> None:
            raise EndpointConnectionError(endpoint_url="https://ec2.example.org/")

        clients = self.registry._clients  # type: ignore[attr-defined]  # only a Registry by its declared type
        clients.ec2(location).meta.events.register("before-send.ec2", unreachable)


class OnShelves:
    def __init__(self, root: Path) -> None:
        self.home, self.elsewhere = str(root / "shelf"), str(root / "copies")
        self._left = root / "left.txt"
        self.registry: Registry = TextRegistry(FLEET)

    def make(self, name: str, tags: Mapping[str, str]) -> Seen:
        self._left.write_text(name)
        made = Made("text.web", "a.text", str(self._left), (str(self._left),))
        (artifact,) = self.registry.store(self.home, [made], name=name, tags=tags)
        found = self.registry.find(self.home, artifact.id)
        assert found is not None
        return found

    def lay(self, name: str) -> str:
        text = sha256(name.encode()).hexdigest()
        Path(self.home).mkdir(exist_ok=True)
        Path(self.home, text).write_text(name)
        return text

    def lose(self, location: str) -> None:
        shutil.rmtree(location, ignore_errors=True)
        Path(location).write_text("no shelf")


class InFolder:
    def __init__(self, root: Path) -> None:
        self.home, self.elsewhere = str(root / "disks"), str(root / "copies")
        self._left = root / "left"
        self.registry = open_registry("disk", Opening(FLEET, Settings()))

    def make(self, name: str, tags: Mapping[str, str]) -> Seen:
        self._left.write_text(f"{name}\n")
        made = Made("file.web", "packer.file", str(self._left), (str(self._left),))
        (artifact,) = self.registry.store(self.home, [made], name=name, tags=tags)
        found = self.registry.find(self.home, artifact.id)
        assert found is not None
        return found

    def lay(self, name: str) -> str:
        disk = f"sha256:{sha256(name.encode()).hexdigest()}"
        Path(self.home).mkdir()
        Path(self.home, disk).write_text(name)
        return disk

    def lose(self, location: str) -> None:
        shutil.rmtree(location)


class InBucket:
    home, elsewhere = "s3://acme-disks/images", "s3://acme-copies/images"

    def __init__(self, root: Path) -> None:
        self._left = root / "left"
        self._s3 = boto3.client("s3", region_name="us-east-1")
        for bucket in ("acme-disks", "acme-copies"):
            self._s3.create_bucket(Bucket=bucket)
        self.registry = open_registry("disk", Opening(FLEET, Settings()))

    def make(self, name: str, tags: Mapping[str, str]) -> Seen:
        self._left.write_text(f"{name}\n")
        made = Made("file.web", "packer.file", str(self._left), (str(self._left),))
        (artifact,) = self.registry.store(self.home, [made], name=name, tags=tags)
        found = self.registry.find(self.home, artifact.id)
        assert found is not None
        return found

    def lay(self, name: str) -> str:
        disk = f"sha256:{sha256(name.encode()).hexdigest()}"
        self._s3.put_object(Bucket="acme-disks", Key=f"images/{disk}", Body=name.encode())
        return disk

    def lose(self, location: str) -> None:
        bucket = location.split("/")[2]
        for one in self._s3.list_objects_v2(Bucket=bucket)["Contents"]:
            self._s3.delete_object(Bucket=bucket, Key=one["Key"])
        self._s3.delete_bucket(Bucket=bucket)


class InVCenter:
    def __init__(self, vcenter: Simulator) -> None:
        self.home, self.elsewhere = vcenter.folder("templates"), vcenter.folder("copies")
        self._vcenter = vcenter
        self.registry = open_registry("vsphere", Opening(FLEET, Settings()))

    def make(self, name: str, tags: Mapping[str, str]) -> Seen:
        self._vcenter.template(name, self.home)
        made = Made("vsphere-clone.web", "jetbrains.vsphere", name)
        (artifact,) = self.registry.store(self.home, [made], name=name, tags=tags)
        found = self.registry.find(self.home, artifact.id)
        assert found is not None
        return found

    def lay(self, name: str) -> str:
        self._vcenter.template(name, self.home)
        (seen,) = self.registry.named(self.home, name)
        return seen.id

    def lose(self, location: str) -> None:
        self._vcenter.destroy(location)


class InLibrary:
    """Two content libraries of a vCenter."""

    def __init__(self, vcenter: Simulator) -> None:
        self.home, self.elsewhere = vcenter.library("golden"), vcenter.library("copies")
        self._vcenter = vcenter
        self.registry = open_registry("vsphere", Opening(FLEET, Settings()))

    def make(self, name: str, tags: Mapping[str, str]) -> Seen:
        self._vcenter.item(name, self.home)
        made = Made("vsphere-iso.web", "jetbrains.vsphere", name)
        (artifact,) = self.registry.store(self.home, [made], name=name, tags=tags)
        found = self.registry.find(self.home, artifact.id)
        assert found is not None
        return found

    def lay(self, name: str) -> str:
        return self._vcenter.item(name, self.home)

    def lose(self, location: str) -> None:
        self._vcenter.remove_library(location)


class InRegistries:
    """Two repositories in two registries, of which one can be ended."""

    def __init__(self, root: Path) -> None:
        self._both = ExitStack()
        self._one = self._started(root / "one")
        other = self._started(root / "other")
        self.home, self.elsewhere = f"{self._one[0]}/acme/web", f"{other[0]}/mirror/acme/web"
        self.registry = open_registry("oci", Opening(FLEET, Settings()))

    def _started(self, root: Path) -> tuple[str, ExitStack]:
        root.mkdir()
        own = self._both.enter_context(ExitStack())
        return own.enter_context(containers.registry(root)), own

    def make(self, name: str, tags: Mapping[str, str]) -> Seen:
        made = Made("docker.web", "packer.post-processor.docker-import", containers.imported({"name": name.encode()}))
        (artifact,) = self.registry.store(self.home, [made], name=name, tags=tags)
        found = self.registry.find(self.home, artifact.id)
        assert found is not None
        return found

    def lay(self, name: str) -> str:
        containers.docker("tag", containers.imported({"name": name.encode()}), f"{self.home}:{name}")
        pushed = containers.docker("push", f"{self.home}:{name}")
        return pushed.rpartition("digest: ")[2].split()[0]

    def lose(self, location: str) -> None:
        assert location == self.home
        self.registry._client.exchange.tries = 1  # type: ignore[attr-defined]  # only a Registry by its declared type
        self._one[1].close()

    def close(self) -> None:
        self._both.close()


@pytest.fixture(
    params=[
        "memory",
        "ec2",
        "folder",
        "a kind that is made here",
        "bucket",
        pytest.param("vcenter", marks=pytest.mark.vsphere),
        pytest.param("library", marks=pytest.mark.vsphere),
        pytest.param("registries", marks=pytest.mark.containers),
    ]
)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    match request.param:
        case "ec2":
            request.getfixturevalue("moto")
            yield InEc2()
        case "registries":
            request.getfixturevalue("engine")
            made = InRegistries(tmp_path)
            yield made
            made.close()
        case "library":
            yield InLibrary(request.getfixturevalue("vcenter"))
        case "vcenter":
            yield InVCenter(request.getfixturevalue("vcenter"))
        case "bucket":
            request.getfixturevalue("moto")
            yield InBucket(tmp_path)
        case "a kind that is made here":
            put_into_table(request.getfixturevalue("monkeypatch"))
            yield OnShelves(tmp_path)
        case "folder":
            yield InFolder(tmp_path)
        case _:
            yield InMemory()


def named(artifact: Seen) -> Artifact:
    return artifact.as_artifact("builder.web")


def test_what_was_made_is_seen_with_its_marks(kept: Kept) -> None:
    made = kept.make("web-1", BIRTH)

    (seen,) = kept.registry.observe([kept.home]).artifacts

    assert (seen.location, seen.id, seen.name, seen.state) == (kept.home, made.id, "web-1", "available")
    assert dict(seen.tags) == BIRTH
    assert seen.created
    found = kept.registry.find(kept.home, made.id)
    assert found is not None
    # What costs a call for each is looked at where one is looked for alone
    assert replace(found, format=seen.format) == seen
    assert kept.registry.named(kept.home, "web-1") == (seen,)


def test_what_another_fleet_marked_is_not_ours_to_see_or_to_take_away(kept: Kept) -> None:
    theirs = kept.make("web-1", {**BIRTH, "reconciler:fleet": "others/images"})

    assert kept.registry.observe([kept.home]).artifacts == ()
    with pytest.raises(Terminal):
        kept.registry.retire(named(theirs), image="web")
    assert kept.registry.find(kept.home, theirs.id) is not None


def test_what_somebody_else_put_there_is_found_by_its_id_is_ones_own_and_takes_marks(kept: Kept) -> None:
    laid = kept.lay("golden-7")

    found = kept.registry.find(kept.home, laid)

    assert found is not None
    assert (found.location, found.id, found.state, dict(found.tags)) == (kept.home, laid, "available", {})
    assert is_own(kept.registry, found)
    kept.registry.tag(named(found), MORE | BIRTH)
    (seen,) = kept.registry.observe([kept.home]).artifacts
    assert (seen.id, dict(seen.tags), seen.complete, is_own(kept.registry, seen)) == (laid, MORE | BIRTH, True, True)


def test_what_is_of_another_image_is_not_taken_away(kept: Kept) -> None:
    made = kept.make("web-1", BIRTH)

    with pytest.raises(Terminal):
        kept.registry.retire(named(made), image="base")

    assert kept.registry.find(kept.home, made.id) is not None


def test_marks_are_added_and_changed_and_what_is_not_named_stays(kept: Kept) -> None:
    made = kept.make("web-1", BIRTH)
    artifact = named(made)

    kept.registry.tag(artifact, MORE)
    kept.registry.tag(artifact, MORE)
    kept.registry.tag_all(kept.home, [artifact], own(phase="stable"))

    (seen,) = kept.registry.observe([kept.home]).artifacts
    assert dict(seen.tags) == {**BIRTH, **MORE, **own(phase="stable")}
    assert seen.complete


def test_a_copy_is_the_same_one_however_often_it_is_asked_for(kept: Kept) -> None:
    made = kept.make("web-1", {**BIRTH, "CostCenter": "42"})
    kept.make("other-1", own(fleet=FLEET, image="other", build="20261122T101530Z-1a2b3c4"))

    first, again = (
        kept.registry.copy(named(made), to=kept.elsewhere, name="web-1", tags=BIRTH, token="this very copy")
        for _ in range(2)
    )

    assert first == again
    there = kept.registry.wait_available(kept.elsewhere, first, timeout=60)
    kept.registry.complete_copy(there, of=named(made))
    assert (there.location, there.state) == (kept.elsewhere, "available")
    assert dict(there.tags) == {**BIRTH, "CostCenter": "42"}
    assert [one.id for one in kept.registry.observe([kept.elsewhere]).artifacts] == [first]


def test_what_is_retired_is_gone_and_its_copy_is_not(kept: Kept) -> None:
    made = kept.make("web-1", BIRTH)
    copy = kept.registry.copy(named(made), to=kept.elsewhere, name="web-1", tags=BIRTH, token="t")

    for _ in range(2):
        assert kept.registry.retire(named(made), image="web") == Remains()

    assert kept.registry.find(kept.home, made.id) is None
    assert kept.registry.observe([kept.home]).artifacts == ()
    assert kept.registry.find(kept.elsewhere, copy) is not None


def test_to_ask_whether_it_can_be_deleted_deletes_nothing(kept: Kept) -> None:
    made = kept.make("web-1", BIRTH)

    kept.registry.reconsider([named(made)])

    seen = seen_again(kept, made)
    assert (seen.id, seen.state, seen.stays) == (made.id, "available", "")
    assert kept.registry.retire(named(made), image="web") == Remains()


def test_a_location_that_is_lost_is_not_an_empty_one(kept: Kept) -> None:
    made = kept.make("web-1", BIRTH)
    kept.registry.copy(named(made), to=kept.elsewhere, name="web-1", tags=BIRTH, token="t")
    kept.lose(kept.home)

    seen = kept.registry.observe([kept.home, kept.elsewhere])

    assert {one.location for one in seen.artifacts} == {kept.elsewhere}
    if kept.home not in seen.unreadable:  # then it says so of what is known to have been there
        with pytest.raises(ReconcilerError):
            kept.registry.find(kept.home, made.id)


def test_locations_are_told_of_in_the_order_in_which_they_are_asked_for(kept: Kept) -> None:
    made = kept.make("web-1", BIRTH)
    kept.registry.copy(named(made), to=kept.elsewhere, name="web-1", tags=BIRTH, token="t")

    for asked in ([kept.home, kept.elsewhere], [kept.elsewhere, kept.home]):
        assert [one.location for one in kept.registry.observe(asked).artifacts] == asked


# What is beside content and marks: kinds that know no such thing say so, and are not asked by any plan (`Kind.tended`).

ONE, TWO = "111111111111", "222222222222"
UNIT = "arn:aws:organizations::123456789012:ou/o-a1b2c3d4e5/ou-a1b2-f6g7h8i9"
LATER = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(days=30)


def is_tended(made: Seen) -> bool:
    return dialect_of(made.kind).kind.tended


def seen_again(kept: Kept, made: Seen) -> Seen:
    (seen,) = kept.registry.observe([kept.home]).artifacts
    assert seen.id == made.id
    return seen


def test_who_may_use_it_is_told_and_changed_and_no_other_grant_with_it(kept: Kept) -> None:
    made = kept.make("web-1", BIRTH)
    assert kept.registry.grants(named(made)) == NOBODY
    if not is_tended(made):
        with pytest.raises(Terminal, match="can't be shared"):
            kept.registry.share(named(made), add=Grants.of([ONE]), remove=NOBODY)
        return
    for _ in range(2):
        kept.registry.share(named(made), add=Grants.of([ONE, TWO], organizational_units=[UNIT]), remove=NOBODY)
    for _ in range(2):
        kept.registry.share(named(made), add=NOBODY, remove=Grants.of([ONE]))
    kept.registry.share(named(made), add=NOBODY, remove=NOBODY)

    assert kept.registry.grants(named(made)) == Grants.of([TWO], organizational_units=[UNIT])
    assert kept.registry.obstacles(kept.home, [named(made)]) == {}


def test_from_when_it_is_deprecated_is_told_changed_and_taken_back(kept: Kept) -> None:
    made = kept.make("web-1", BIRTH)
    assert made.deprecated is None
    if not is_tended(made):
        with pytest.raises(Terminal, match="can't be deprecated"):
            kept.registry.deprecate(named(made), LATER)
        return
    for _ in range(2):
        kept.registry.deprecate(named(made), LATER)
    assert seen_again(kept, made).deprecated == format_instant(LATER)
    for _ in range(2):
        kept.registry.deprecate(named(made), None)
    assert seen_again(kept, made).deprecated is None


def test_what_is_protected_is_not_taken_away_until_it_is_no_more(kept: Kept) -> None:
    made = kept.make("web-1", BIRTH)
    if not is_tended(made):
        with pytest.raises(Terminal, match="can't be protected"):
            kept.registry.protect(named(made), on=True)
        return
    for _ in range(2):
        kept.registry.protect(named(made), on=True)
    assert seen_again(kept, made).protected
    with pytest.raises(Terminal, match="enabled-without-cooldown"):
        kept.registry.retire(named(made), image="web")
    for _ in range(2):
        kept.registry.protect(named(made), on=False)
    assert seen_again(kept, made).protection == ""
    kept.registry.retire(named(made), image="web")
    assert kept.registry.find(kept.home, made.id) is None


def test_what_is_disabled_is_there_has_lost_all_grants_and_comes_back_without_them(kept: Kept) -> None:
    made = kept.make("web-1", BIRTH)
    if not is_tended(made):
        for change in (kept.registry.disable, kept.registry.enable):
            with pytest.raises(Terminal, match="can't be disabled"):
                change(named(made))
        return
    kept.registry.share(named(made), add=Grants.of([ONE]), remove=NOBODY)
    for _ in range(2):
        kept.registry.disable(named(made))
    assert seen_again(kept, made).state == "disabled"
    found = kept.registry.find(kept.home, made.id)
    assert found is not None
    assert found.state == "disabled"
    with pytest.raises(ReconcilerError):
        kept.registry.share(named(made), add=Grants.of([ONE]), remove=NOBODY)
    for _ in range(2):
        kept.registry.enable(named(made))
    assert seen_again(kept, made).state == "available"
    assert kept.registry.grants(named(made)) == NOBODY


def test_what_is_deprecated_and_disabled_is_taken_away_with_all_that_it_is_stored_in(kept: Kept) -> None:
    made = kept.make("web-1", BIRTH)
    if is_tended(made):
        kept.registry.deprecate(named(made), LATER)
        kept.registry.disable(named(made))
        assert seen_again(kept, made).deprecated == format_instant(LATER)
    for _ in range(2):
        assert kept.registry.retire(named(made), image="web") == Remains()
    assert kept.registry.find(kept.home, made.id) is None
    assert kept.registry.observe([kept.home]).artifacts == ()


def test_what_no_fleet_s_marks_are_on_is_told_apart(kept: Kept) -> None:
    ours = kept.make("web-1", BIRTH)
    found = kept.registry.unmanaged(kept.home)
    assert ours.id not in [one.id for one in found or ()]
    kept.lose(kept.home)
    assert kept.registry.unmanaged(kept.home) is None
