"""Act for a pull request: build what its branch would change, and record it in annotated tags alone.

Nothing is committed to anybody's branch: a bot's commit there would dismiss approvals and conflict with every refresh
on main. The tag holds the whole record; after the merge the loop on main adopts the artifact with it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from reconciler.git.objects import Commit, TagRequest
from reconciler.model import events
from reconciler.model.errors import ReconcilerError, Terminal
from reconciler.model.events import Event, Listener
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build
from reconciler.model.plan import Decision, Wanted
from reconciler.plan.graph import REPLACING
from reconciler.plan.key import adoptable
from reconciler.plan.key import wanted as want
from reconciler.plan.planning import FleetPlan, Known
from reconciler.plan.tags import branch_value, branches_in, branches_value, own
from reconciler.ports.builder import BuildFailed
from reconciler.steps.artifacts import complete_tags, copy_missing, with_copies
from reconciler.steps.attempts import Failed, failed_in, failure_of, is_of_the_image, left_by, reject, uncounted
from reconciler.steps.build import build_image, new_build_id
from reconciler.steps.finish import adopted_build, tested_anew, tested_before
from reconciler.steps.record_files import difference_made, sbom_tag
from reconciler.steps.run import Adapters, Branch, Origin, Report, Result, Run, Status
from reconciler.steps.smoke_test import Examined, SmokeTestFailed, smoke_test
from reconciler.words import messages
from reconciler.words.comment import Previewed


def preview_image(run: Run, decision: Decision, parents: Mapping[str, Result]) -> Result:
    """Build one image of the branch, or find that it is built already. Raises what building raises."""
    image, wanted = decision.image, decision.wanted
    if image is None or wanted is None:
        raise Terminal(f"{decision.name} can't be previewed: its source is not known")
    planned_key = wanted.key
    wanted = _on_the_preview_of(image, wanted, parents)
    there = decision.adopt if wanted.key == planned_key else ()
    if not there:
        # Another job of the same branch may have built it while this one waited for its turn.
        there = adoptable(run.registry.observe(image.locations).of(image.name), key=wanted.key)
    found = adopted_build(run, image, replace(decision, wanted=wanted, adopt=there), phase="preliminary")
    if found is not None:
        return _found(run, found[1], found[0], image=image)
    build_id = new_build_id(run, wanted.key)
    try:
        build = build_image(run, image, wanted, build_id=build_id, decision=decision, phase="preliminary")
        return _complete(run, decision, tested_anew(run, image, build), image=image, status="built")
    except BuildFailed as failed:
        if not is_of_the_image(run, image, failed):
            return uncounted(run, decision, failed, build_id=build_id)
        return _failed(run, image, decision, failed, build_id=build_id, key=wanted.key)
    except SmokeTestFailed as failed:
        return _failed(run, image, decision, failed, build_id=build_id, key=wanted.key)


def _found(run: Run, decision: Decision, build: Build, *, image: Image) -> Result:
    """What another job built already: of this branch, or of another with the same content."""
    run.listener(events.Adopted(image=image.name, build=build.id))
    _share(run, decision, _branch(run).name)
    try:
        examined = tested_before(run, decision, build, image=image) or smoke_test(run, image, build)
    except SmokeTestFailed as failed:
        return _failed(run, image, decision, failed, build_id=build.id, key=build.key)
    return _complete(run, decision, examined, image=image, status="adopted")


def _failed(run: Run, image: Image, decision: Decision, failed: Failed, *, build_id: str, key: str) -> Result:
    """A failure is recorded in a tag alone, and rests no one: who pushes to a pull request asks for another try."""
    left = left_by(run, image, failed, build_id=build_id)
    failure = failure_of(run, decision, failed, build_id=build_id, key=key, left=left, first=True)
    told = events.Failed(
        image=image.name, what=failed.what, tail=failed.tail, log=str(failed.log), of=failed_in(failed),
        notes=(*failed.hint, *left.told),
    )  # fmt: skip
    run.listener(told)
    try:
        reject(run, failed, lock=decision.lock)
        _push_tags(
            run, _on_commit(run, messages.tag_name(image.name, build_id), messages.failure_tag(image.name, failure))
        )
    except ReconcilerError as error:
        run.listener(events.Warned(image=image.name, what=f"the failed build has no tag: {error.what}"))
    return Result(image.name, "failed", decision.lock, why=failed.what, error=failed, tested=failure.smoke_test)


def for_preview(fleet_plan: FleetPlan, *, overtaken: Collection[str] = ()) -> FleetPlan:
    """What of a plan a pull request sets going: builds, and finding what is built. Everything else is left to main.

    So is what main changed since the branch began (`overtaken`), with what would have to be built on it first.
    """
    left: set[str] = set(overtaken)
    kept: list[Decision] = []
    for decision in fleet_plan.decisions:  # parents first
        planned = decision.planned
        if not left.isdisjoint(planned.blocked_by):
            left.add(decision.name)
        idle = planned.model_copy(update={"actions": ("none",), "blocked_by": (), "retires": ()})
        builds = decision.name not in left and not REPLACING.isdisjoint(planned.actions)
        kept.append(decision if builds else replace(decision, planned=idle))
    return replace(fleet_plan, decisions=tuple(kept))


def locations_for_children(decisions: Sequence[Decision]) -> Mapping[str, tuple[str, ...]]:
    """Where a preview's own children need it, by image. The other locations are copied to when it is promoted."""
    needed: dict[str, set[str]] = {}
    for decision in decisions:
        if decision.image is not None and decision.image.parent is not None and decision.acts:
            needed.setdefault(decision.image.parent, set()).add(decision.image.build_location)
    return {name: tuple(sorted(locations)) for name, locations in needed.items()}


