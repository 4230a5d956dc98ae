"""A fleet of four generations through whatever a team rules, whatever hands do to artifacts, and time.

Moves that hypothesis chooses, or a test by name; after each, runs until nothing is left to do, and then what has to
hold is found by brute force, of what the registry itself says. The registry is one in memory, or EC2.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from reconciler.model.care import Grants
from reconciler.model.lockfile import Artifact, Build, Lockfile, Verdict
from reconciler.model.observation import TAG_PREFIX
from reconciler.plan.channels import verdict_tags
from reconciler.state.lockfiles import parse, path_of
from tests.integration.loop.settling import assert_consistent
from tests.integration.loop.world import EU, FLEET, ON_DEBIAN, US, Controller, World, git, image_files

NAMES, REGIONS = ("base", "left", "right", "app", "edge"), (US, EU)
PARENTS = {"left": "base", "right": "base", "app": "left", "edge": "app"}
"""`app` goes from left to right and back: what is built on base meets again in its builds."""
OTHERS = ("111111111111", "222222222222")
MARKS = ("key", "fleet", "image", "phase", "channel")
RETAIN = "retain: {builds: 1, even_if_shared: true}\n"
SETTINGS = (
    f"fleet: {FLEET}\ndefaults:\n  regions: [{US}, {EU}]\n"
    '  publish: {ssm: "/images/{image}/{channel}"}\nlimits: {max_actions: 1000}\n'
)
Place = tuple[str, str]
IMAGES, ACCOUNTS, WHICH = st.sampled_from(NAMES), st.sampled_from(OTHERS), st.integers(0, 40)


@dataclass(frozen=True)
class Ami:
    """What the registry says of an artifact of the fleet, beside its content."""

    build: str
    image: str
    phase: str
    state: str
    shared: frozenset[str]
    deprecated: bool


class Hands(Protocol):
    """What is there, and what people do to it, without this program."""

    def source(self) -> str:
        """How the first generation is declared."""
        ...

    def publish_newer(self) -> None:
        """Somebody publishes a newer source."""
        ...

    def amis(self) -> Mapping[Place, Ami]:
        """Everything of the fleet that is there, by location and id."""
        ...

    def controller(self) -> Controller:
        """One that asks this registry."""
        ...

    def tag(self, artifact: Artifact, tags: Mapping[str, str]) -> None:
        """Set tags."""
        ...

    def untag(self, artifact: Artifact, key: str) -> None:
        """Take a tag off."""
        ...

    def share(self, artifact: Artifact, account: str) -> None:
        """Let an account launch it."""
        ...

    def unshare(self, artifact: Artifact, account: str) -> None:
        """Let an account launch it no more."""
        ...

    def disable(self, artifact: Artifact) -> None:
        """Disable it."""
        ...

    def enable(self, artifact: Artifact) -> None:
        """Enable it, and take its deprecation away."""
        ...

    def deprecate(self, artifact: Artifact, at: datetime) -> None:
        """Set from when it is deprecated."""
        ...

    def deregister(self, artifact: Artifact) -> None:
        """Delete it."""
        ...

    def check(self) -> None:
        """What has to hold beside, and only this registry can tell."""
        ...


def files(source: str) -> dict[str, str | None]:
    """The fleet as it is declared at first."""
    declared = {name: f"source: {{image: {PARENTS[name]}}}\n" if name in PARENTS else source for name in NAMES}
    every: dict[str, str | None] = {"desired/reconciler.yaml": SETTINGS}
    for name in NAMES:
        every |= image_files(name, f"{declared[name]}{RETAIN}")
    return every


class Life(RuleBasedStateMachine):
    """The fleet, what is declared of it, and what was seen of it by the last run."""

    def __init__(self, world: World, hands: Hands) -> None:
        super().__init__()
        self.world, self.hands = world, hands
        self.parents = dict(PARENTS)
        self.numbers: Iterator[int] = itertools.count()
        self.held: dict[str, str] = {}
        self.bound: dict[str, str] = {}
        """The build that each held `stable` was seen at, for as long as its line stands."""
        self.checked = world.head()
        self.revoked: dict[str, set[str]] = {name: set() for name in NAMES}
        self.shared: dict[str, set[str]] = {name: set() for name in NAMES}
        self.validated: set[str] = set()
        self.paused: set[str] = set()
        self.by_hand: set[Place] = set()
        """What somebody disabled."""
        self.clocks: dict[tuple[str, str], tuple[str, str | None]] = {}
        """When each build that goes away was deprecated, and disabled, as recorded."""
        self.built_on: dict[str, tuple[str, str]] = {}
        """What each build was built on that was ever recorded, by image and id: lockfiles forget."""

    def teardown(self) -> None:
        shutil.rmtree(self.world.root)

    # What there is.

    def lock(self, image: str) -> Lockfile:
        return self.world.lock(image)

    def locks(self) -> dict[str, Lockfile]:
        return {name: self.lock(name) for name in NAMES}

    def declare(self, image: str) -> None:
        rows = "".join(f"  - {{build: {one}, reason: leaked}}\n" for one in sorted(self.revoked[image]))
        accounts = ", ".join(f'"{one}"' for one in sorted(self.shared[image]))
        parent = self.parents.get(image)
        source = f"source: {{image: {parent}}}\n" if parent else self.hands.source()
        self.world.commit({
            f"desired/{image}/image.yaml": "".join((
                f"# {next(self.numbers)}\n", source, RETAIN,
                "validation: {required: true}\n" if image in self.validated else "",
                f"share_with: {{accounts: [{accounts}]}}\n" if accounts else "",
                f"hold: {{build: {self.held[image]}, reason: works}}\n" if image in self.held else "",
                "suspend: {reason: frozen}\n" if image in self.paused else "",
                f"revoke:\n{rows}" if rows else "",
            ))
        })  # fmt: skip

    # What has to hold once nothing is left to do.

    def reconcile(self, *, refresh: bool = False) -> None:
        self.world.clock.advance(hours=1)
        for number in range(12):
            report = self.hands.controller().reconcile(refresh=refresh and number == 0)
            # Whether others use what is to be revoked, and is shared with them, a report tells that has to be made.
            asked = any("is not known" in error for one in report.plan.images for error in one.errors)
            if not report.results and not asked:
                break
        assert not report.results, [(one.image, one.status, one.why, one.did) for one in report.results]
        self.check()

    def check(self) -> None:
        locks, amis = self.locks(), self.hands.amis()
        self.remember(locks)
        self.check_revoked(locks, amis)
        self.check_holds()
        for name, lock in locks.items():
            bound = {self.held[name]} if name in self.held else set()
            bound -= {one.id for one in lock.recorded if one.phase == "revoked"}  # which overrules it
            assert {one.id for one in lock.recorded if one.is_held} == bound, "what is recorded of a hold"
        self.check_channels(locks, amis)
        self.check_clocks(locks)
        self.hands.check()

    def check_revoked(self, locks: Mapping[str, Lockfile], amis: Mapping[Place, Ami]) -> None:
        """What is recorded, marked and disabled as revoked equals what brute force finds, in every location."""
        revoked = self.brute_force(locks)
        for name, lock in locks.items():
            assert {one.id for one in lock.builds if one.phase == "revoked"} == revoked[name], "the closure"
            for build in lock.builds:
                for place in ((one.location, one.id) for one in build.artifacts):
                    if (there := amis.get(place)) is None:
                        continue
                    if build.id in revoked[name]:
                        assert (there.state, there.shared) == ("disabled", frozenset()), "the closure, in a location"
                    else:
                        assert there.state == "available" or place in self.by_hand, "nothing else is disabled"
                    assert (there.phase == "revoked") == (build.id in revoked[name]), "the closure, as marked"

    def check_holds(self) -> None:
        """No commit moves what is held, and is held to by then, but one that changes its line."""
        head = self.world.head()
        for name, held in self.held.items():
            for lock in self.versions(name):
                if lock.channels.stable == held:
                    self.bound[name] = held
                elif name in self.bound:
                    gone = lock.build(held)
                    assert gone is not None, "a held build is not dropped"
                    assert gone.phase in ("revoked", "rejected"), "nothing but its line moves what is held"
        self.checked = head

    def versions(self, image: str) -> Iterator[Lockfile]:
        """The lockfile in each commit since it was looked at last, and as it is now."""
        path = path_of(image)
        since = git(self.world.origin, "rev-list", "--reverse", f"{self.checked}..main", "--", path).splitlines()
        for commit in since:
            yield parse(f"{git(self.world.origin, 'show', f'{commit}:{path}')}\n".encode(), path)
        yield self.lock(image)

    def stopped(self) -> set[str]:
        """The images of which nothing is done but to withdraw: they are paused, or their hold is refused."""
        revoked = self.brute_force(self.locks())
        return self.paused | {name for name, held in self.held.items() if held in revoked[name]}

    def check_channels(self, locks: Mapping[str, Lockfile], amis: Mapping[Place, Ami]) -> None:
        """What a channel points to is whole, as declared, and what its names hold; and what is not points nowhere."""
        names: dict[Place, str] = {}
        stopped = self.stopped()
        for name, lock in locks.items():
            if name in stopped:
                assert {lock.channels.stable, lock.channels.candidate}.isdisjoint(self.brute_force(locks)[name])
                continue
            for channel in ("stable", "candidate"):
                build = lock.build(getattr(lock.channels, channel))
                if build is None:
                    continue
                assert build.phase not in ("revoked", "rejected")
                assert {one.location for one in build.artifacts} == set(REGIONS), "what a channel points to is whole"
                for one in build.artifacts:
                    there = amis[one.location, one.id]
                    assert (there.state, there.build, there.image) == ("available", build.id, name)
                    assert not there.deprecated
                    if self.shared[name]:
                        assert there.shared == self.shared[name], "what was added or taken away by hand is healed"
                    names[one.location, f"/images/{name}/{channel}"] = one.id
        found = self.world.publisher.values()
        theirs = {place for place in found if place[1].split("/")[2] in stopped}
        assert {place: value for place, value in found.items() if place not in theirs} == names, "what consumers find"
        revoked = self.brute_force(locks)
        gone = {one.id for name in stopped for build in locks[name].builds if build.id in revoked[name]
                for one in build.artifacts}  # fmt: skip
        assert gone.isdisjoint(found[place] for place in theirs), "nobody finds what is revoked"

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
            return any(one in self.revoked[name] for name, one in ((image, build_id), *self.ancestors(build_id)))

        return {name: {one.id for one in lock.builds if meets(name, one.id)} for name, lock in locks.items()}

    def ancestors(self, build_id: str) -> Iterator[tuple[str, str]]:
        """What a build stands on, the nearest first."""
        while (parent := self.built_on.get(build_id)) is not None:
            yield parent
            _, build_id = parent

    def remember(self, locks: Mapping[str, Lockfile]) -> None:
        for build in (one for lock in locks.values() for one in lock.recorded):
            if build.source is not None and build.source.image is not None:
                self.built_on[build.id] = (build.source.image, build.source.build or "")

    def roots(self) -> set[str]:
        """The builds that nothing may take away: what channels and holds name, the newest, and what they stand on."""
        locks = self.locks()
        found: set[str | None] = set(self.held.values())
        for lock in locks.values():
            found |= {lock.channels.stable, lock.channels.candidate, lock.builds[0].id if lock.builds else None}
            found |= {one.id for one in lock.builds if one.phase == "revoked"}
        named = {one for one in found if one is not None}
        return named.union(parent for one in named for _, parent in self.ancestors(one))

    # What a team does.

    @rule(image=IMAGES)
    def somebody_changes_it(self, image: str) -> None:
        self.world.commit({f"desired/{image}/setup.sh": f"echo {next(self.numbers)}\n"})
        self.reconcile()

    @rule()
    def the_source_moves_on_and_all_is_refreshed(self) -> None:
        self.hands.publish_newer()
        built = {name: len(lock.recorded) for name, lock in self.locks().items()}
        self.reconcile(refresh=True)
        assert len(self.lock("base").recorded) >= built["base"]

    @rule()
    def app_goes_over_to_the_other_parent(self) -> None:
        self.parents["app"] = {"left": "right", "right": "left"}[self.parents["app"]]
        self.declare("app")
        self.reconcile()

    @rule(image=IMAGES, status=st.sampled_from(["passed", "failed"]))
    def it_is_judged(self, image: str, status: Literal["passed", "failed"]) -> None:
        self.validated |= {image}
        self.declare(image)
        newest = self.lock(image).builds[0]
        if newest.phase == "candidate":
            verdict = Verdict(status=status, by="validation", evidence="https://ci.example.org/7")
            for one in newest.artifacts:
                self.hands.tag(one, verdict_tags(verdict))
        self.reconcile()

    @rule(image=IMAGES, which=WHICH)
    def it_is_held(self, image: str, which: int) -> None:
        good = [one for one in self.lock(image).builds if one.phase not in ("revoked", "rejected") and self.whole(one)]
        if good and image not in self.paused:
            self.held[image] = good[which % len(good)].id
            self.bound.pop(image, None)
            self.declare(image)
            self.reconcile()
            assert self.lock(image).channels.stable == self.held[image]

    def whole(self, build: Build) -> bool:
        there = self.hands.amis()
        places = [(one.location, one.id) for one in build.artifacts]
        states = {there[place].state if place in there else "gone" for place in places}
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
        builds = [one.id for one in self.lock(image).builds]
        if builds:
            self.revoked[image].add(builds[which % len(builds)])
            self.declare(image)
            self.reconcile()

    @rule(image=IMAGES)
    def it_is_paused_or_goes_on(self, image: str) -> None:
        self.paused ^= {image}
        self.declare(image)
        self.reconcile()

    @precondition(lambda self: any(self.revoked.values()))
    @rule()
    def all_revocations_are_taken_away(self) -> None:
        for image in NAMES:
            if self.revoked[image]:
                self.revoked[image].clear()
                self.declare(image)
        self.reconcile()

    @precondition(lambda self: not any(self.revoked.values()) and not self.held and not self.paused)
    @rule(image=IMAGES, which=WHICH)
    def a_revocation_that_is_taken_back_leaves_no_trace(self, image: str, which: int) -> None:
        """Permissions too, whatever was built meanwhile; and channels, where nothing was.

        The child of a parent that fell back follows that, and is built anew on it.
        """
        self.reconcile()
        before, amis = self.locks(), self.hands.amis()
        self.one_is_revoked(image, which)
        self.all_revocations_are_taken_away()
        after, now = self.locks(), self.hands.amis()
        recorded = {(one.location, one.id) for lock in after.values() for each in lock.builds for one in each.artifacts}
        for place in recorded & amis.keys():
            then, there = amis[place], now[place]
            assert there.state == then.state
            # What a channel fell back to was shared as declared, and stays so.
            assert then.shared <= there.shared <= then.shared | self.shared[then.image], "as it was, permissions too"
        if any({one.id for one in before[name].builds} != {one.id for one in after[name].builds} for name in NAMES):
            return
        assert [lock.channels for lock in after.values()] == [lock.channels for lock in before.values()]
        assert self.but_for_what_is_declared(now) == self.but_for_what_is_declared(amis)

    def but_for_what_is_declared(self, amis: Mapping[Place, Ami]) -> Mapping[Place, Ami]:
        return {place: replace(one, shared=one.shared - self.shared[one.image]) for place, one in amis.items()}

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
        self.reconcile()
        roots, before = self.roots(), self.hands.amis()
        done = self.hands.controller().collect()
        assert done.failed == {}
        after = self.hands.amis()
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
        listed = self.hands.controller().restore().restorable
        recorded = {one.id for lock in self.locks().values() for one in lock.recorded}
        builds = sorted({one.build for one in listed if one.image not in self.stopped()} - recorded)
        if not builds:
            return
        build_id = builds[which % len(builds)]
        told = self.hands.controller().restore(build_id)
        assert told.is_back, told
        self.reconcile()
        (image,) = {one.image for one in listed if one.build == build_id}
        back = self.lock(image).build(build_id)
        assert back is not None
        assert {one.location for one in back.artifacts} == set(REGIONS)

    # What hands do between two runs.

    def any_of_a_channel(self, which: int) -> tuple[str, Artifact] | None:
        found = [
            (name, one)
            for name, lock in self.locks().items()
            if name not in self.stopped()
            for build in lock.builds
            if build.id in (lock.channels.stable, lock.channels.candidate)
            for one in build.artifacts
        ]
        return found[which % len(found)] if found else None

    def by_a_hand(self, which: int, change: Callable[[str, Artifact], object]) -> Artifact | None:
        """Somebody does something to one that a channel points to, and the next runs see it."""
        found = self.any_of_a_channel(which)
        if found is None:
            return None
        change(*found)
        self.reconcile()
        return found[1]

    @rule(which=WHICH, account=ACCOUNTS)
    def somebody_shares_one(self, which: int, account: str) -> None:
        self.by_a_hand(which, lambda _, one: self.hands.share(one, account))

    @rule(which=WHICH)
    def somebody_takes_permissions_away(self, which: int) -> None:
        def unshare(name: str, one: Artifact) -> None:
            for account in sorted(self.shared[name]):
                self.hands.unshare(one, account)

        self.by_a_hand(which, unshare)

    @rule(which=WHICH)
    def somebody_disables_one(self, which: int) -> None:
        def disable(_: str, one: Artifact) -> None:
            self.by_hand.add((one.location, one.id))
            self.hands.disable(one)

        one = self.by_a_hand(which, disable)
        if one is not None and (one.location, one.id) in self.hands.amis():
            assert self.hands.amis()[one.location, one.id].state == "available"
            self.by_hand.discard((one.location, one.id))

    @rule(which=WHICH)
    def somebody_deprecates_one(self, which: int) -> None:
        """Where nothing is declared of it, and it was not deprecated here, it stays as a person left it."""

        def deprecate(_: str, one: Artifact) -> None:
            if one.cared_for.deprecated is not None:
                self.hands.deprecate(one, self.world.clock() + timedelta(minutes=5))

        self.by_a_hand(which, deprecate)

    @rule(which=WHICH)
    def somebody_deregisters_one(self, which: int) -> None:
        def deregister(_: str, one: Artifact) -> None:
            self.hands.deregister(one)
            self.world.clock.advance(hours=2)  # what was recorded minutes ago may only not be visible yet

        self.by_a_hand(which, deregister)

    @rule(which=WHICH, mark=st.sampled_from(MARKS))
    def somebody_takes_a_tag_off_one(self, which: int, mark: str) -> None:
        self.by_a_hand(which, lambda _, one: self.hands.untag(one, f"{TAG_PREFIX}{mark}"))

    @rule(which=WHICH)
    def somebody_edits_a_parameter(self, which: int) -> None:
        names = sorted(self.world.publisher.values())
        if names:
            location, name = names[which % len(names)]
            self.world.publisher.seed(location, name, "ami-somebody-elses")
            self.reconcile()

    @rule(which=WHICH)
    def a_step_on_the_way_out_is_undone(self, which: int) -> None:
        going = [one for lock in self.locks().values() for entry in lock.leaving for one in entry.build.artifacts]
        there = self.hands.amis()
        going = [one for one in going if (one.location, one.id) in there]
        if going:
            self.hands.enable(going[which % len(going)])
            self.a_step_is_taken(2)


# A registry in memory.


@dataclass(frozen=True)
class InMemory:
    """The fleet's registry in memory, and what people do there. Implements `Hands`."""

    world: World

    def source(self) -> str:
        return ON_DEBIAN

    def publish_newer(self) -> None:
        self.world.publish_upstream(f"debian-12-amd64-{len(self.world.registry.upstreams)}")

    def controller(self) -> Controller:
        return self.world.controller()

    def amis(self) -> Mapping[Place, Ami]:
        return {
            one.place: Ami(
                one.own("build") or "", one.own("image") or "", one.own("phase") or "", one.state,
                frozenset(self.world.registry.traits[one.place].launched_by.accounts), one.deprecated is not None,
            )
            for one in self.world.registry.artifacts if one.own("key") is not None
        }  # fmt: skip

    def tag(self, artifact: Artifact, tags: Mapping[str, str]) -> None:
        self.world.registry.tag(artifact, tags)

    def untag(self, artifact: Artifact, key: str) -> None:
        seen = self.world.registry._artifacts[artifact.location, artifact.id]
        tags = {one: value for one, value in seen.tags.items() if one != key}
        self.world.registry._artifacts[seen.place] = replace(seen, tags=tags)

    def share(self, artifact: Artifact, account: str) -> None:
        self.world.registry.share(artifact, add=Grants.of([account]), remove=Grants())

    def unshare(self, artifact: Artifact, account: str) -> None:
        self.world.registry.share(artifact, add=Grants(), remove=Grants.of([account]))

    def disable(self, artifact: Artifact) -> None:
        self.world.registry.disable(artifact)

    def enable(self, artifact: Artifact) -> None:
        self.world.registry.enable(artifact)
        self.world.registry.deprecate(artifact, None)

    def deprecate(self, artifact: Artifact, at: datetime) -> None:
        self.world.registry.deprecate(artifact, at)

    def deregister(self, artifact: Artifact) -> None:
        self.world.registry.delete(artifact)

    def check(self) -> None:
        assert_consistent(self.world)


PLAYED: dict[str, Any] = {"deadline": None, "derandomize": True, "database": None}
"""How each game is played: the same every time."""
