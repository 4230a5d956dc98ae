"""One run of the loop, from what the repository says to what became of it: the adapters, wired together."""

from __future__ import annotations

import os
import secrets
import threading
from dataclasses import dataclass, replace

from reconciler.cli.preview import branch_for
from reconciler.cli.pull_request import Origin, Tails, propose, show
from reconciler.cli.workspace import Workspace, now
from reconciler.controller import act, look, refuse_unsafe
from reconciler.git.target import Target
from reconciler.model.events import Listener
from reconciler.model.lockfile import CiRun
from reconciler.model.plan import Plan
from reconciler.plan.planning import FleetPlan, Known
from reconciler.registry.protocol import Registry
from reconciler.steps.announce import announce
from reconciler.steps.preview import for_preview
from reconciler.steps.result import Report
from reconciler.steps.run import Run


@dataclass(frozen=True)
class Conductor:
    """Conducts one run in a workspace."""

    workspace: Workspace
    target: Target
    listener: Listener
    cancelled: threading.Event

    def conduct(self, known: Known, *, origin: Origin | None, expected: Plan | None, allowed: int | None) -> Report:
        """Plan, refuse what is unsafe, act, and tell the world: of a preview its pull request, else the announcers.

        Raises what planning raises, and UserError for what is refused.
        """
        registry = self.workspace.registry(known, cancelled=self.cancelled)
        remote = self.workspace.repository.remote(known.fleet.settings.git.remote)
        repository = self.workspace.repository.fleet_name(known.fleet.settings.git.remote)
        known, planned = look(known, registry, branches=remote.branches if remote and origin is None else None)
        planned = for_preview(planned) if origin is not None else planned
        refuse_unsafe(planned.plan, known, expected=expected, allowed=allowed)
        tails = Tails(self.listener)
        run = replace(self._run(known, planned, registry), listener=tails)
        if origin is not None:
            branch = branch_for(origin.branch, pull_request=origin.number, decisions=planned.decisions)
            report = act(replace(run, branch=branch), planned)
            github = known.fleet.settings.announce.github
            show(origin, github, report, repository=repository, tails=tails.tails)
            return report
        report = act(run, planned)
        settings = known.fleet.settings
        if settings.git.push == "pull-request":
            propose(report, settings.announce.github, repository=repository, base=self.target.branch)
        announce(run, report, self.workspace.announcers(known), branch=self.target.branch)
        return report

    def _run(self, known: Known, planned: FleetPlan, registry: Registry) -> Run:
        builds = any("build" in image.actions for image in planned.plan.images)
        return Run(
            known=known,
            repository=self.workspace.repository,
            recorder=self.workspace.recorder(known.fleet.settings),
            registry=registry,
            builder=self.workspace.builder() if builds else None,  # a copy needs no Packer
            folder=self.workspace.run_folder(),
            run_id=f"{now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
            now=now,
            listener=self.listener,
            ci=_ci_run(),
            cancelled=self.cancelled,
        )


def _ci_run() -> CiRun | None:
    url = os.environ.get("CIRCLE_BUILD_URL")
    return CiRun(provider="circleci", url=url) if url else None
