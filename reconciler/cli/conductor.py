"""One run of the loop, from what the repository says to what became of it: the adapters, wired together."""

from __future__ import annotations

import os
import secrets
import shlex
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from reconciler.aws.errors import NoCredentials
from reconciler.ci.job import job_of
from reconciler.cli.preview import Origin, Tails, branch_for, propose, show
from reconciler.cli.printing import show_summary, write_file
from reconciler.cli.progress import Unheard
from reconciler.cli.workspace import Workspace, note, now
from reconciler.controller import act, refuse_unsafe
from reconciler.git.destination import Target
from reconciler.git.proposal import proposal_branch
from reconciler.model.errors import UserError
from reconciler.model.events import Listener, Warned
from reconciler.model.fleet import Image
from reconciler.model.plan import Plan
from reconciler.plan.graph import REPLACING
from reconciler.plan.planning import FleetPlan, Known
from reconciler.ports.registry import Registry
from reconciler.steps.announce import announce
from reconciler.steps.look import look
from reconciler.steps.preview import for_preview
from reconciler.steps.run import Report, Run
from reconciler.steps.take_over import Named, take_over
from reconciler.steps.work_folder import below, for_tests, sweep
from reconciler.words import plans


@dataclass(frozen=True)
class Conductor:
    """Conducts one run in a workspace."""

    workspace: Workspace
    target: Target
    listener: Listener
    cancelled: threading.Event
    keep_failed: int = 0
    """Seconds for which an instance that failed its smoke test stays."""

    def conduct(self, known: Known, *, origin: Origin | None, expected: Plan | None, allowed: int | None) -> Report:
        """Plan, refuse what is unsafe, act, and tell the world: of a preview its pull request, else the announcers.

        Raises what planning raises, and UserError for what is refused.
        """
        if origin is not None:
            return self._preview(known, origin, allowed=allowed)
        registry = self.workspace.registry(known, cancelled=self.cancelled)
        settings = known.fleet.settings
        known, planned = look(
            known, registry, branches=partial(self.workspace.branches, settings), records=self.workspace.records(known)
        )
        refuse_unsafe(planned.plan, known, expected=expected, allowed=allowed)
        _say(planned.plan, self.listener)
        run = self._run(known, planned, registry)
        report = act(run, planned)
        self._tell(known, run, report)
        return report

    def adopt(self, known: Known, name: str, named: Sequence[Named], *, test: bool) -> Report:
        """Take artifacts over as an image's build, and tell the world of it. Raises what `take_over` raises."""
        registry = self.workspace.registry(known, cancelled=self.cancelled)
        known, planned = look(known, registry, records=self.workspace.records(known))
        decision = next((one for one in planned.decisions if one.name == name), None)
        if decision is None or decision.image is None:
            errors = decision.planned.errors if decision is not None else ()
            why = errors[0] if errors else f"desired/ declares no {name}"
            raise UserError(f"{name} can't have a build: {why}", hint="`reconciler validate` shows what is declared")
        # Nothing of the plan is carried out, so nothing of it counts for how this ends.
        idle = planned.plan.model_copy(update={"images": (), "complete": True, "errored": False})
        run = self._run(known, replace(planned, plan=idle), registry, boots=test)
        report = Report(results=(take_over(run, decision.image, decision, named, test=test),), plan=idle)
        self._tell(known, run, report)
        return report

    def _tell(self, known: Known, run: Run, report: Report) -> None:
        """Tell the announcers, or propose what was recorded."""
        settings = known.fleet.settings
        if settings.git.push == "pull-request":
            ours = self.workspace.repository
            propose(
                report, settings.announce.github, repository=ours.name(settings.git.remote),
                branch=proposal_branch(ours.git), base=self.target.branch,
            )  # fmt: skip
        announce(run, report, self.workspace.announcers(known), branch=self.target.branch)

    def _preview(self, known: Known, origin: Origin, *, allowed: int | None) -> Report:
        """Build what a branch would change, and show it on its pull request."""
        if origin.stranger:
            return self._look_only(known, origin, why=origin.stranger)
        registry = self.workspace.registry(known, cancelled=self.cancelled)
        try:
            known, planned = look(known, registry, records=self.workspace.records(known))
        except NoCredentials:
            return self._look_only(known, origin, why="There are no AWS credentials here")
        planned = for_preview(planned, overtaken=known.overtaken)
        refuse_unsafe(planned.plan, known, expected=None, allowed=allowed)
        _say(planned.plan, self.listener)
        branch = branch_for(origin.branch, pull_request=origin.number, decisions=planned.decisions)
        tails = Tails(self.listener)
        report = act(replace(self._run(known, planned, registry), listener=tails, branch=branch), planned)
        self._show(known, origin, report, tails=tails.tails)
        return report

    def _look_only(self, known: Known, origin: Origin, *, why: str) -> Report:
        """Plan without the registry and run nothing: neither Packer nor `packer init` on what a stranger wrote."""
        offline = known.options.model_copy(update={"offline": True})
        known, planned = look(replace(known, options=offline), None)
        remark = f"{why}: planned from desired/ and state/ alone, and nothing was built."
        note(remark)
        report = Report(results=(), plan=planned.plan)
        self._show(known, origin, report, remark=remark)
        return report

    def _show(
        self,
        known: Known,
        origin: Origin,
        report: Report,
        *,
        tails: Mapping[str, tuple[str, ...]] | None = None,
        remark: str = "",
    ) -> None:
        settings = known.fleet.settings
        ours = self.workspace.repository
        show(
            origin, settings.announce.github, report, repository=ours.name(settings.git.remote),
            folder=ours.git.below, tails=tails or {}, remark=remark,
        )  # fmt: skip

    def _run(self, known: Known, planned: FleetPlan, registry: Registry, *, boots: bool = False) -> Run:
        folder = self.workspace.run_folder()
        # The plan that is carried out, for whoever keeps a CI job's artifacts: a comment may have to be cut.
        write_file(folder / "plan.json", planned.plan.model_dump_json(indent=2, exclude_none=True) + "\n")
        for root in {below(folder), for_tests(folder)}:
            for left in sweep(root):
                note(f"removed what a killed run left: {left.name}")
        builds = any("build" in image.actions for image in planned.plan.images)
        boots = boots or any(not REPLACING.isdisjoint(image.actions) for image in planned.plan.images)
        if boots:
            # Found out now, and not after Packer and the smoke test were at it for an hour.
            self.workspace.repository.check_recording(known.fleet.settings.git, now=now())
        builder = self.workspace.builder() if builds else None  # a copy needs no Packer
        return Run(
            known=known,
            repository=self.workspace.repository,
            recorder=self.workspace.recorder(known),
            registry=registry,
            builder=builder,
            refused=builder.refused(_built(planned), os.environ) if builder is not None else {},
            folder=folder,
            run_id=f"{now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
            now=now,
            listener=self.listener,
            testbed=self.workspace.testbed(known, cancelled=self.cancelled, keep_failed=self.keep_failed)
            if boots
            else None,
            recorded_branch=self.target.branch,
            state=self.workspace.repository.tree(self.target.head),
            ci=job_of(os.environ).record,
            cancelled=self.cancelled,
        )