def _on_the_preview_of(image: Image, wanted: Wanted, parents: Mapping[str, Result]) -> Wanted:
    parent = parents.get(image.parent or "")
    if parent is None or parent.build is None:
        return wanted
    pin = parent.build.as_pin(parent.image)
    if wanted.pin is not None and pin.identity == wanted.pin.identity:
        return replace(wanted, pin=pin)
    return want(image, pin)


def _complete(run: Run, decision: Decision, examined: Examined, *, image: Image, status: Status) -> Result:
    build = examined.build
    tags = complete_tags(run, image, build)
    if examined.booted:
        for artifact in build.artifacts:
            run.registry.tag(artifact, own(smoke="passed"))
    missing = [location for location in _branch(run).needed.get(image.name, ()) if build.artifact_in(location) is None]
    copies = copy_missing(run, image, build, source=build.artifacts[0], locations=missing)
    for artifact in copies.done:
        run.registry.tag(artifact, tags)
    build = with_copies(build, copies)
    made = difference_made(run, decision.lock.current, examined.inventory)
    name = messages.tag_name(image.name, build.id)
    if examined.booted or run.repository.annotated_tag(name) is None:
        _push_tags(
            run, _on_commit(run, name, messages.build_tag(image.name, build, made), commit=build.commit),
            *([sbom_tag(image.name, build, examined.inventory)] if examined.inventory is not None else []),
        )  # fmt: skip
    for location, error in copies.failed:
        run.listener(events.Failed(image=image.name, what=f"no copy in {location}: {error.what}"))
    return Result(
        image.name, "failed" if copies.failed else status, decision.lock, build=build,
        seconds=build.seconds or 0 if status == "built" else 0, tags=(name,),
        why="; ".join(f"no copy in {location}: {error.what}" for location, error in copies.failed),
        tested=build.smoke_test, difference=made,
    )  # fmt: skip


def _share(run: Run, decision: Decision, branch: str) -> None:
    """Note on what another branch built that this one needs it, too, so that it outlives the other.

    What is promoted already is nobody's preview.
    """
    for seen in decision.adopt:
        before = seen.own("branch")
        if seen.own("phase") == "preliminary" and branch_value(branch) not in branches_in(before):
            run.registry.tag(seen, own(branch=branches_value(before, branch)))


def _on_commit(run: Run, name: str, message: str, *, commit: str | None = None) -> TagRequest:
    # What another branch built may be of a commit that this clone does not have.
    target = commit if commit is not None and run.repository.has(commit) else run.known.head
    return TagRequest(name=name, target=target, message=message)


def _push_tags(run: Run, *tags: TagRequest) -> None:
    names = ", ".join(tag.name for tag in tags)
    run.recorder.record(lambda tree: Commit(changes=(), message=f"tag {names} at {tree.oid}", tags=tags))


def _branch(run: Run) -> Branch:
    if run.branch is None:
        raise Terminal("a preview is a branch's, and none is named")
    return run.branch


# What is shown of it on the pull request.


class Tails:
    """Keeps the last lines of failed builds for the comment, and passes every event on."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.tails: dict[str, tuple[str, ...]] = {}

    def __call__(self, event: Event) -> None:
        """Take one event."""
        if isinstance(event, events.Failed):
            self.tails[event.image] = event.tail
        self._listener(event)


def show(
    adapters: Adapters,
    known: Known,
    origin: Origin,
    report: Report,
    *,
    tails: Mapping[str, tuple[str, ...]] | None = None,
    remark: str = "",
) -> None:
    """Show what a branch would change, and what became of that, on its pull request, if there is one."""
    previewed = {result.image: _previewed(result, (tails or {}).get(result.image, ())) for result in report.results}
    adapters.host(known).show(report.plan, previewed, branch=origin.branch, number=origin.number, remark=remark)


def _previewed(result: Result, tail: tuple[str, ...]) -> Previewed:
    why = result.why or ("" if result.build is not None else result.status)
    return Previewed(build=result.build, why=why, tail=tail, tested=result.tested, difference=result.difference)
