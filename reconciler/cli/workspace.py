"""What the verbs work on: a checkout, its settings, and the adapters that they ask for."""

from __future__ import annotations

import importlib
import os
import random
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.ci.job import Job, job_of
from reconciler.cli.ending import TOLD_TO_END
from reconciler.cli.printing import RUN_FOLDER
from reconciler.git.history import find_commit
from reconciler.git.repository import Repository
from reconciler.model.declaration import AwsSettings, Settings
from reconciler.model.errors import Place, ReconcilerError, UserError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Lockfile
from reconciler.model.plan import PlanOptions
from reconciler.model.text import first_few, visible_lines
from reconciler.model.tree import Tree
from reconciler.plan.planning import Known
from reconciler.plan.presence import same_fleet
from reconciler.ports.registry import Opening, Registry
from reconciler.registries import KINDS, dialect_of, open_bench, open_publisher, open_registry
from reconciler.state.files import ignores_itself
from reconciler.state.lockfiles import holds_builds, recorded_fleet
from reconciler.state.unsaved import FOLDER as UNSAVED_FOLDER
from reconciler.steps.observe import read_repository, settings_at
from reconciler.steps.one_writer import Asking, judge_state, recorded_head
from reconciler.steps.proposals import confirms

if TYPE_CHECKING:
    from reconciler.aws.session import Clients
    from reconciler.build.build import Packer
    from reconciler.git.recorder import Recorder
    from reconciler.ports.announcer import Announcer
    from reconciler.ports.publisher import Publisher
    from reconciler.steps.run import Origin, Testbed


