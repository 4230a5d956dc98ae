"""Whatever a team rules and shares, and whatever hands do to AMIs between two runs, in EC2 (moto, and what we add).

A parent and its child in two regions: refreshed, judged, held, released, revoked and brought back, shared, collected
and restored, while somebody disables, shares, deprecates and deregisters AMIs by hand. What has to hold is found by
brute force, of what EC2 itself says.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import boto3
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from moto.ec2.models import ec2_backends

from reconciler.model.declaration import AwsSettings
from reconciler.model.lockfile import Artifact, Build, Lockfile, Verdict
from reconciler.plan.channels import verdict_tags
from reconciler.ports.builder import BuildRequest
from reconciler.registries.ec2.registry import Ec2Registry
from tests.integration.loop.world import EU, FLEET, US, Controller, World, image_files

pytestmark = pytest.mark.long

ACCOUNT = "123456789012"
NAMES, REGIONS = ("base", "web"), (US, EU)
OTHERS = ("111111111111", "222222222222")
IMAGES, ACCOUNTS = st.sampled_from(NAMES), st.sampled_from(OTHERS)
WHICH = st.integers(0, 40)
RETAIN = "retain: {builds: 1, even_if_shared: true}\n"
Place = tuple[str, str]


@dataclass(frozen=True)
class Ami:
    """What EC2 says of an AMI beside its content."""

    build: str
    image: str
    state: str
    shared: frozenset[str]
    deprecated: bool


class Life(RuleBasedStateMachine):
    """The fleet, what is declared of it, and what was seen of it by the last run."""

    def __init__(self, server: str, root: Path) -> None:
        super().__init__()
        urlopen(Request(f"{server}/moto-api/reset", method="POST")).close()  # noqa: S310 - loopback, http
        self.ec2: dict[str, Any] = {region: boto3.client("ec2", region_name=region) for region in REGIONS}
        source = self.ec2[US].register_image(Name="debian")["ImageId"]
        self.sources = {"base": f"source: {{ami: {{id: {source}}}}}\n", "web": "source: {image: base}\n"}
        self.numbers: Iterator[int] = itertools.count()
        self.held: dict[str, str] = {}
        self.bound: dict[str, str] = {}
        self.revoked: dict[str, set[str]] = {name: set() for name in NAMES}
        self.shared: dict[str, set[str]] = {name: set() for name in NAMES}
        self.validated: set[str] = set()
        self.clocks: dict[tuple[str, str], tuple[str, str | None]] = {}
        """When each build that goes away was deprecated, and disabled, as recorded."""
        rules = [boto3.client("rbin", region_name=region) for region in REGIONS]
        for one, kind in itertools.product(rules, ("EC2_IMAGE", "EBS_SNAPSHOT")):
            one.create_rule(
                ResourceType=kind, RetentionPeriod={"RetentionPeriodValue": 365, "RetentionPeriodUnit": "DAYS"}
            )  # fmt: skip
        fleet = f"fleet: {FLEET}\ndefaults:\n  regions: [{US}, {EU}]\n"
        files = [image_files(name, f"{self.sources[name]}{RETAIN}") for name in NAMES]
        self.world = World.begin(root, {"desired/reconciler.yaml": fleet, **files[0], **files[1]})
        self.world.clock.moment = datetime.now(UTC)
        self.reconcile()
        for _ in range(2):  # so that there is something that may go
            self.somebody_changes_it("web")

    def teardown(self) -> None:
        shutil.rmtree(self.world.root)

    # The world.

    def registry(self) -> Ec2Registry:
        return Ec2Registry(AwsSettings(), fleet=FLEET, attempts=1)

    def controller(self) -> Controller:
        made = self.world.controller()
        made.on_registry = lambda _memory: self.registry()
        made.builder.artifacts = self.leave
        return made

    def leave(self, request: BuildRequest) -> tuple[Artifact, ...]:
        """What Packer leaves: an AMI with its snapshot and the tags that it was given."""
        made = self.ec2[US].register_image(Name=f"{request.image.name}-{request.build_id}")["ImageId"]
        ec2_backends[ACCOUNT][US].amis[made].creation_date = self.world.clock.moment
        found = self.registry().find(US, made)
        assert found is not None
        self.registry().tag(found, request.image_tags)
        return (found.as_artifact("amazon-ebs.image"),)

    def amis(self) -> Mapping[Place, Ami]:
        """Every AMI of the fleet that is there, as EC2 tells."""
        found: dict[Place, Ami] = {}
        for region, ec2 in self.ec2.items():
            for one in ec2.describe_images(Owners=["self"], IncludeDisabled=True)["Images"]:
                tags = {tag["Key"]: tag["Value"] for tag in one.get("Tags", ())}
                if "reconciler:key" not in tags:
                    continue
                asked = ec2.describe_image_attribute(ImageId=one["ImageId"], Attribute="launchPermission")
                shared = frozenset(each["UserId"] for each in asked["LaunchPermissions"])
                found[region, one["ImageId"]] = Ami(
                    tags["reconciler:build"], tags["reconciler:image"], one["State"], shared,
                    bool(one.get("DeprecationTime")),
                )  # fmt: skip
        return found

    def lock(self, image: str) -> Lockfile:
        return self.world.lock(image)

    def locks(self) -> dict[str, Lockfile]:
        return {name: self.lock(name) for name in NAMES}

    def declare(self, image: str) -> None:
        rows = "".join(f"  - {{build: {one}, reason: leaked}}\n" for one in sorted(self.revoked[image]))
        accounts = ", ".join(f'"{one}"' for one in sorted(self.shared[image]))
        self.world.commit({
            f"desired/{image}/image.yaml": "".join((
                f"# {next(self.numbers)}\n", self.sources[image], RETAIN,
                "validation: {required: true}\n" if image in self.validated else "",
                f"share_with: {{accounts: [{accounts}]}}\n" if accounts else "",
                f"hold: {{build: {self.held[image]}, reason: works}}\n" if image in self.held else "",
                f"revoke:\n{rows}" if rows else "",
            ))
        })  # fmt: skip

    # What has to hold once nothing is left to do.

    def reconcile(self) -> None:
        self.world.clock.advance(hours=1)
        for _ in range(6):
            report = self.controller().reconcile()
            # Whether others use what is to be revoked, and is shared with them, a report tells that has to be made.
            asked = any("is not known" in error for one in report.plan.images for error in one.errors)
            if not report.results and not asked:
                break
        assert not report.results, [(one.image, one.status, one.why, one.did) for one in report.results]
        self.check()

    def check(self) -> None:
        locks, amis = self.locks(), self.amis()
        revoked = self.brute_force(locks)
        self.check_revoked(locks, amis, revoked)
        self.check_holds(locks)
        for name, lock in locks.items():
            for build in filter(None, (lock.build(lock.channels.stable), lock.build(lock.channels.candidate))):
                assert {one.location for one in build.artifacts} == set(REGIONS), "what a channel points to is whole"
                for one in build.artifacts:
                    there = amis[one.location, one.id]
                    assert (there.state, there.build, there.image) == ("available", build.id, name)
                    assert not there.deprecated
                    if self.shared[name]:
                        assert there.shared == self.shared[name], "what was added or taken away by hand is healed"
        self.check_clocks(locks)

    def check_revoked(
        self, locks: Mapping[str, Lockfile], amis: Mapping[Place, Ami], revoked: Mapping[str, set[str]]
    ) -> None:
        """What is disabled equals what brute force finds, in every region."""
        for name, lock in locks.items():
            assert {one.id for one in lock.builds if one.phase == "revoked"} == revoked[name]
            for build in lock.builds:
                for one in build.artifacts:
                    there = amis.get((one.location, one.id))
                    if there is not None and build.id in revoked[name]:
                        assert (there.state, there.shared) == ("disabled", frozenset())

    def check_holds(self, locks: Mapping[str, Lockfile]) -> None:
        for name, lock in locks.items():
            if name in self.held and lock.channels.stable == self.held[name]:
                self.bound[name] = self.held[name]
            elif name in self.bound:
                gone = lock.build(self.bound[name])
                assert gone is not None, "a held build is not dropped"
                assert gone.phase in ("revoked", "rejected"), "nothing but its line moves what is held"

    def check_clocks(self, locks: Mapping[str, Lockfile]) -> None:
        now = {
            (name, one.build.id): (one.deprecated, one.disabled) for name, lock in locks.items() for one in lock.leaving
        }  # fmt: skip
        for key, (deprecated, disabled) in now.items():
            before = self.clocks.get(key)
            if before is not None:
                assert deprecated == before[0], "the retire clock was set back"
                assert before[1] in (None, disabled), "the retire clock was set back"
        self.clocks = now

    def brute_force(self, locks: Mapping[str, Lockfile]) -> dict[str, set[str]]:
        """Everything recorded whose chain of sources meets a revoked build, found by walking each chain up."""

        def meets(image: str, build_id: str) -> bool:
            if build_id in self.revoked[image]:
                return True
            build = next((one for one in locks[image].recorded if one.id == build_id), None)
            source = build.source if build is not None else None
            return source is not None and source.image is not None and meets(source.image, source.build or "")

        return {name: {one.id for one in lock.builds if meets(name, one.id)} for name, lock in locks.items()}

    def roots(self) -> set[str]:
        """The builds that nothing may take away: what channels and holds name, the newest, and what they stand on."""
        locks = self.locks()
        every = {one.id: one for lock in locks.values() for one in lock.recorded}
        found: set[str | None] = set(self.held.values())
        for lock in locks.values():
            found |= {lock.channels.stable, lock.channels.candidate, lock.builds[0].id if lock.builds else None}
            found |= {one.id for one in lock.builds if one.phase == "revoked"}
        waiting = [every[one] for one in found if one in every]
        while waiting:
            source = waiting.pop().source
            if source is not None and source.build in every and source.build not in found:
                found.add(source.build)
                waiting.append(every[source.build])
        return {one for one in found if one is not None}

    # What a team does.

    @rule(image=IMAGES)
    def somebody_changes_it(self, image: str) -> None:
        self.world.commit({f"desired/{image}/setup.sh": f"echo {next(self.numbers)}\n"})
        self.reconcile()

    @rule(image=IMAGES, status=st.sampled_from(["passed", "failed"]))
    def it_is_judged(self, image: str, status: Any) -> None:
        self.validated |= {image}
        self.declare(image)
        newest = self.lock(image).builds[0]
        if newest.phase == "candidate":
            verdict = Verdict(status=status, by="validation", evidence="https://ci.example.org/7")
            for one in newest.artifacts:
                self.registry().tag(one, verdict_tags(verdict))
        self.reconcile()

    @rule(image=IMAGES, which=WHICH)
    def it_is_held(self, image: str, which: int) -> None:
        good = [one for one in self.lock(image).builds if one.phase not in ("revoked", "rejected") and self.whole(one)]
        if good:
            self.held[image] = good[which % len(good)].id
            self.bound.pop(image, None)
            self.declare(image)
            self.reconcile()
            assert self.lock(image).channels.stable == self.held[image]

    def whole(self, build: Build) -> bool:
        there = self.amis()
        states = {
            there[place].state if (place := (one.location, one.id)) in there else "gone" for one in build.artifacts
        }
        return states == {"available"} and {one.location for one in build.artifacts} == set(REGIONS)

    @precondition(lambda self: self.held)
    @rule()
    def a_hold_is_taken_away(self) -> None:
        image = min(self.held)
        del self.held[image]
        self.bound.pop(image, None)
        self.declare(image)
        self.reconcile()

    @rule(image=IMAGES, which=WHICH)
    def one_is_revoked(self, image: str, which: int) -> None:
        builds = [one.id for one in self.lock(image).builds if self.takes_nothing_held(image, one.id)]
        if builds:
            self.revoked[image].add(builds[which % len(builds)])
            self.declare(image)
            self.reconcile()

    def takes_nothing_held(self, image: str, build_id: str) -> bool:
        """Whether nothing held is revoked with it: such a hold is refused, and its image waits for a person."""
        before = set(self.revoked[image])
        self.revoked[image].add(build_id)
        found = self.brute_force(self.locks())
        self.revoked[image] = before
        return all(held not in found[name] for name, held in self.held.items())

    @precondition(lambda self: any(self.revoked.values()))
    @rule()
    def all_revocations_are_taken_away(self) -> None:
        for image in NAMES:
            self.revoked[image].clear()
            self.declare(image)
        self.reconcile()

    @precondition(lambda self: not any(self.revoked.values()) and not self.held)
    @rule(image=IMAGES, which=WHICH)
    def a_revocation_that_is_taken_back_leaves_no_trace(self, image: str, which: int) -> None:
        """Permissions too. Where nothing was built for it meanwhile: the child of a parent that fell back follows."""
        self.reconcile()
        before, amis = self.locks(), self.amis()
        self.one_is_revoked(image, which)
        self.all_revocations_are_taken_away()
        after = self.locks()
        if any({one.id for one in before[name].builds} != {one.id for one in after[name].builds} for name in NAMES):
            return
        assert [lock.channels for lock in after.values()] == [lock.channels for lock in before.values()]
        assert self.amis() == amis

    @rule(image=IMAGES, account=ACCOUNTS)
    def it_is_shared_or_no_more(self, image: str, account: str) -> None:
        self.shared[image] ^= {account}
        self.declare(image)
        self.reconcile()

    @rule(days=st.sampled_from([2, 15]), times=st.integers(1, 3))
    def what_may_go_is_taken_further(self, days: int, times: int) -> None:
        for _ in range(times):
            self.a_step_is_taken(days)

    def a_step_is_taken(self, days: int) -> None:
        self.world.clock.advance(days=days)
        roots, before = self.roots(), self.amis()
        done = self.controller().collect()
        assert done.failed == {}
        after = self.amis()
        for place, one in before.items():
            if one.build in roots:
                assert after.get(place) == one, "a root went"
        self.check_clocks(self.locks())
        self.reconcile()

    @rule()
    def what_may_go_is_removed(self) -> None:
        for _ in range(3):
            self.a_step_is_taken(15)

    @rule(which=WHICH)
    def what_was_removed_is_restored(self, which: int) -> None:
        listed = self.controller().restore().restorable
        recorded = {one.id for lock in self.locks().values() for one in lock.recorded}
        builds = sorted({one.build for one in listed} - recorded)
        if not builds:
            return
        build_id = builds[which % len(builds)]
        told = self.controller().restore(build_id)
        assert told.is_back, told
        self.reconcile()
        (image,) = {one.image for one in listed if one.build == build_id}
        back = self.lock(image).build(build_id)
        assert back is not None
        assert {one.location for one in back.artifacts} == set(REGIONS)

    # What hands do between two runs.

    def any_of_a_channel(self, which: int) -> tuple[str, Artifact]:
        found = [
            (name, one)
            for name, lock in self.locks().items()
            for build in lock.builds
            if build.id in (lock.channels.stable, lock.channels.candidate)
            for one in build.artifacts
        ]
        return found[which % len(found)] if found else ("", Artifact(kind="ami", builder="", location="", id=""))

    @rule(which=WHICH, account=ACCOUNTS)
    def somebody_shares_one_by_hand(self, which: int, account: str) -> None:
        _, one = self.any_of_a_channel(which)
        if one.id:
            permission = {"Add": [{"UserId": account}]}
            self.ec2[one.location].modify_image_attribute(ImageId=one.id, LaunchPermission=permission)
            self.reconcile()

    @rule(which=WHICH)
    def somebody_takes_permissions_away_by_hand(self, which: int) -> None:
        name, one = self.any_of_a_channel(which)
        if one.id and self.shared[name]:
            gone = {"Remove": [{"UserId": account} for account in sorted(self.shared[name])]}
            self.ec2[one.location].modify_image_attribute(ImageId=one.id, LaunchPermission=gone)
            self.reconcile()

    @rule(which=WHICH)
    def somebody_disables_one_by_hand(self, which: int) -> None:
        name, one = self.any_of_a_channel(which)
        if one.id:
            self.ec2[one.location].disable_image(ImageId=one.id)
            self.reconcile()
            assert self.amis()[one.location, one.id].state == "available" or self.replaced(name, one)

    def replaced(self, image: str, artifact: Artifact) -> bool:
        return all(artifact.id != one.id for build in self.lock(image).builds for one in build.artifacts)

    @rule(which=WHICH)
    def somebody_deprecates_one_by_hand(self, which: int) -> None:
        _, one = self.any_of_a_channel(which)
        if one.id and self.knows_deprecation(one):
            at = datetime.now(UTC) + timedelta(minutes=5)
            self.ec2[one.location].enable_image_deprecation(ImageId=one.id, DeprecateAt=at)
            self.reconcile()

    def knows_deprecation(self, artifact: Artifact) -> bool:
        """Where nothing is declared of it, and it was not deprecated here, it stays as a person left it."""
        return artifact.cared_for.deprecated is not None

    @rule(which=WHICH)
    def somebody_deregisters_one_by_hand(self, which: int) -> None:
        _, one = self.any_of_a_channel(which)
        if one.id:
            self.ec2[one.location].deregister_image(ImageId=one.id)
            self.world.clock.advance(hours=2)  # what was recorded minutes ago may only not be visible yet
            self.reconcile()

    @rule(which=WHICH)
    def a_step_on_the_way_out_is_undone_by_hand(self, which: int) -> None:
        going = [one for lock in self.locks().values() for entry in lock.leaving for one in entry.build.artifacts]
        there = self.amis()
        going = [one for one in going if (one.location, one.id) in there]
        if going:
            one = going[which % len(going)]
            self.ec2[one.location].enable_image(ImageId=one.id)
            self.ec2[one.location].disable_image_deprecation(ImageId=one.id)
            self.a_step_is_taken(2)


@pytest.fixture
def server(moto: str, own_home: None, monkeypatch: pytest.MonkeyPatch) -> str:
    # The registry's clock does not go on with the test's.
    monkeypatch.setattr(Ec2Registry, "server_time", lambda _self, _location: None)
    return moto


def test_what_is_ruled_and_shared_holds_whatever_hands_do(server: str, tmp_path: Path) -> None:
    numbers = itertools.count()
    run_state_machine_as_test(
        lambda: Life(server, tmp_path / f"fleet-{next(numbers)}"),  # type: ignore[arg-type]  # it only calls it
        settings=settings(
            max_examples=4,
            stateful_step_count=9,
            deadline=None,
            derandomize=True,
            database=None,
            phases=(Phase.generate,),  # an example takes half a minute, and each says what it did
            suppress_health_check=list(HealthCheck),
        ),
    )
