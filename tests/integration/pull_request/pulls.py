"""Pull requests in a world of real git: a branch with a clone of its own, its previews, and the ways it ends."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from reconciler.git.recorder import Recorder
from reconciler.git.repository import Repository
from reconciler.model.announcement import Announcement
from reconciler.model.errors import Terminal, Transient
from reconciler.model.lockfile import Build
from reconciler.model.observation import Seen
from reconciler.model.plan import Plan, PlanOptions
from reconciler.plan.planning import Known
from reconciler.ports.announcer import Announcer
from reconciler.steps.proposals import confirms
from reconciler.steps.run import Report
from tests.integration.loop.clones import head_of
from tests.integration.loop.world import Controller, Files, World, git

Merge = Literal["merge commit", "squash", "rebase"]
MERGES: tuple[Merge, ...] = ("merge commit", "squash", "rebase")
NUMBER = 7


@dataclass
class PullRequest:
    """A branch that is pushed, and everything its pushes and its CI job do."""

    world: World
    branch: str

    @classmethod
    def open(cls, world: World, files: Files, *, branch: str = "feature/more") -> PullRequest:
        """Begin a branch at the head of main, commit and push."""
        opened = cls(world, branch)
        world.controller(opened.clone.name)
        if head_of(opened.clone) != world.head():
            git(opened.clone, "pull", "--quiet", "--ff-only", "origin", "main")
        git(opened.clone, "switch", "--quiet", "--create", branch)
        opened.push(files)
        return opened

    @property
    def clone(self) -> Path:
        return self.world.root / self.branch.replace("/", "-")

    @property
    def head(self) -> str:
        """The branch's head on the origin."""
        return git(self.world.origin, "rev-parse", f"refs/heads/{self.branch}")

    def push(self, files: Files, *, amend: bool = False) -> None:
        """Commit and push; with `amend` over the last commit, by force."""
        if not amend and files:
            self.world.commit(files, "More", branch=self.branch, where=self.clone.name)
            return
        for name, content in files.items():
            path = self.clone / name
            if content is None:
                path.unlink()
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
        git(self.clone, "add", "--all")
        message = ("--message", "More", *(("--amend",) if amend else ()))
        git(self.clone, "commit", "--quiet", "--allow-empty", *message)
        git(self.clone, "push", "--quiet", "--force", "origin", self.branch)

    def job(self) -> Job:
        """A new CI job on the branch, with nothing remembered from the job before."""
        like = self.world.controller(self.clone.name)
        return Job(self.world, self.clone, builder=like.builder, tester=like.tester, of=self)

    def preview(self) -> Report:
        """Run the job to its end, an hour later. It has to end well."""
        self.world.clock.advance(hours=1)
        report = self.job().preview_branch()
        assert report.exit_code == 0, report.results
        return report

    def merge(self, how: Merge = "squash") -> str:
        """Merge it into main, delete the branch, and return main's head."""
        person = self.world.root / "person"
        git(person, "fetch", "--quiet", "origin")
        git(person, "merge", "--quiet", "--ff-only", "origin/main")
        match how:
            case "merge commit":
                git(person, "merge", "--quiet", "--no-ff", "--message", f"Merge #{NUMBER}", f"origin/{self.branch}")
            case "squash":
                git(person, "merge", "--quiet", "--squash", f"origin/{self.branch}")
                git(person, "commit", "--quiet", "--message", f"More (#{NUMBER})")
            case "rebase":
                git(person, "cherry-pick", "--allow-empty", f"origin/main..origin/{self.branch}")
        git(person, "push", "--quiet", "origin", "HEAD:main")
        self.delete_branch()
        self.world.clock.advance(hours=1)
        return self.world.head()

    def delete_branch(self) -> None:
        git(self.world.origin, "update-ref", "-d", f"refs/heads/{self.branch}")

    def artifacts(self, image: str) -> list[Seen]:
        """What was built for it and is not promoted."""
        preliminary = [one for one in self.world.artifacts(image) if one.own("phase") == "preliminary"]
        return [one for one in preliminary if self.branch in (one.own("branch") or "").split()]


@dataclass
class Job(Controller):
    """One CI job on a branch."""

    of: PullRequest = field(kw_only=True)

    def preview_branch(self) -> Report:
        """Build what the branch would change, as `reconciler reconcile --preview` does."""
        return self.preview(self.of.branch, NUMBER)

    def recorder(self, repository: Repository, known: Known) -> Recorder:
        if known.fleet.settings.git.push == "direct":
            return super().recorder(repository, known)
        return repository.recorder(
            known.fleet.settings.git, now=self.world.clock, sleep=self.sleep, random=lambda: 0.5,
            confirms=confirms(repository, known),
        )  # fmt: skip


@dataclass
class Main(Controller):
    """One CI job on main: plan, act, announce, as `reconciler reconcile` does."""

    answers: Callable[[], frozenset[str] | None] | None = None
    """What the remote answers when it is asked for its branches; absent: the truth."""

    def plan_main(self, options: PlanOptions | None = None) -> Plan:
        """What `reconciler plan` would show."""
        return self.look(options)[1].plan

    def go(self, *images: str, refresh: bool = False, force: tuple[str, ...] = ()) -> Report:
        return self.reconcile(*images, refresh=refresh, force=force)

    def branches(self) -> frozenset[str] | None:
        if self.answers is not None:
            return self.answers()
        remote = Repository.open(self.root).remote()
        assert remote is not None
        return remote.branches()


def main(world: World, *announcers: Announcer, clone: str = "ci") -> Main:
    """A new CI job on main."""
    job = world.controller(clone)
    git(job.root, "fetch", "--quiet", "origin")
    return Main(world, job.root, builder=job.builder, tester=job.tester, announcers=announcers)


@dataclass
class Listener:
    """An announcer at the Protocol: hears, or fails as it was told."""

    name: str = "webhook"
    heard: list[Announcement] = field(default_factory=list)
    fails: Transient | Terminal | None = None
    tries: int = 0

    def announce(self, what: Announcement) -> None:
        self.tries += 1
        if self.fails is not None:
            raise self.fails
        self.heard.append(what)

    @property
    def events(self) -> list[tuple[str, str, str]]:
        """Image, build and event of all that was heard, in order."""
        return [(what.image, what.build, what.event) for what in self.heard]


def newest(world: World, image: str) -> Build:
    """An image's newest recorded build."""
    return world.lock(image).builds[0]


def assert_nothing_left(world: World, *announcers: Announcer) -> None:
    """One more run does nothing: no build, no commit, no write to the registry, no call to anybody."""
    head, artifacts, tags = world.head(), world.registry.artifacts, world.tags()
    writes = [world.registry.calls[method] for method in ("tag", "copy", "retire")]
    again = main(world, *announcers)
    heard = [listener.tries for listener in announcers if isinstance(listener, Listener)]
    assert again.go().results == ()
    assert (world.head(), world.registry.artifacts, world.tags(), again.built) == (head, artifacts, tags, [])
    assert [world.registry.calls[method] for method in ("tag", "copy", "retire")] == writes
    assert [listener.tries for listener in announcers if isinstance(listener, Listener)] == heard