class Workspace:
    """One checkout. Adapters are made when they are asked for: most verbs need few."""

    def __init__(self, directory: Path, *, unborn: bool = False, opened: Repository | None = None) -> None:
        """Find the checkout that a folder is in, unless it is `opened`; `unborn` and errors as `Repository.open`."""
        self.repository = opened or Repository.open(directory, unborn=unborn)
        self._clients: tuple[AwsSettings, Clients] | None = None
        self._packer: Packer | None = None
        self._ahead: dict[str, Registry] = {}

    def read(self, tree: Tree, options: PlanOptions) -> Known:
        """What the repository says at a revision."""
        return read_repository(tree, fleet_name=self._fleet_name(tree, settings_at(tree)), now=now(), options=options)

    def packer(self) -> str | None:
        """The version of the Packer that is here; None where there is none: then what failed rests."""
        try:
            return self.builder().binary.version_text
        except UserError:
            return None

    def registry(self, known: Known, *, cancelled: threading.Event | None = None) -> Registry:
        """The registries where the fleet's artifacts live. Waits end, with Transient, once `cancelled` is set.

        Where it is absent, once the command is told to end.
        """
        from reconciler.registries.router import Registries, declared_in, kinds_in  # noqa: PLC0415 - see below

        kinds = kinds_in(known.fleet.images.values(), known.locks.values())  # offline verbs ask none
        settings, ahead = known.fleet.settings, self._ahead
        opening = Opening(
            known.fleet_name, settings, cancelled or TOLD_TO_END, shared=partial(self._aws, settings.aws),
            recorded=kinds_in((), known.locks.values()).keys(),
        )  # fmt: skip

        def opened(kind: str) -> Registry:
            return ahead.pop(kind) if kind in ahead else open_registry(kind, opening)

        return Registries(kinds, opened, declared=declared_in(known.fleet.images.values()))

    def publisher(self, known: Known, *, cancelled: threading.Event | None = None) -> Publisher:
        """Where consumers look up what the channels point to. Waits end, with Transient, once `cancelled` is set."""
        settings = known.fleet.settings
        opening = Opening(known.fleet_name, settings, cancelled, shared=partial(self._aws, settings.aws))
        return _publishers(opening, known.fleet.images.values(), known.locks.values())

    def expect(self, tree: Tree) -> None:
        """Have the locations that the defaults name listed from now on, before the fleet is read.

        Reading a thousand declarations and listing their artifacts take about as long; so they are done at once.
        """
        settings = settings_at(tree)
        for kind, entry in KINDS.items():
            locations = settings.defaults.get(entry.ahead)
            if entry.ahead and isinstance(locations, list) and locations and _are_of(kind, locations):
                registry = self._open(kind, settings, fleet=self._fleet_name(tree, settings))
                registry.expect(sorted(map(str, locations)))
                self._ahead[kind] = registry

    def registry_of(self, settings: Settings, locks: Iterable[Lockfile]) -> Registry:
        """The registries of all that is recorded, whatever fleet it is of."""
        from reconciler.registries.router import Registries, kinds_in  # noqa: PLC0415 - as above

        return Registries(kinds_in((), locks), lambda kind: self._open(kind, settings, fleet=""))

    def publisher_of(self, settings: Settings, locks: Iterable[Lockfile]) -> Publisher:
        """The publishers of all that is recorded, whatever fleet it is of. They are to be read alone."""
        return _publishers(Opening("", settings, shared=partial(self._aws, settings.aws)), (), locks)

    def recorded_tree(self) -> Tree:
        """The files of the branch that state is recorded to, whatever is checked out.

        Raises UserError where nothing tells which that is, and in a checkout whose branch changes state/.
        """
        tree = self.repository.tree()
        refuse_written_state(self, tree)
        head = recorded_head(self.repository, settings_at(tree).git, told=job_of(os.environ).default_branch)
        if head is None:
            raise UserError(
                "which branch state is recorded to is not known here, or the clone lacks it",
                hint="`git fetch`, and `git remote set-head origin --auto`",
            )
        return self.repository.tree(head)

    def branches(self, known: Known) -> frozenset[str] | None:
        """Every branch that the remote has now; None where there is none, or where it does not tell, which is said."""
        remote = self.repository.remote(known.fleet.settings.git.remote)
        try:
            return remote.branches() if remote is not None else None
        except ReconcilerError as error:
            note(f"old previews stay for now: {error.what}")
            return None

    def written_state(self, tree: Tree, *, rev: str = "HEAD") -> tuple[UserError, ...]:
        """What the branch at a revision changes in state/, and has where a run writes; `tree` holds its files.

        On the branch that state is recorded to, state/ may change.
        Which one that is, says the default branch: another declares what it likes. A stranger calls his branch as ours
        is called; so in his job no name counts. In a CI, what can't be told is an error as well; a person is told so.
        """
        repository, job = self.repository, job_of(os.environ)
        outputs = committed_outputs(tree)
        commit = find_commit(repository.git, rev)
        if commit is None:
            return outputs
        named = (repository.branch or job.branch or "") if rev == "HEAD" else rev
        stranger = job.stranger or (rev == "HEAD" and contradiction(repository, job))
        asking = Asking(bool(job.provider), "" if stranger else named, job.default_branch)
        judged = judge_state(repository, tree, settings_at(tree).git, commit=commit, asking=asking)
        if judged.unknown:
            note(f"note: {judged.unknown}")
        return (*outputs, *judged.errors)

    def offline_if_strangers(self, asked: PlanOptions, *, rev: str = "HEAD") -> PlanOptions:
        """The options of a plan: without the registry where the revision may be a stranger's, which is said.

        A template says what of the registry is asked, and what the plan shows of it anybody reads in a job's log.
        """
        job = job_of(os.environ)
        commit = find_commit(self.repository.git, rev) if job.provider and not asked.offline else None
        if commit is None:
            return asked
        from reconciler.steps.whose_branch import stranger_planned  # noqa: PLC0415 - a person's plan need not wait

        origin = origin_of(self.repository, job)
        why = stranger_planned(self.repository, origin, commit=commit, told=job.default_branch)
        if not why:
            return asked
        note(f"{why}: planned from desired/ and state/ alone.")
        return asked.model_copy(update={"offline": True, "refresh": False})

    def announcers(self, known: Known) -> tuple[Announcer, ...]:
        """Whoever the settings ask to be told."""
        from reconciler.announce.assembly import announcers  # noqa: PLC0415 - plan tells nobody

        settings = known.fleet.settings
        asked = settings.announce
        clients = self._aws(settings.aws) if asked.sns is not None or asked.eventbridge is not None else None
        return announcers(asked, os.environ, aws=settings.aws, clients=clients)

    def recorder(self, known: Known) -> Recorder:
        """Whoever records to the branch that the settings name."""
        return self.repository.recorder(
            known.fleet.settings.git, now=now, sleep=time.sleep, random=random.random,
            confirms=confirms(self.repository, known),
        )  # fmt: skip

    def builder(self) -> Packer:
        """The Packer that is installed. Raises UserError where there is none that can be used."""
        from reconciler.build.build import Packer  # noqa: PLC0415 - plan never builds
        from reconciler.build.packer.binary import find  # noqa: PLC0415 - as above

        if self._packer is None:
            binary = find(os.environ)
            for passed_over in binary.passed_over:
                note(f"passed over: {passed_over}")
            self._packer = Packer(binary)
        return self._packer

    def testbed(self, known: Known, *, cancelled: threading.Event, keep_failed: int) -> Testbed:
        """What boots and tests what was built. Raises UserError where there is no SSH to test it through."""
        from reconciler.build.inventory.take import take_inventory  # noqa: PLC0415 - plan tests nothing
        from reconciler.build.smoke.connection import client  # noqa: PLC0415 - as above
        from reconciler.build.smoke.tester import SshTester  # noqa: PLC0415 - as above
        from reconciler.registries.router import Benches, kinds_in  # noqa: PLC0415 - as above
        from reconciler.steps.run import Testbed  # noqa: PLC0415 - as above
        from reconciler.steps.smoke_test import tested_through_ssh  # noqa: PLC0415 - as above

        if any(tested_through_ssh(image) for image in known.fleet.images.values()):
            client(os.environ)  # found out now, and not after Packer was at it for an hour
        settings = known.fleet.settings
        opening = Opening(known.fleet_name, settings, cancelled, shared=partial(self._aws, settings.aws))
        kinds = kinds_in(known.fleet.images.values(), known.locks.values())
        instances = Benches(kinds, lambda kind: open_bench(kind, opening))
        return Testbed(instances, SshTester(take_inventory=take_inventory), keep_failed)

    def say_dirty(self) -> None:
        """Name what is changed in desired/ and state/ and not committed: it is not considered."""
        paths = self.repository.dirty(["desired", "state"])
        if paths:
            named = first_few(paths, most=3)
            note(f"not committed, so not considered: {named} (`reconciler plan --worktree` plans them)")

    def run_folder(self) -> Path:
        """Where logs and work folders go. It ignores itself, so that no one has to add it to .gitignore.

        Raises UserError where it can't be written, or a commit has something there: a link leads anywhere.
        """
        folder = self.repository.root / RUN_FOLDER
        for error in committed_outputs(self.repository.tree()):
            raise error
        try:
            folder.mkdir(exist_ok=True)
            ignores_itself(folder)
        except OSError as error:
            raise UserError(
                f"{folder} can't be written: {error.strerror}",
                hint="a run keeps its logs and work folders there; work in a clone that can be written to",
            ) from error
        return folder

    def fleet_name(self, tree: Tree) -> str:
        """The fleet's name at a revision."""
        return self._fleet_name(tree, settings_at(tree))

    def _fleet_name(self, tree: Tree, settings: Settings) -> str:
        """The fleet's name: as declared, else the remote's, in the spelling in which it is recorded."""
        if settings.fleet is not None:
            return settings.fleet
        spelt, name = self.repository.fleet_names(settings.git.remote)
        recorded = recorded_fleet(tree)
        if recorded is not None:
            return recorded if same_fleet(recorded, name) or same_fleet(recorded, spelt) else name
        # One that was recorded before there were statements goes by what its clones say.
        return spelt if name != spelt and holds_builds(tree) else name

    def _open(self, kind: str, settings: Settings, *, fleet: str) -> Registry:
        return open_registry(kind, Opening(fleet, settings, shared=partial(self._aws, settings.aws)))

    def _aws(self, settings: AwsSettings) -> Clients:
        """The clients of this process for an account. Making the first one takes up to a second on a busy machine.

        Whoever asks for the key of a build has less than that, where the build is a short one.
        """
        from reconciler.aws.session import Clients, configured_attempts  # noqa: PLC0415 - as above

        if self._clients is None or self._clients[0] != settings:
            in_ci = bool(job_of(os.environ).provider)
            self._clients = settings, Clients(settings, attempts=configured_attempts(), in_ci=in_ci)
        return self._clients[1]


