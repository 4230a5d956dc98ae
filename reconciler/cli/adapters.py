"""The adapters of a run from the command line: this checkout, its registry, the Packer that is installed here."""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path

from reconciler.announce.host import GitHubHost
from reconciler.ci.job import job_of
from reconciler.cli.printing import show_summary, write_file
from reconciler.cli.progress import Unheard
from reconciler.cli.workspace import Workspace, note, now, refuse_written_state
from reconciler.git.proposal import proposal_branch
from reconciler.git.recorder import Recorder
from reconciler.git.repository import Repository
from reconciler.model.errors import ReconcilerError
from reconciler.model.events import Listener, Warned
from reconciler.model.fleet import Image
from reconciler.model.plan import Plan, PlanOptions
from reconciler.model.tree import Tree
from reconciler.plan.planning import Known
from reconciler.ports.announcer import Announcer, Host
from reconciler.ports.builder import Builder
from reconciler.ports.publisher import Publisher
from reconciler.ports.registry import Registry
from reconciler.steps.observe import settings_at
from reconciler.steps.run import Report, Request, Testbed
from reconciler.words import plans


@dataclass
class LocalAdapters:
    """What a run asks of the world, as this machine has it: the `Adapters` of `steps/run.py`."""

    workspace: Workspace
    listener: Listener
    cancelled: threading.Event
    keep_failed: int = 0
    """Seconds for which an instance that failed its smoke test stays."""
    _testbed: Testbed | None = None

    @property
    def now(self) -> Callable[[], datetime]:
        """This machine's clock."""
        return now

    @property
    def repository(self) -> Repository:
        """The checkout's."""
        return self.workspace.repository

    @cached_property
    def folder(self) -> Path:
        """`.reconciler/` in the checkout. Raises UserError where it can't be written."""
        return self.workspace.run_folder()

    def note(self, text: str) -> None:
        """Tell a person, on stderr."""
        note(text)

    def planned(self, plan: Plan) -> None:
        """Say what is to be known before anything is built, and paid for; in a log of objects, as one a note.

        The plan is kept as a file, for whoever keeps a CI job's artifacts: a comment may have to be cut.
        """
        write_file(self.folder / "plan.json", plan.model_dump_json(indent=2, exclude_none=True) + "\n")
        show_summary(plan)
        if isinstance(self.listener, Unheard) and self.listener.logs_objects:
            for image in plan.images:
                for remark in image.notes:
                    self.listener(Warned(image.image, remark))
            return
        for line in plans.notes(plan):
            note(f"note: {line}")

    def read(self, tree: Tree, options: PlanOptions) -> Known:
        """What the repository says at a revision, now."""
        return self.workspace.read(tree, options)

    def refuse_written_state(self, tree: Tree) -> None:
        """Raise UserError where the branch that is checked out changes state/."""
        refuse_written_state(self.workspace, tree)

    def packer(self) -> str | None:
        """The version of the Packer that is here."""
        return self.workspace.packer()

    def branches(self, known: Known) -> frozenset[str] | None:
        """Every branch that the remote has now."""
        return self.workspace.branches(known)

    def registry(self, known: Known) -> Registry:
        """The registry; its waits end once the run is cancelled."""
        return self.workspace.registry(known, cancelled=self.cancelled)

    def recorder(self, known: Known) -> Recorder:
        """Whoever records to the branch that the settings name."""
        return self.workspace.recorder(known)

    def builder(self) -> Builder:
        """The Packer that is installed. Raises UserError where there is none that can be used."""
        return self.workspace.builder()

    def refused(self, images: Iterable[Image]) -> Mapping[str, ReconcilerError]:
        """The images that this Packer is sure not to build here."""
        return self.workspace.builder().refused(images, os.environ)

    def testbed(self, known: Known) -> Testbed:
        """What boots and tests what was built. Raises UserError where there is no SSH to test it through."""
        if self._testbed is None:
            self._testbed = self.workspace.testbed(known, cancelled=self.cancelled, keep_failed=self.keep_failed)
        return self._testbed

    def announcers(self, known: Known) -> Sequence[Announcer]:
        """Whoever the settings ask to be told."""
        return self.workspace.announcers(known)

    def publisher(self, known: Known) -> Publisher:
        """The place where consumers look up what the channels point to; its waits end once the run is cancelled."""
        return self.workspace.publisher(known, cancelled=self.cancelled)

    def host(self, known: Known) -> Host:
        """GitHub, where the settings ask for it."""
        return host_of(self.workspace, known)


def host_of(workspace: Workspace, known: Known) -> GitHubHost:
    """The host of a checkout's repository: GitHub, where the settings ask for it."""
    settings, ours = known.fleet.settings, workspace.repository
    return GitHubHost(
        settings.announce.github, ours.name(settings.git.remote), folder=ours.git.below,
        job=job_of(os.environ).url or "", environment=os.environ, note=note,
    )  # fmt: skip


def new_request(options: PlanOptions, *, expected: Plan | None = None, max_actions: int | None = None) -> Request:
    """What is asked of a run that begins now, as the CI's job that it is."""
    run_id = f"{now():%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
    return Request(run_id, options, expected, max_actions, ci=job_of(os.environ).record)


def recorded_on(workspace: Workspace, report: Report) -> str:
    """The branch that a run's records are on: the recorded one, or with `git.push: pull-request` the proposed one."""
    proposes = settings_at(workspace.repository.tree()).git.push == "pull-request"
    return proposal_branch(workspace.repository.git) if proposes else report.target.branch