def _say(plan: Plan, listener: Listener) -> None:
    """Say what is to be known before anything is built, and paid for; in a log of objects, as one a note."""
    show_summary(plan)
    if isinstance(listener, Unheard) and listener.logs_objects:
        for image in plan.images:
            for remark in image.notes:
                listener(Warned(image.image, remark))
        return
    for line in plans.notes(plan):
        note(f"note: {line}")


def refuse_elsewhere(target: Target) -> None:
    """Raise UserError on another branch than the one that state is recorded to; say what is not pushed there yet."""
    if target.elsewhere is not None:
        raise UserError(
            f"state is recorded to {target.branch}, and the checkout is on {target.elsewhere}",
            hint=(
                f"`git switch {shlex.quote(target.branch)}`",
                "to build what this branch would change: `reconciler reconcile --preview`",
            ),
        )
    if target.unpushed:
        named = ", ".join(f"{commit.oid[:7]} {commit.subject}" for commit in target.unpushed[:3])
        more = f" and {len(target.unpushed) - 3} more" if len(target.unpushed) > 3 else ""
        note(f"not pushed to {target.branch}, so not considered: {named}{more}")


def _built(planned: FleetPlan) -> list[Image]:
    decisions = planned.decisions
    return [one.image for one in decisions if one.image is not None and "build" in one.planned.actions]