def origin_of(repository: Repository, job: Job, *, named: str | None = None, number: int | None = None) -> Origin:
    """Where the commit that is checked out comes from: the branch as named, else the checkout's, else the job's.

    Detached, as in most CIs, there is none but the job's; empty where that names none either. A CI that names another
    branch than the checkout is on does not tell whose commit that is, unless whoever wrote the job has named it.
    """
    from reconciler.steps.run import Origin  # noqa: PLC0415 - verbs that only read need none

    stranger = job.stranger or ("" if named else contradiction(repository, job))
    branch = named or repository.branch or job.branch or ""
    return Origin(branch, number or job.pull_request, stranger=stranger, in_ci=bool(job.provider))


def contradiction(repository: Repository, job: Job) -> str:
    """That a CI names another branch than the checkout is on, as a sentence; empty where it does not."""
    there = repository.branch if job.branch else None
    if there in (None, job.branch):
        return ""
    return f"The CI says that this is of {job.branch}, and the checkout is on {there}"


def _publishers(opening: Opening, images: Iterable[Image], locks: Iterable[Lockfile]) -> Publisher:
    from reconciler.registries.router import Publishers, kinds_published  # noqa: PLC0415 - offline verbs ask none

    return Publishers(kinds_published(images, locks), lambda kind: open_publisher(kind, opening))


