"""The loop, as a function of its adapters: observe → resolve → diff → plan → act → record → announce.

Level-triggered: every run derives everything from desired/, state/ and the registry, and keeps no memory elsewhere.
Running it twice does nothing the second time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from reconciler.desired.fleet import read_fleet
from reconciler.git.destination import Target
from reconciler.git.recorder import Recorder
from reconciler.model.collection import Collection
from reconciler.model.errors import NoCredentials, ReconcilerError, UserError
from reconciler.model.events import Listener
from reconciler.model.plan import PlanOptions
from reconciler.model.restoration import Restoration
from reconciler.model.text import first_few
from reconciler.plan.graph import REPLACING
from reconciler.plan.limits import refuse_unsafe, within_limits
from reconciler.plan.overtaken import with_changes_of
from reconciler.plan.planning import FleetPlan, Known, lock_of, make_plan
from reconciler.ports.registry import Registry
from reconciler.state.lockfiles import read_lockfiles
from reconciler.steps.consumers import usage_of_revoked, with_forgotten, with_published, with_sharing
from reconciler.steps.observe import (
    find_target,
    observe,
    refuse_elsewhere,
    resolve,
    with_branches,
    with_clocks,
    with_packer,
    withdrawn_sources,
)
from reconciler.steps.ours import records_of, with_doubts, with_sources, with_strangers
from reconciler.steps.propose import NOTHING, Proposed, propose
from reconciler.steps.run import Adapters, Branch, Origin, ReadAdapters, Report, Request, Result, Run
from reconciler.words.markdown import render as as_markdown


@dataclass(frozen=True)
class Looked:
    """What was found out, and the plan that was made from it. `registry` is the one that was read; None: offline."""

    known: Known
    planned: FleetPlan
    registry: Registry | None = None

    @property
    def asked(self) -> Registry:
        """The registry that was read. Raises ValueError where none was, as it was planned offline."""
        if self.registry is None:
            raise ValueError("an offline plan reads no registry")
        return self.registry


def look(adapters: ReadAdapters, known: Known, *, asks: bool) -> Looked:
    """Plan what the repository wants against what the registry shows; offline, from state/ alone.

    What is looked at is the same for every verb, as the adapters and the options of `known` have it: offline neither
    the registry nor what consumers find, and nothing is run; and for a preview not the remote's branches, as it retires
    nothing, nor which Packer is here, as it tries again whatever failed. Where it `asks`, a later run has reports of
    who else uses what is to be revoked: that is for a run that acts. Raises Terminal when the registry refuses us
    altogether.
    """
    records = records_of(adapters.repository, known)
    if known.options.offline:
        known = resolve(with_forgotten(known, records), None)
        return Looked(known, make_plan(known))
    registry = adapters.registry(known)
    known = with_clocks(with_doubts(observe(known, registry), registry, records), registry)
    if not known.options.preview:
        known = with_branches(with_packer(known, adapters.packer), partial(adapters.branches, known))
    known = with_published(known, partial(adapters.publisher, known))
    known = resolve(with_forgotten(known, records), registry)
    planned = make_plan(known)
    confirmed = with_strangers(with_sources(known, planned, registry, records), planned, records)
    if confirmed is not known:
        known, planned = confirmed, make_plan(confirmed)
    usage = usage_of_revoked(known, registry, asks=asks)
    if usage is not None:
        known = replace(known, usage=usage)
        planned = make_plan(known)
    withdrawn = withdrawn_sources(planned, registry)
    if withdrawn:
        known = replace(known, withdrawn=withdrawn)
        planned = make_plan(known)
    return Looked(*with_sharing(known, planned, registry), registry)


def reconcile(adapters: Adapters, request: Request) -> Report:
    """Build, adopt, copy and record until nothing has drifted on the branch that state is recorded to; tell the world.

    Raises what planning raises, and UserError for what is refused before anything is done. More actions than a run may
    take are refused after what a revocation is about was done.
    """
    from reconciler.steps.withdraw import withdraw  # noqa: PLC0415 - see below

    target = find_target(adapters.repository)
    refuse_elsewhere(target, adapters.note)
    options = request.expected.options if request.expected else request.options

    def found() -> tuple[Looked, FleetPlan, UserError | None]:
        looked = look(adapters, adapters.read(adapters.repository.tree(target.head), options), asks=True)
        limits = within_limits(looked.planned, looked.known, expected=request.expected, allowed=request.max_actions)
        return looked, *limits

    looked, planned, too_many = found()
    run = _run(adapters, request, looked.known, registry=looked.asked, target=target)
    if request.expected is None and withdraw(run, planned):
        target = find_target(adapters.repository)  # what is recorded by now is to be planned for
        looked, planned, too_many = found()
    known, registry = looked.known, looked.asked
    run = _begin(adapters, request, known, planned, registry=registry, target=target)
    report, proposed = _tell(run, _carry_out(run, planned), planned)
    if too_many is not None:
        raise too_many
    if known.fleet.settings.gc.apply and options.refresh and not options.images and not adapters.cancelled.is_set():
        return replace(report, collected=_collected(adapters, request, proposed))
    return report


def _collected(adapters: Adapters, request: Request, proposed: Proposed) -> Collection:
    """The end of a run: by what is recorded and there now. What stops it takes nothing from what the run did."""
    try:
        return collect(adapters, replace(request, options=PlanOptions()), takes_steps=True, tells=True, beside=proposed)
    except ReconcilerError as error:
        return Collection(head="", applied=True, artifacts=(), failed={"gc": error.what})


def preview(adapters: Adapters, request: Request, origin: Origin) -> Report:
    """Build what a branch would change, and show it on its pull request. What may be a stranger's is only planned.

    Raises what planning raises, and UserError for what is refused before anything is done.
    """
    from reconciler.steps.preview import (  # noqa: PLC0415 - see below
        Tails,
        for_preview,
        locations_for_children,
        show,
    )
    from reconciler.steps.whose_branch import known_stranger  # noqa: PLC0415 - see below

    request = replace(request, options=request.options.model_copy(update={"preview": True}))
    target = find_target(adapters.repository)
    origin = known_stranger(adapters.repository, target, origin)
    known = _as_merged(adapters, request, target)
    if origin.stranger:
        return _look_only(adapters, known, origin, target, why=origin.stranger)
    try:
        looked = look(adapters, known, asks=False)
    except NoCredentials:
        return _look_only(adapters, known, origin, target, why="There are no credentials here")
    known, registry = looked.known, looked.asked
    planned = for_preview(looked.planned, overtaken=known.overtaken)
    refuse_unsafe(planned, known, allowed=request.max_actions)
    branch = Branch(origin.branch, origin.number, needed=locations_for_children(planned.decisions))
    tails = Tails(adapters.listener)
    run = _begin(adapters, request, known, planned, registry=registry, target=target, branch=branch, listener=tails)
    report = _carry_out(run, planned)
    show(adapters, known, origin, report, tails=tails.tails)
    return report


def adopt(adapters: Adapters, request: Request, image: str, words: Sequence[str], *, test: bool) -> Report:
    """Take artifacts that exist over as an image's build, and tell the world of it. Raises what `take_over` raises.

    Args:
        adapters: What the run asks of the world.
        request: Its options name the image.
        image: The image's name.
        words: The artifacts, as the person named them.
        test: Boot and test it first, and take it over only if it passes.
    """
    from reconciler.steps.take_over import take_over  # noqa: PLC0415 - see below

    target = find_target(adapters.repository)
    refuse_elsewhere(target, adapters.note)
    known = adapters.read(adapters.repository.tree(target.head), request.options)
    looked = look(adapters, known, asks=False)
    known, planned, registry = looked.known, looked.planned, looked.asked
    decision = next((one for one in planned.decisions if one.name == image), None)
    errors = decision.planned.errors if decision is not None else ()
    if decision is None or decision.image is None or errors:
        why = errors[0] if errors else f"desired/ declares no {image}"
        raise UserError(f"{image} can't have a build: {why}", hint="`reconciler validate` shows what is declared")
    # Nothing of the plan is carried out, so nothing of it counts for how this ends.
    idle = planned.plan.model_copy(update={"images": (), "complete": True, "errored": False})
    run = _begin(adapters, request, known, replace(planned, plan=idle), registry=registry, target=target, boots=test)
    result = take_over(run, decision.image, decision, words, test=test)
    return _tell(run, Report((result,), idle, target), planned)[0]


def test(adapters: Adapters, request: Request, image: str, build_id: str | None) -> Result:
    """Boot a recorded build, and test it by the suite of the commit that is checked out. Records and tags nothing.

    Raises UserError where the image, or the build, is not there to be tested, and what booting raises.

    Args:
        adapters: What the run asks of the world.
        request: Its options name the image.
        image: The image's name.
        build_id: The build; None: what `stable` points to, or else the candidate.
    """
    from reconciler.steps.smoke_test import SmokeTestFailed, smoke_test  # noqa: PLC0415 - as above

    target = find_target(adapters.repository)
    known = adapters.read(adapters.repository.tree(), request.options)
    declared = known.fleet.images.get(image)
    if declared is None:
        problems = known.fleet.problems.get(image, ())
        raise problems[0] if problems else UserError(f"desired/ declares no {image}", hint="check the name")
    lock, _ = lock_of(known, declared)
    build = lock.build(build_id or lock.channels.stable or lock.channels.candidate)
    if build is None:
        recorded = first_few([one.id for one in lock.builds], most=3)
        what = f"no build {build_id} of {image} is recorded" if build_id else f"{image} has no build yet"
        raise UserError(what, hint=f"recorded are {recorded}" if recorded else "`reconciler reconcile` builds it")
    run = _run(adapters, request, known, registry=adapters.registry(known), target=target)
    try:
        tested = smoke_test(run, declared, build).build.smoke_test
    except SmokeTestFailed as failed:
        return Result(image, "failed", lock, build=build, why=failed.what, error=failed, tested=failed.result)
    return Result(image, "unchanged", lock, build=build, tested=tested)


def collect(
    adapters: Adapters,
    request: Request,
    *,
    takes_steps: bool,
    tells: bool = False,
    unmanaged: bool = False,
    beside: Proposed = NOTHING,
) -> Collection:
    """Judge what may go of the whole fleet; with `takes_steps` take the next step of each.

    Where it `tells`, the announcers hear of the steps at once; else the next run tells them.
    With `unmanaged` also list what no fleet's marks are on. `beside` is what the same run has proposed before.

    Raises what planning raises, and UserError for what is refused before anything is done.
    """
    from reconciler.steps import gc, survey  # noqa: PLC0415 - see below

    target = find_target(adapters.repository)
    if takes_steps:
        refuse_elsewhere(target, adapters.note)
    known = adapters.read(adapters.repository.tree(target.head), request.options)
    found = look(adapters, known, asks=False)
    known, planned, registry = found.known, found.planned, found.asked
    looked = survey.take_survey(known, planned, registry, adapters.repository, revision=target.head, asks=takes_steps)
    if not takes_steps:
        judged = gc.as_collection(looked, registry, head=target.head)
        return gc.with_unmanaged(judged, looked, registry) if unmanaged else judged
    adapters.repository.check_recording(known.fleet.settings.git, now=known.now)
    run = _run(adapters, request, known, registry=registry, target=target)
    limit = request.max_actions or known.fleet.settings.limits.max_actions
    done = gc.apply(run, looked, planned, at_most=limit, publisher=partial(adapters.publisher, known), beside=beside)
    if tells:
        from reconciler.steps.announce import announce_steps  # noqa: PLC0415 - see below

        announce_steps(run, done.took, adapters.announcers(known), branch=target.branch)
    return done


def restore(adapters: Adapters, request: Request, words: Sequence[str]) -> Restoration:
    """Bring back a build that was removed, as far as its locations keep it; without words say what they keep.

    Raises UserError where there is no such build, and where nothing of it can be brought back.
    """
    from reconciler.steps import restore as step  # noqa: PLC0415 - see below

    target = find_target(adapters.repository)
    if words:
        refuse_elsewhere(target, adapters.note)
    known = adapters.read(adapters.repository.tree(target.head), request.options)
    registry = adapters.registry(known)
    if not words:
        return step.restorable(known, registry, head=target.head)
    adapters.repository.check_recording(known.fleet.settings.git, now=known.now)
    return step.restore(_run(adapters, request, known, registry=registry, target=target), words)


def _run(adapters: Adapters, request: Request, known: Known, *, registry: Registry, target: Target) -> Run:
    """A run that carries out no plan."""
    return Run(
        adapters=adapters, request=request, known=known, target=target, registry=registry,
        recorder=_recorder(adapters, known, target), listener=adapters.listener,
    )  # fmt: skip


def _recorder(adapters: Adapters, known: Known, target: Target) -> Recorder:
    """Whoever records for a run that has fetched its target."""
    recorder = adapters.recorder(known)
    recorder.begin_at(target.branch, target.head)
    return recorder


def _as_merged(adapters: Adapters, request: Request, target: Target) -> Known:
    """What the merge would meet: the branch's desired/, with state/ and what else changed as on the recorded branch.

    A branch that was begun last week holds last week's lockfiles; building on those pins would build what the merge
    then does not want. Raises UserError where the branch changes state/.
    """
    repository = adapters.repository
    adapters.refuse_written_state(repository.tree())
    main = repository.tree(target.head)
    locks, broken = read_lockfiles(main)
    known = replace(adapters.read(repository.tree(), request.options), locks=locks, broken_locks=broken)
    base = repository.merge_base(target.head, "HEAD")
    if base is None or base == target.head:
        return known
    try:
        fleets = read_fleet(main), read_fleet(repository.tree(base))
    except UserError:
        return known  # the branch may be about to fix just that
    fleet, overtaken = with_changes_of(known.fleet, fleets[0], base=fleets[1])
    return replace(known, fleet=fleet, overtaken=overtaken)


def _begin(
    adapters: Adapters,
    request: Request,
    known: Known,
    planned: FleetPlan,
    *,
    registry: Registry,
    target: Target,
    branch: Branch | None = None,
    listener: Listener | None = None,
    boots: bool = False,
) -> Run:
    """The run that carries a plan out. What it is sure to lack is found out here, before anything is started."""
    from reconciler.steps.work_folder import clear  # noqa: PLC0415 - see below

    adapters.planned(planned.plan)
    for left in clear(adapters.folder):
        adapters.note(f"removed what a killed run left: {left.name}")
    builds = [one.image for one in planned.decisions if one.image is not None and "build" in one.planned.actions]
    if boots or any(not REPLACING.isdisjoint(image.actions) for image in planned.plan.images):
        adapters.repository.check_recording(known.fleet.settings.git, now=known.now)
        adapters.testbed(known)
    return Run(
        adapters=adapters,
        request=request,
        known=known,
        target=target,
        registry=registry,
        recorder=_recorder(adapters, known, target),
        branch=branch,
        refused=adapters.refused(builds) if builds else {},
        listener=listener or adapters.listener,
    )


def _carry_out(run: Run, planned: FleetPlan) -> Report:
    # Imported late, as all that acts is: `plan` looks, and need not wait for it.
    from reconciler.steps.act import act  # noqa: PLC0415 - see above

    return act(run, planned)


def _tell(run: Run, report: Report, planned: FleetPlan) -> tuple[Report, Proposed]:
    """Propose what was recorded, where `git.push` is pull-request; publish the channels; tell the announcers.

    Of an image that consumers do not find everywhere yet nobody is told. Returns the report, and what is proposed.
    """
    from reconciler.steps.announce import announce  # noqa: PLC0415 - see above

    known, branch = run.known, run.target.branch
    recorded = tuple(result.image for result in report.results if result.commit is not None)
    proposed = propose(run, recorded, as_markdown(report.plan))
    waits: Mapping[str, str] = {}
    if known.publications is not None:
        from reconciler.steps.publish import publish  # noqa: PLC0415 - most fleets publish nothing

        published = publish(run, report, planned, partial(run.adapters.publisher, known))
        report, waits = published.report, published.waits
    announce(run, report, run.adapters.announcers(known), branch=branch, waits=waits)
    return replace(report, commits=run.recorder.commits), proposed


def _look_only(adapters: Adapters, known: Known, origin: Origin, target: Target, *, why: str) -> Report:
    """Plan without the registry and run nothing: neither Packer nor `packer init` on what a stranger wrote."""
    from reconciler.steps.preview import show  # noqa: PLC0415 - see above

    offline = known.options.model_copy(update={"offline": True})
    looked = look(adapters, replace(known, options=offline), asks=False)
    remark = f"{why}: planned from desired/ and state/ alone, and nothing was built."
    adapters.note(remark)
    report = Report((), looked.planned.plan, target)
    show(adapters, looked.known, origin, report, remark=remark)
    return report
