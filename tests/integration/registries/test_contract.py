"""What every registry promises, asked of the one in memory and of EC2 (moto). Both must answer alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from moto.ec2.models import ec2_backends

from reconciler.aws.clock import Clock, Polling
from reconciler.model.care import Grants
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import Terminal, Transient, UserError
from reconciler.model.lockfile import Artifact
from reconciler.model.observation import Seen
from reconciler.model.source import SourceRequest
from reconciler.ports.registry import Registry, Remains
from reconciler.registries.ec2.registry import Ec2Registry
from tests.doubles.registry import MemoryRegistry, Traits, Upstream
from tests.sources import amis, parameter

pytestmark = pytest.mark.long

HOME, AWAY = "us-east-1", "eu-west-1"
ACCOUNT = "123456789012"
OURS = {"reconciler:fleet": "acme/images", "reconciler:image": "web"}
WHOLE = {**OURS, "reconciler:key": "sha256:1"}


class Bench(Protocol):
    """A registry, and how a test arranges what is in it."""

    registry: Registry

    def seed(self, location: str, name: str, tags: Mapping[str, str]) -> Seen: ...
    def publish(self, upstream: Upstream) -> None: ...
    def parameter(self, name: str, value: str) -> None: ...
    def delete(self, artifact: Seen) -> None: ...
    def block(self, location: str) -> None: ...
    def give_away(self, artifact: Seen) -> None: ...
    def hold(self, location: str, artifact_id: str, state: str) -> None: ...
    def dress(self, artifact: Seen, *, description: str, launched_by: Sequence[str]) -> None: ...
    def traits(self, location: str, artifact_id: str) -> tuple[str, frozenset[str]]: ...


class MemoryBench:
    def __init__(self) -> None:
        self.memory = MemoryRegistry(fleet="acme/images")
        self.registry: Registry = self.memory

    def seed(self, location: str, name: str, tags: Mapping[str, str]) -> Seen:
        return self.memory.seed(location, name, tags=tags)

    def publish(self, upstream: Upstream) -> None:
        self.memory.upstreams.append(upstream)

    def parameter(self, name: str, value: str) -> None:
        self.memory.parameters[HOME, name] = value

    def delete(self, artifact: Seen) -> None:
        self.memory.delete(artifact)

    def give_away(self, artifact: Seen) -> None:
        self.memory.of_others.add(artifact.id)

    def block(self, location: str) -> None:
        self.memory.unreadable[location] = "RequestLimitExceeded after 8 tries"

    def hold(self, location: str, artifact_id: str, state: str) -> None:
        self.memory.copies_become = "failed" if state == "failed" else "pending"

    def dress(self, artifact: Seen, *, description: str, launched_by: Sequence[str]) -> None:
        self.memory.traits[artifact.location, artifact.id] = Traits(description, _grants(launched_by))

    def traits(self, location: str, artifact_id: str) -> tuple[str, frozenset[str]]:
        found = self.memory.traits[location, artifact_id]
        by = found.launched_by
        return found.description, frozenset((*by.accounts, *by.organizations, *(["all"] if by.everybody else [])))


class Ec2Bench:
    def __init__(self) -> None:
        passed = [0.0]

        def sleep(seconds: float) -> None:
            passed[0] += seconds

        self.registry: Registry = Ec2Registry(
            AwsSettings(),
            fleet="acme/images",
            clock=Clock(monotonic=lambda: passed[0], sleep=sleep),
            polling=Polling(first=10),
            attempts=1,
        )

    def seed(self, location: str, name: str, tags: Mapping[str, str]) -> Seen:
        ec2 = boto3.client("ec2", region_name=location)
        made = ec2.register_image(Name=name)["ImageId"]
        found = self.registry.find(location, made)
        assert found is not None
        resources = [made, *found.parts]
        ec2.create_tags(Resources=resources, Tags=[{"Key": key, "Value": value} for key, value in tags.items()])
        return replace(found, tags=dict(tags))

    def publish(self, upstream: Upstream) -> None:
        made = boto3.client("ec2", region_name=upstream.region).register_image(Name=upstream.name)["ImageId"]
        amis = ec2_backends[ACCOUNT][upstream.region].amis
        ami = amis[upstream.id] = amis.pop(made)
        ami.id, ami.owner_id, ami.architecture = upstream.id, upstream.owners[0], upstream.architecture
        ami.owner_alias = upstream.owners[-1]
        ami.creation_date = datetime.fromisoformat(upstream.created)

    def parameter(self, name: str, value: str) -> None:
        boto3.client("ssm", region_name=HOME).put_parameter(Name=name, Value=value, Type="String")

    def delete(self, artifact: Seen) -> None:
        boto3.client("ec2", region_name=artifact.location).deregister_image(ImageId=artifact.id)

    def give_away(self, artifact: Seen) -> None:
        ec2_backends[ACCOUNT][artifact.location].amis[artifact.id].owner_id = "999999999999"

    def block(self, location: str) -> None:
        clients = self.registry._clients  # type: ignore[attr-defined] # only a Registry by its declared type
        clients.ec2(location).meta.events.register("before-send.ec2", _no_answer)

    def hold(self, location: str, artifact_id: str, state: str) -> None:
        ec2_backends[ACCOUNT][location].amis[artifact_id].state = state

    def dress(self, artifact: Seen, *, description: str, launched_by: Sequence[str]) -> None:
        ec2_backends[ACCOUNT][artifact.location].amis[artifact.id].description = description
        if launched_by:
            added: list[Any] = [{_kind_of(who): who} for who in launched_by]
            boto3.client("ec2", region_name=artifact.location).modify_image_attribute(
                ImageId=artifact.id, LaunchPermission={"Add": added}
            )

    def traits(self, location: str, artifact_id: str) -> tuple[str, frozenset[str]]:
        ec2 = boto3.client("ec2", region_name=location)
        permissions = ec2.describe_image_attribute(ImageId=artifact_id, Attribute="launchPermission")
        (image,) = ec2.describe_images(ImageIds=[artifact_id])["Images"]
        launched_by = frozenset(str(who) for one in permissions["LaunchPermissions"] for who in one.values())
        return image.get("Description", ""), launched_by


def _grants(launched_by: Sequence[str]) -> Grants:
    kinds = {kind: [who for who in launched_by if _kind_of(who) == kind] for kind in ("UserId", "OrganizationArn")}
    return Grants.of(kinds["UserId"], kinds["OrganizationArn"], everybody="all" in launched_by)


def _kind_of(who: str) -> str:
    return "UserId" if who.isdigit() else "Group" if who == "all" else "OrganizationArn"


def _no_answer(request: object, **_: object) -> None:
    raise EndpointConnectionError(endpoint_url="https://ec2.eu-west-1.amazonaws.com/")


@pytest.fixture(params=["memory", "ec2"])
def bench(request: pytest.FixtureRequest) -> Bench:
    if request.param == "memory":
        return MemoryBench()
    request.getfixturevalue("moto")
    return Ec2Bench()


def _artifact(seen: Seen) -> Artifact:
    return seen.as_artifact("amazon-ebs.web")


def _found(bench: Bench, location: str, artifact_id: str) -> Seen:
    found = bench.registry.find(location, artifact_id)
    assert found is not None
    return found


def _copy_begun(bench: Bench, source: Seen, again: str = "one") -> str:
    return bench.registry.copy(_artifact(source), to=AWAY, name="web-1", tags=WHOLE, token=again)


def test_an_artifact_of_a_name_is_the_accounts_own(bench: Bench) -> None:
    ours, theirs = bench.seed(HOME, "golden", {}), bench.seed(HOME, "golden", {})
    bench.give_away(theirs)

    assert [one.id for one in bench.registry.named(HOME, "golden")] == [ours.id]
    assert bench.registry.find(HOME, theirs.id) is not None


def test_an_observation_holds_the_own_fleet_in_the_regions_asked(bench: Bench) -> None:
    ours = bench.seed(HOME, "web-1", WHOLE)
    away = bench.seed(AWAY, "web-1", WHOLE)
    bench.seed(HOME, "theirs", {**WHOLE, "reconciler:fleet": "other/images"})
    bench.seed(HOME, "untagged", {})
    bench.seed("ap-south-1", "not-asked", WHOLE)

    observation = bench.registry.observe([HOME, AWAY])

    assert observation.artifacts == (ours, away)
    assert observation.unreadable == {}
    assert observation.refused is None


def test_an_observation_of_no_region_is_empty(bench: Bench) -> None:
    assert bench.registry.observe([]).artifacts == ()


def test_an_artifact_is_complete_once_it_has_its_key(bench: Bench) -> None:
    artifact = bench.seed(HOME, "web-1", OURS)
    assert not artifact.complete

    bench.registry.tag(_artifact(artifact), {"reconciler:key": "sha256:1"})

    (seen,) = bench.registry.observe([HOME]).artifacts
    assert seen.complete
    assert seen.tags == WHOLE


def test_tagging_twice_is_tagging_once(bench: Bench) -> None:
    artifact = bench.seed(HOME, "web-1", OURS)

    for _ in range(2):
        bench.registry.tag(artifact, {"reconciler:phase": "stable"})

    found = bench.registry.find(HOME, artifact.id)
    assert found is not None
    assert found.tags == {**OURS, "reconciler:phase": "stable"}


def test_what_can_not_be_read_is_told_apart_from_what_is_not_there(bench: Bench) -> None:
    ours = bench.seed(HOME, "web-1", WHOLE)
    bench.seed(AWAY, "web-1", WHOLE)
    bench.block(AWAY)

    observation = bench.registry.observe([HOME, AWAY])

    assert observation.artifacts == (ours,)
    assert list(observation.unreadable) == [AWAY]
    assert "\n" not in observation.unreadable[AWAY]
    assert observation.refused is None
    with pytest.raises(Transient):
        bench.registry.find(AWAY, ours.id)


def test_an_artifact_is_found_by_id_with_name_and_snapshots(bench: Bench) -> None:
    artifact = bench.seed(HOME, "web-1", WHOLE)

    found = bench.registry.find(HOME, artifact.id)

    assert found == artifact
    assert found.name == "web-1"
    assert len(found.parts) == 1
    assert found.created.endswith("Z")
    assert len(found.created) == len("2026-01-01T00:00:00Z")


def test_an_artifact_that_is_gone_is_not_found(bench: Bench) -> None:
    artifact = bench.seed(HOME, "web-1", WHOLE)
    bench.delete(artifact)

    assert bench.registry.find(HOME, artifact.id, patience=20) is None
    assert bench.registry.observe([HOME]).artifacts == ()


def test_artifacts_are_found_by_their_whole_name_whatever_tags_they_carry(bench: Bench) -> None:
    untagged = bench.seed(HOME, "web-20261122T101530Z-1a2b3c4", {})
    tagged = bench.seed(HOME, "web-20261122T101530Z-1a2b3c5", WHOLE)
    bench.seed(HOME, "web-20261122T101530Z-1a2b3c4-old", {})
    bench.seed(AWAY, "web-20261122T101530Z-1a2b3c4", {})

    assert bench.registry.named(HOME, "web-20261122T101530Z-1a2b3c4") == (untagged,)
    assert bench.registry.named(HOME, "web-20261122T101530Z-1a2b3c5") == (tagged,)
    assert bench.registry.named(HOME, "web-*") == ()


def test_a_copy_becomes_available_with_its_tags(bench: Bench) -> None:
    source = bench.seed(HOME, "web-1", WHOLE)

    copy = _copy_begun(bench, source)
    seen = bench.registry.wait_available(AWAY, copy, timeout=600)

    assert (seen.location, seen.id, seen.name, seen.tags) == (AWAY, copy, "web-1", WHOLE)
    assert bench.registry.observe([HOME, AWAY]).artifacts == (source, seen)


def test_a_copy_is_as_its_original_but_for_the_tags_that_are_ours(bench: Bench) -> None:
    own = {"Name": "web", "Base": "debian-12", "reconciler:phase": "stable", "reconciler:told-sns": "stable"}
    source = bench.seed(HOME, "web-1", {**WHOLE, **own})
    organization = "arn:aws:organizations::111111111111:organization/o-1234567890"
    bench.dress(source, description="nginx on base", launched_by=["222222222222", organization])

    copy = bench.registry.copy(_artifact(source), to=AWAY, name="web-1", tags=OURS, token="one")
    bench.registry.wait_available(AWAY, copy, timeout=600)
    for _ in range(2):
        bench.registry.complete_copy(_artifact(_found(bench, AWAY, copy)), of=_artifact(source))

    assert _found(bench, AWAY, copy).tags == {**OURS, "Name": "web", "Base": "debian-12"}
    assert bench.traits(AWAY, copy) == ("nginx on base", frozenset({"222222222222", organization}))


def test_what_is_given_wins_over_what_the_original_says(bench: Bench) -> None:
    source = bench.seed(HOME, "web-1", {**OURS, "CostCenter": "41"})

    copy = bench.registry.copy(_artifact(source), to=AWAY, name="web-1", tags={"CostCenter": "42"}, token="one")

    assert _found(bench, AWAY, copy).tags == {"CostCenter": "42"}


def test_what_a_copy_has_beyond_its_original_stays(bench: Bench) -> None:
    source = bench.seed(HOME, "web-1", WHOLE)
    copy = _copy_begun(bench, source)
    bench.registry.wait_available(AWAY, copy, timeout=600)
    bench.dress(_found(bench, AWAY, copy), description="", launched_by=["333333333333"])

    bench.registry.complete_copy(_artifact(_found(bench, AWAY, copy)), of=_artifact(source))

    assert bench.traits(AWAY, copy) == ("", frozenset({"333333333333"}))


def test_a_source_that_was_tagged_otherwise_meanwhile_is_copied_as_it_is_now(bench: Bench) -> None:
    source = bench.seed(HOME, "web-1", {**WHOLE, "Name": "web"})
    first = _copy_begun(bench, source)
    bench.registry.tag(source, {"Name": "site"})

    second = _copy_begun(bench, source)

    assert first != second
    assert _found(bench, AWAY, second).tags["Name"] == "site"


def test_a_copy_asked_for_twice_with_one_token_is_made_once(bench: Bench) -> None:
    source = bench.seed(HOME, "web-1", WHOLE)

    assert _copy_begun(bench, source) == _copy_begun(bench, source)

    assert len(bench.registry.observe([AWAY]).artifacts) == 1


def test_a_copy_asked_for_with_another_token_is_another(bench: Bench) -> None:
    source = bench.seed(HOME, "web-1", WHOLE)

    assert _copy_begun(bench, source, "one") != _copy_begun(bench, source, "two")


def test_a_copy_that_fails_is_terminal(bench: Bench) -> None:
    copy = _copy_begun(bench, bench.seed(HOME, "web-1", WHOLE))
    bench.hold(AWAY, copy, "failed")

    with pytest.raises(Terminal, match=f"{copy} in {AWAY} is failed"):
        bench.registry.wait_available(AWAY, copy, timeout=600)


def test_a_copy_that_takes_too_long_is_transient(bench: Bench) -> None:
    copy = _copy_begun(bench, bench.seed(HOME, "web-1", WHOLE))
    bench.hold(AWAY, copy, "pending")

    with pytest.raises(Transient, match="still pending after 600 s"):
        bench.registry.wait_available(AWAY, copy, timeout=600)


def test_retiring_removes_the_artifact_and_again_is_no_error(bench: Bench) -> None:
    artifact = bench.seed(HOME, "web-1", WHOLE)
    kept = bench.seed(HOME, "web-2", WHOLE)

    assert bench.registry.retire(_artifact(artifact), image="web") == Remains()
    assert bench.registry.retire(_artifact(artifact), image="web") == Remains()

    assert bench.registry.observe([HOME]).artifacts == (kept,)


@pytest.mark.parametrize(
    "tags",
    [{}, {**WHOLE, "reconciler:fleet": "other/images"}, {**WHOLE, "reconciler:image": "db"}],
    ids=["untagged", "another fleet's", "another image's"],
)
def test_what_is_not_the_image_s_own_is_never_retired(bench: Bench, tags: Mapping[str, str]) -> None:
    artifact = bench.seed(HOME, "web-1", tags)

    with pytest.raises(Terminal, match="is not retired"):
        bench.registry.retire(_artifact(artifact), image="web")

    assert bench.registry.find(HOME, artifact.id) == artifact


DEBIAN = "136693071363"
OLD = Upstream(HOME, "ami-0000000000000001", "debian-12-amd64-1", "2026-11-01T00:00:00Z", (DEBIAN,))
NEW = Upstream(HOME, "ami-0000000000000002", "debian-12-amd64-2", "2026-11-15T00:00:00Z", (DEBIAN,))
TWIN = Upstream(HOME, "ami-0000000000000003", "debian-12-amd64-3", "2026-11-15T00:00:00Z", (DEBIAN,))
ARM = Upstream(HOME, "ami-0000000000000004", "debian-12-arm64-4", "2026-11-16T00:00:00Z", (DEBIAN,), "arm64")
EVIL = Upstream(HOME, "ami-0000000000000005", "debian-12-amd64-5", "2026-11-20T00:00:00Z", ("999999999999",))
ELSEWHERE = Upstream(AWAY, "ami-0000000000000006", "debian-12-amd64-6", "2026-11-20T00:00:00Z", (DEBIAN,))
FILTER = amis(name="debian-12-*", owners=(DEBIAN,), architecture="x86_64")


def test_a_filter_takes_the_newest_of_the_owner_and_architecture_then_the_greatest_id(bench: Bench) -> None:
    for upstream in (TWIN, EVIL, ARM, NEW, ELSEWHERE, OLD):
        bench.publish(upstream)

    pin = bench.registry.resolve(FILTER, location=HOME)

    assert pin.upstream is not None
    assert pin.model_dump(exclude_defaults=True)["ami"] == {
        "region": HOME, "id": TWIN.id, "name": TWIN.name, "owner": DEBIAN, "created": TWIN.created,
    }  # fmt: skip


def test_a_filter_without_an_architecture_takes_the_builder_s(bench: Bench) -> None:
    bench.publish(NEW)
    bench.publish(ARM)
    request = amis(name="debian-12-*", owners=(DEBIAN,))

    pin = bench.registry.resolve(request, location=HOME, architecture="arm64")

    assert pin.upstream is not None
    assert pin.upstream.id == ARM.id


def test_an_owner_may_be_an_alias(bench: Bench) -> None:
    bench.publish(Upstream(HOME, NEW.id, "al2023", NEW.created, ("137112412989", "amazon")))

    pin = bench.registry.resolve(amis(name="al2023", owners=("amazon",)), location=HOME)

    assert pin.upstream is not None
    assert pin.upstream.owner == "137112412989"


def test_a_filter_that_nothing_matches_is_the_person_s_to_mend(bench: Bench) -> None:
    bench.publish(EVIL)

    with pytest.raises(UserError, match=f"no AMI in {HOME}"):
        bench.registry.resolve(FILTER, location=HOME)


def test_an_id_is_pinned_as_it_is(bench: Bench) -> None:
    bench.publish(OLD)

    pin = bench.registry.resolve(amis(id=OLD.id), location=HOME)

    assert pin.upstream is not None
    assert (pin.upstream.id, pin.upstream.name, pin.upstream.owner) == (OLD.id, OLD.name, DEBIAN)


def test_an_ami_of_somebody_else_is_found_by_its_id_and_is_none_of_ours(bench: Bench) -> None:
    bench.publish(OLD)

    found = bench.registry.find(HOME, OLD.id)

    assert found is not None
    assert (found.id, found.name, found.state, found.tags) == (OLD.id, OLD.name, "available", {})
    assert bench.registry.find(AWAY, OLD.id) is None
    assert bench.registry.named(HOME, OLD.name) == ()


def test_an_id_that_is_not_in_the_region_is_the_person_s_to_mend(bench: Bench) -> None:
    bench.publish(ELSEWHERE)

    with pytest.raises(UserError, match=rf"{ELSEWHERE.id}.*{HOME}|{HOME}.*{ELSEWHERE.id}"):
        bench.registry.resolve(amis(id=ELSEWHERE.id), location=HOME)


def test_a_parameter_names_the_ami(bench: Bench) -> None:
    bench.publish(NEW)
    bench.parameter("/images/debian", NEW.id)

    pin = bench.registry.resolve(parameter("/images/debian"), location=HOME)

    assert pin.upstream is not None
    assert (pin.upstream.id, pin.upstream.name) == (NEW.id, NEW.name)


@pytest.mark.parametrize("value", ['{"image_id": "ami-1"}', None], ids=["something else", "absent"])
def test_a_parameter_without_an_ami_id_is_the_person_s_to_mend(bench: Bench, value: str | None) -> None:
    if value is not None:
        bench.parameter("/images/debian", value)

    with pytest.raises(UserError, match="SSM parameter /images/debian"):
        bench.registry.resolve(parameter("/images/debian"), location=HOME)


def test_a_parent_image_is_not_the_registry_s_to_resolve(bench: Bench) -> None:
    with pytest.raises(ValueError, match="parent image"):
        bench.registry.resolve(SourceRequest(image="base"), location=HOME)
