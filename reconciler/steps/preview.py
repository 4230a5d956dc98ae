"""Act for a pull request: build what its branch would change, and record it in annotated tags alone.

Nothing is committed to anybody's branch: a bot's commit there would dismiss approvals and conflict with every refresh
on main. The tag holds the whole record; after the merge the loop on main adopts the artifact with it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from reconciler.build.failure import BuildFailed
from reconciler.git.request import Commit, TagRequest
from reconciler.model import events
from reconciler.model.errors import ReconcilerError, Terminal, UserError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build
from reconciler.model.observation import TAG_PREFIX
from reconciler.model.plan import Decision, Wanted
from reconciler.plan import messages
from reconciler.plan.adoption import adoptable
from reconciler.plan.backoff import next_failure
from reconciler.plan.key import wanted as want
from reconciler.plan.parents import REPLACING
from reconciler.plan.planning import FleetPlan
from reconciler.plan.tags import branch_value, branches_value, of_preview
from reconciler.steps.adopt import adopted_build
from reconciler.steps.artifacts import copy_missing, with_copies
from reconciler.steps.build_image import build_image, new_build_id
from reconciler.steps.result import Result, Status
from reconciler.steps.run import Branch, Run


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
        there = adoptable(run.registry.observe(image.regions).of(image.name), key=wanted.key)
    if there:
        build = adopted_build(run, image, replace(decision, wanted=wanted, adopt=there), phase="preliminary")
        run.listener(events.Adopted(image=image.name, build=build.id))
        return _complete(run, decision, build, image=image, built=False)
    build_id = new_build_id(run, wanted.key)
    try:
        build = build_image(run, image, wanted, build_id=build_id, decision=decision, phase="preliminary")
    except BuildFailed as failed:
        if failed.cause == "cancelled":
            return Result(image.name, "interrupted", decision.lock, why=failed.what, error=failed)
        failure = next_failure(None, build=build_id, key=wanted.key, what=failed.what, now=run.now())
        run.listener(events.Failed(image=image.name, what=failed.what, tail=failed.tail, log=str(failed.log)))
        try:
            _push_tag(run, messages.tag_name(image.name, build_id), messages.failure_tag(image.name, failure))
        except ReconcilerError as error:
            run.listener(events.Warned(image=image.name, what=f"the failed build has no tag: {error.what}"))
        return Result(image.name, "failed", decision.lock, why=failed.what, error=failed)
    return _complete(run, decision, build, image=image, built=True)


def for_preview(fleet_plan: FleetPlan, *, overtaken: Collection[str] = ()) -> FleetPlan:
    """What of a plan a pull request sets going: builds, and finding what is built. All else is main's business.

    So is what main changed since the branch began (`overtaken`), with what would have to be built on it first.
    """
    left: set[str] = set(overtaken)
    kept: list[Decision] = []
    for decision in fleet_plan.decisions:  # parents first
        planned = decision.planned
        if not left.isdisjoint(planned.blocked_by):
            left.add(decision.name)
        idle = planned.model_copy(update={"actions": ("none",), "blocked_by": ()})
        builds = decision.name not in left and not REPLACING.isdisjoint(planned.actions)
        kept.append(decision if builds else replace(decision, planned=idle))
    return replace(fleet_plan, decisions=tuple(kept))


def regions_for_children(decisions: Sequence[Decision]) -> Mapping[str, tuple[str, ...]]:
    """Where a preview's own children need it, by image. The other regions are copied to when it is promoted."""
    needed: dict[str, set[str]] = {}
    for decision in decisions:
        if decision.image is not None and decision.image.parent is not None and decision.acts:
            needed.setdefault(decision.image.parent, set()).add(decision.image.build_region)
    return {name: tuple(sorted(regions)) for name, regions in needed.items()}


def _on_the_preview_of(image: Image, wanted: Wanted, parents: Mapping[str, Result]) -> Wanted:
    parent = parents.get(image.parent or "")
    if parent is None or parent.build is None:
        return wanted
    pin = parent.build.as_pin(parent.image)
    if wanted.pin is not None and pin.identity == wanted.pin.identity:
        return replace(wanted, pin=pin)
    return want(image, pin)


def _complete(run: Run, decision: Decision, build: Build, *, image: Image, built: bool) -> Result:
    branch = _branch(run)
    tags = of_preview(
        fleet=run.known.fleet_name, image=image, build=build, branch=branch.name, pull_request=branch.pull_request
    )
    if built:
        for artifact in build.artifacts:
            run.registry.tag(artifact, tags)
    else:
        _share(run, decision, branch.name)
    missing = [region for region in branch.needed.get(image.name, ()) if build.artifact_in(region) is None]
    copies = copy_missing(run, image, build, source=build.artifacts[0], regions=missing)
    for artifact in copies.done:
        run.registry.tag(artifact, tags)
    build = with_copies(build, copies)
    name = messages.tag_name(image.name, build.id)
    if built or run.repository.annotated_tag(name) is None:
        _push_tag(run, name, messages.build_tag(image.name, build), commit=build.commit)
    for region, error in copies.failed:
        run.listener(events.Failed(image=image.name, what=f"no copy in {region}: {error.what}"))
    status: Status = "failed" if copies.failed else "built" if built else "adopted"
    return Result(
        image.name, status, decision.lock, build=build, seconds=build.seconds or 0 if built else 0, tags=(name,),
        why="; ".join(f"no copy in {region}: {error.what}" for region, error in copies.failed),
    )  # fmt: skip


def _share(run: Run, decision: Decision, branch: str) -> None:
    """Note on what another branch built that this one needs it, too, so that it outlives the other.

    What is promoted already is nobody's preview.
    """
    for seen in decision.adopt:
        before = seen.own("branch")
        if seen.own("phase") == "preliminary" and branch_value(branch) not in (before or "").split():
            run.registry.tag(seen, {f"{TAG_PREFIX}branch": branches_value(before, branch)})


def _push_tag(run: Run, name: str, message: str, *, commit: str | None = None) -> None:
    target = commit or run.known.head
    try:
        run.repository.resolve(target)
    except UserError:
        target = run.known.head  # what another branch built, and whose commit this clone does not have
    tag = TagRequest(name=name, target=target, message=message)
    run.recorder.record(lambda tree: Commit(changes=(), message=f"tag {name} at {tree.oid}", tags=(tag,)))


def _branch(run: Run) -> Branch:
    if run.branch is None:
        raise Terminal("a preview is a branch's, and none is named")
    return run.branch