def _are_of(kind: str, locations: Iterable[object]) -> bool:
    """Tell whether locations have the form of a kind's: other kinds have theirs under the same key."""
    dialect = dialect_of(kind)
    return all(dialect.wrong_location(str(one)) is None for one in locations)


def import_ahead(module: str) -> None:
    """Begin to import a module that is needed soon: boto3 takes 200 ms, in which git would only be waited for."""
    threading.Thread(target=importlib.import_module, args=(module,), daemon=True).start()


def now() -> datetime:
    """The time; every later step is handed it."""
    return datetime.now(UTC)


def committed_outputs(tree: Tree) -> tuple[UserError, ...]:
    """An error for each folder that a run writes to and a commit has: a link there leads anywhere on a CI's machine.

    Keys and work folders go there, and a job keeps what it holds for everybody to read.
    """
    found = (
        (folder, next((one for one in tree.entries if one == folder or one.startswith(f"{folder}/")), None))
        for folder in (RUN_FOLDER, UNSAVED_FOLDER)
    )
    return tuple(
        UserError(
            f"{folder} is committed: keys, logs and records of a run go there, wherever its links lead",
            where=Place(place),
            hint=f"`git rm -r {folder}`",
        )
        for folder, place in found
        if place is not None
    )


def refuse_written_state(workspace: Workspace, tree: Tree, *, rev: str = "HEAD") -> None:
    """Raise UserError where the branch at a revision changes state/, or has what only a run writes."""
    written = workspace.written_state(tree, rev=rev)
    if written:
        first = written[0]
        more = f" ({len(written)} files in all)" if len(written) > 1 else ""
        raise UserError(f"{first.what}{more}", where=first.where, hint=first.hint)


def note(text: str) -> None:
    """Tell a person something that is not the answer: on stderr."""
    with suppress(OSError):  # nobody reads it any more: what is being done matters more
        click.echo(visible_lines(text), err=True)
