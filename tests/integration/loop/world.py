"""A fleet in a real repository, its registry in memory, and controllers that run on clones of it, in process.

Everything but AWS and Packer is the real thing: git with a bare origin, desired/, state/, the plan, the recorder.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import pytest

from reconciler import controller
from reconciler.git.destination import Destination, find_destination
from reconciler.git.proposal import proposal
from reconciler.git.recorder import Recorder
from reconciler.git.repository import Repository
from reconciler.model.collection import Collection
from reconciler.model.events import Event
from reconciler.model.inventory import Inventory
from reconciler.model.lockfile import Artifact, Lockfile, Verdict
from reconciler.model.observation import Seen, State
from reconciler.model.plan import Plan, PlannedImage, PlanOptions
from reconciler.model.restoration import Restoration
from reconciler.model.tree import Tree
from reconciler.model.values import format_instant
from reconciler.plan.channels import verdict_tags
from reconciler.plan.planning import FleetPlan, Known
from reconciler.ports.announcer import Announcer
from reconciler.ports.bench import Instances
from reconciler.ports.builder import Builder, BuildRequest
from reconciler.ports.publisher import Publisher
from reconciler.ports.registry import Registry
from reconciler.ports.tester import Tester, TestRequest
from reconciler.state.lockfiles import parse, path_of
from reconciler.steps.observe import find_target, read_repository
from reconciler.steps.proposals import confirms
from reconciler.steps.run import Origin, Report, Request, Result
from tests.doubles.bench import MemoryInstances
from tests.doubles.builder import SimulatedBuilder
from tests.doubles.publisher import MemoryPublisher
from tests.doubles.registry import MemoryRegistry, Upstream
from tests.doubles.tester import NOTHING_INSIDE, SimulatedTester
from tests.integration.loop.adapters import WorldAdapters
from tests.integration.loop.clones import branch_at, head_of, lead_to, pushed
from tests.integration.loop.surroundings import Clock

FLEET = "acme/images"
RUN_ID = "20261122T101530Z-0000000a"
DEBIAN = "136693071363"
US, EU, AP = "us-east-1", "eu-west-1", "ap-south-1"
SETTINGS = f"fleet: {FLEET}\ndefaults:\n  regions: [{US}, {EU}]\n"
ON_DEBIAN = f'source: {{ami: {{name: "debian-12-*", owners: ["{DEBIAN}"]}}}}\n'
ON_BASE = "source: {image: base}\n"
RETAIN = "retain: {builds: 1}\n"
ON_TOOLBOX = f'source: {{ami: {{name: "toolbox-*", owners: ["{DEBIAN}"]}}}}\n'
TEMPLATE = """\
variable "source_ami" { type = string }
variable "image_tags" { type = map(string) }
variable "run_tags" { type = map(string) }
source "amazon-ebs" "image" {
  region     = "us-east-1"
  source_ami = var.source_ami
  tags       = var.image_tags
  run_tags   = var.run_tags
}
build {
  sources = ["source.amazon-ebs.image"]
  provisioner "shell" { script = "${path.root}/setup.sh" }
}
"""


@dataclass(frozen=True)
class Declares:
    """How the images of a world are declared, and where they are kept."""

    on_upstream: str
    template: str
    home: str
    elsewhere: str
    third: str
    key: str
    """The key of image.yaml that names these."""
    channels: str
    """What has the channels written out under one name each."""
    gold: str
    """The same under another one."""
    on_base: str = ON_BASE

    @property
    def settings(self) -> str:
        """The whole of `desired/reconciler.yaml`."""
        return f"fleet: {FLEET}\ndefaults:\n  {self.key}: [{self.home}, {self.elsewhere}]\n"

    def files(self, name: str, declaration: str, *, setup: str = "true") -> dict[str, str | None]:
        """The files of an image."""
        return image_files(name, declaration, setup=setup, template=self.template)

    @property
    def pair(self) -> dict[str, str | None]:
        """A fleet of two: base, and web on it."""
        return {
            "desired/reconciler.yaml": self.settings,
            **self.files("base", self.on_upstream),
            **self.files("web", self.on_base),
        }


AMIS = Declares(
    ON_DEBIAN, TEMPLATE, US, EU, AP, "regions", 'publish: {ssm: "/images/{image}/{channel}"}\n',
    'publish: {ssm: "/golden/{channel}"}\n',
)  # fmt: skip
Files = Mapping[str, str | None]
"""What a commit changes: a path to its content; None deletes the file."""


def image_files(
    name: str, declaration: str, *, setup: str = "true", template: str = TEMPLATE
) -> dict[str, str | None]:  # fmt: skip
    """The files of an image."""
    folder = f"desired/{name}"
    return {
        f"{folder}/image.yaml": declaration,
        f"{folder}/image.pkr.hcl": template,
        f"{folder}/setup.sh": f"{setup}\n",
    }


def no_image_files(name: str) -> dict[str, str | None]:
    """What is left of an image that is taken out: none of its files."""
    return dict.fromkeys(image_files(name, ""))


def git(directory: Path, *arguments: str) -> str:
    """Run git as a person would, and return what it printed."""
    done = subprocess.run(
        ["git", *arguments], cwd=directory, capture_output=True, text=True, errors="surrogateescape", check=False
    )  # fmt: skip
    if done.returncode != 0:
        pytest.fail(f"git {' '.join(arguments)}: {done.stderr}")
    return done.stdout.removesuffix("\n")


def contents(directory: Path, oids: Iterable[str]) -> list[bytes]:
    """The contents of blobs."""
    asked = "".join(f"{oid}\n" for oid in oids).encode()
    command = ["git", "cat-file", "--batch", "--buffer"]
    answer = subprocess.run(command, cwd=directory, input=asked, capture_output=True, check=True).stdout
    found = []
    while answer:
        header, _, answer = answer.partition(b"\n")
        size = int(header.split(b" ")[2])
        found.append(answer[:size])
        answer = answer[size + 1 :]
    return found


@dataclass(frozen=True)
class Rebuilt:
    """A build that was run although a complete artifact with its key was there to adopt."""

    image: str
    key: str


@dataclass
class World:
    """What outlives a run: the repository, the registry, the time. `root` holds `origin.git` and the clones."""

    root: Path
    registry: MemoryRegistry
    clock: Clock = field(default_factory=Clock)
    wasted: list[Rebuilt] = field(default_factory=list)
    inside: dict[str, Inventory] = field(default_factory=dict)
    """What is in all builds of an image from now on."""
    instances: MemoryInstances = field(default_factory=MemoryInstances)
    publisher: MemoryPublisher = field(default_factory=lambda: MemoryPublisher(FLEET))
    declared: Declares = AMIS
    _read: dict[str, Mapping[str, bytes]] = field(default_factory=dict)
    """The files of commits that main was at."""

    @classmethod
    def begin(cls, root: Path, files: Files) -> World:
        """A new origin with one commit, and two upstream AMIs."""
        world = cls(root, MemoryRegistry(FLEET))
        world.registry.clock = world.clock
        world.publish_upstream("debian-12-amd64-20261101")
        world.publish_upstream("toolbox-1")
        world.begin_repository(files)
        return world

    def begin_repository(self, files: Files) -> None:
        """Make the origin, and a person's clone of it."""
        self.root.mkdir(parents=True, exist_ok=True)
        git(self.root, "init", "--quiet", "--bare", "origin.git")
        git(self.root, "clone", "--quiet", "origin.git", "person")
        # Relative, so that a world can be copied to another folder.
        lead_to(self.root / "person", "../origin.git")
        self.commit(files, "Begin")

    def settle(self) -> World:
        """The same world an hour later, ready to be copied: everybody has pulled, and git has packed its objects."""
        self.clock.advance(hours=1)
        git(self.root / "person", "pull", "--quiet", "--ff-only", "origin", "main")
        for repository in (self.origin, self.root / "person", self.root / "ci"):
            git(repository, "repack", "-a", "-d", "--quiet")
        return self

    def copy_to(self, root: Path) -> World:
        """The same world once more, to be changed without this one."""
        shutil.copytree(self.root, root, symlinks=True)
        registry = MemoryRegistry(
            FLEET,
            upstreams=list(self.registry.upstreams),
            _artifacts=dict(self.registry._artifacts),
            _copies=dict(self.registry._copies),
            _made=self.registry._made,
            traits=self.registry.traits.copy(),
            restored_for=dict(self.registry.restored_for),
            bin=dict(self.registry.bin),
        )
        world = World(root, registry, publisher=self.publisher.copy())
        registry.clock = world.clock
        world.clock.moment = self.clock.moment
        return world

    # What people and the world do.

    def publish_upstream(self, name: str) -> Upstream:
        """Somebody publishes an AMI, newer than all before."""
        number = len(self.registry.upstreams) + 1
        upstream = Upstream(US, f"ami-{number:08x}", name, f"2026-11-{number:02}T00:00:00Z", (DEBIAN,))
        self.registry.upstreams.append(upstream)
        return upstream

    def settle_inside(self, *images: str) -> None:
        """Nothing changes inside these images any more: every build holds what the newest one holds."""
        for image in images:
            self.inside[image] = replace(NOTHING_INSIDE, kernel=self.lock(image).builds[0].id)

    def pass_days(self, days: int) -> None:
        """Let days pass. EC2 forgets the tokens of copies after one."""
        self.clock.advance(days=days)
        self.registry._copies.clear()

    def judge(self, image: str, status: Literal["passed", "failed"]) -> None:
        """The validation repository says in tags what it found of the newest build."""
        newest = self.lock(image).builds[0]
        verdict = Verdict(status=status, by="validation", evidence="https://ci.example.org/7")
        for artifact in newest.artifacts:
            self.registry.tag(artifact, verdict_tags(verdict))

    def for_fleet(self, registry: Registry, known: Known) -> Registry:
        """The registry of a fleet of one kind: here what holds its artifacts, and nothing before it."""
        del known
        return registry

    def strip_tags(self, image: str, *regions: str) -> None:
        """Somebody takes the tags off an image's artifacts."""
        for one in self.artifacts(image):
            if one.location in regions:
                self.registry._artifacts[one.location, one.id] = replace(one, tags={})

    def lose(self, image: str, *regions: str) -> None:
        """Somebody deletes an image's artifacts."""
        for one in self.artifacts(image):
            if one.location in regions:
                self.registry.delete(one)

    def commit(
        self, files: Files, message: str = "Change", *, push: bool = True, branch: str = "main", where: str = "person"
    ) -> str:
        """A person changes files on a branch, and pushes it. Returns the commit."""
        folder = self.root / where
        main = self._main()
        if push and branch == "main" and main is not None and self._head_in(folder) != main:
            git(folder, "pull", "--quiet", "--ff-only", "origin", "main")
        before = head_of(folder)
        for name, content in files.items():
            path = folder / name
            if content is None:
                path.unlink(missing_ok=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(content)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--message", message)
        commit = self._head_in(folder)
        # Where the branch is new, it begins at main.
        is_next = before == (branch_at(self.origin, branch) or main)
        if push and not (is_next and pushed(folder, self.origin, commit, branch=branch)):
            git(folder, "push", "--quiet", "origin", f"HEAD:{branch}")
        return commit

    def _head_in(self, folder: Path) -> str:
        """The commit that is checked out in a clone."""
        return head_of(folder) or git(folder, "rev-parse", "HEAD")

    def branches(self) -> frozenset[str]:
        """The branches that the remote has."""
        return frozenset(git(self.origin, "for-each-ref", "--format=%(refname:short)", "refs/heads").splitlines())

    def _main(self) -> str | None:
        """What main is at, as git keeps it: a file, which a push has written. None before the first."""
        return branch_at(self.origin, "main")

    # What there is to see.

    @property
    def origin(self) -> Path:
        """The bare repository that everybody pushes to."""
        return self.root / "origin.git"

    def head(self) -> str:
        """The commit that main is at."""
        return self._main() or git(self.origin, "rev-parse", "refs/heads/main")

    def subjects(self, since: str | None = None) -> list[str]:
        """The subjects of the commits on main, newest first."""
        return git(self.origin, "log", "--format=%s", f"{since}..main" if since else "main").splitlines()

    def tags(self) -> list[str]:
        """The names of all tags."""
        return git(self.origin, "tag", "--list").splitlines()

    def declares(self, image: str) -> bool:
        """Whether the image is declared on main."""
        return any(path.startswith(f"desired/{image}/") for path in self._files())

    def recorded(self) -> list[str]:
        """The images that have a lockfile."""
        return [path.removesuffix(".lock.json") for path in self.state_files() if path.endswith(".lock.json")]

    def state_files(self) -> list[str]:
        """The paths of all files in state/, relative to it."""
        return [path.removeprefix("state/") for path in self._files() if path.startswith("state/")]

    def sboms(self) -> list[str]:
        """The paths of the SBOMs in state/, as the lockfiles name them."""
        return [path for path in self.state_files() if path.startswith("sbom/")]

    def statements(self) -> list[str]:
        """The paths of the provenance in state/, as the lockfiles name it."""
        return [path for path in self.state_files() if path.startswith("provenance/")]

    def show(self, path: str) -> str:
        """A file at the head of main, by its path in state/."""
        return self._files()[f"state/{path}"].decode().removesuffix("\n")

    def file(self, path: str) -> str:
        """A file at the head of main, whole, by its path."""
        return self._files()[path].decode()

    def lock(self, image: str) -> Lockfile:
        """An image's lockfile at the head of main."""
        path = path_of(image)
        return parse(self._files()[path], path)

    def _files(self) -> Mapping[str, bytes]:
        """Every file at the head of main by its path, in git's order; links and submodules aside."""
        head = self.head()
        if head not in self._read:
            listing = git(self.origin, "ls-tree", "-r", "-z", "--full-tree", head).split("\0")[:-1]
            blobs = [(path, facts.split(" ")) for facts, path in (line.split("\t", 1) for line in listing)]
            regular = {path: oid for path, (mode, _kind, oid) in blobs if mode.startswith("100")}
            self._read[head] = dict(zip(regular, contents(self.origin, regular.values()), strict=True))
        return self._read[head]

    def artifacts(self, image: str) -> list[Seen]:
        """What the registry has that carries the image's name."""
        return [one for one in self.registry.artifacts if one.own("image") == image]

    def complete(self, image: str) -> dict[str, str]:
        """The id of the image's complete artifact in each region. Fails where a build has two."""
        found: dict[str, str] = {}
        for one in self.artifacts(image):
            if one.complete and one.own("build") == self.lock(image).builds[0].id:
                assert one.location not in found, f"{image} is twice in {one.location}"
                found[one.location] = one.id
        return found

    # Controllers.

    def controller(self, name: str = "ci") -> Controller:
        """A controller on a clone of its own; the same clone when the name is the same."""
        folder = self.root / name
        if not folder.exists():
            git(self.root, "clone", "--quiet", "origin.git", name)
            lead_to(folder, "../origin.git")
        builder = SimulatedBuilder(artifacts=self.leave, during=self.note_waste)
        return Controller(self, folder, builder=builder, tester=SimulatedTester(inventory=self.look_inside))

    def look_inside(self, request: TestRequest) -> Inventory:
        """What is inside a build: what a test says of the image, else something new in every build."""
        return self.inside.get(request.image) or replace(NOTHING_INSIDE, kernel=request.build_id)

    def leave(self, request: BuildRequest) -> tuple[Artifact, ...]:
        """What a build leaves: an AMI in its region, with the tags that it was given."""
        assert request.location is not None
        return (self.make(request, region=request.location).as_artifact("amazon-ebs.image"),)

    def make(
        self, request: BuildRequest, *, region: str = US, tagged: bool = True, name: str | None = None,
        state: State = "available",
    ) -> Seen:  # fmt: skip
        """An AMI that Packer makes now. Without tags it is as one of a template that takes none."""
        return self.registry.seed(
            region, name or f"{request.image.name}-{request.build_id}", state=state,
            tags=request.image_tags if tagged else {}, created=format_instant(self.clock.moment),
        )  # fmt: skip

    def note_waste(self, request: BuildRequest) -> None:
        """Note a build that need not have been run."""
        same = (one for one in self.artifacts(request.image.name) if one.own("key") == request.key)
        if any(one.complete and one.own("smoke") != "failed" for one in same):
            self.wasted.append(Rebuilt(request.image.name, request.key))


@dataclass
class Controller:
    """What one process has: a clone, a builder, and nothing remembered from the process before."""

    world: World
    root: Path
    builder: SimulatedBuilder
    tester: SimulatedTester
    events: list[Event] = field(default_factory=list)
    cancelled: threading.Event = field(default_factory=threading.Event)
    packer: str | None = None
    """The version of the Packer that the process finds."""
    # Where a test steps between a run and the world: see effects.py.
    on_registry: Callable[[Registry], Registry] = lambda registry: registry
    on_publisher: Callable[[Publisher], Publisher] = lambda publisher: publisher
    on_builder: Callable[[Builder], Builder] = lambda builder: builder
    on_instances: Callable[[Instances], Instances] = lambda instances: instances
    on_tester: Callable[[Tester], Tester] = lambda tester: tester
    on_destination: Callable[[Destination], Destination] = lambda destination: destination
    sleep: Callable[[float], None] = lambda _seconds: None
    keep_failed: int = 0
    announcers: Sequence[Announcer] = ()

    def look(self, options: PlanOptions | None = None) -> tuple[Known, FleetPlan]:
        """Fetch, read and plan the branch that is recorded to, as `reconciler reconcile` does."""
        adapters = WorldAdapters(self)
        repository = adapters.repository
        known = adapters.read(repository.tree(find_target(repository).head), options or PlanOptions())
        looked = controller.look(adapters, known, asks=False)
        return looked.known, looked.planned

    def plan(
        self, *images: str, refresh: bool = False, force: tuple[str, ...] = (), prune: bool = False,
        lost: tuple[str, ...] = (),
    ) -> dict[str, PlannedImage]:  # fmt: skip
        """The plan of the branch that is recorded to, by image."""
        options = PlanOptions(images=images, refresh=refresh, force=force, prune=prune, lost=lost)
        return {image.image: image for image in self.look(options)[1].plan.images}

    def reconcile(
        self,
        *images: str,
        refresh: bool = False,
        force: tuple[str, ...] = (),
        prune: bool = False,
        expected: Plan | None = None,
        max_actions: int | None = None,
        lost: tuple[str, ...] = (),
    ) -> Report:
        """Reconcile as `reconciler reconcile` does."""
        options = PlanOptions(images=images, refresh=refresh, force=force, prune=prune, lost=lost)
        return controller.reconcile(WorldAdapters(self), Request(RUN_ID, options, expected, max_actions))

    def collect(self, *, apply: bool = True) -> Collection:
        """Judge what may go as `reconciler gc` does, and take the next step of each."""
        return controller.collect(WorldAdapters(self), Request(RUN_ID), takes_steps=apply)

    def restore(self, *words: str) -> Restoration:
        """Bring back a build as `reconciler restore` does."""
        return controller.restore(WorldAdapters(self), Request(RUN_ID), words)

    def adopt(self, image: str, *named: str, test: bool = False) -> Result:
        """Take artifacts over as `reconciler adopt` does. Each is named `ami-…` or `region:ami-…`."""
        request = Request(RUN_ID, PlanOptions(images=(image,)))
        return controller.adopt(WorldAdapters(self), request, image, named, test=test).results[0]

    def test(self, image: str, build_id: str | None = None) -> Result:
        """Test a recorded build by the suite that is checked out, as `reconciler test` does."""
        request = Request(RUN_ID, PlanOptions(images=(image,)))
        return controller.test(WorldAdapters(self), request, image, build_id)

    def preview(self, branch: str, number: int | None = None) -> Report:
        """Build what the checked out branch would change, as `reconciler reconcile --preview` does."""
        request = Request(RUN_ID, PlanOptions(preview=True))
        return controller.preview(WorldAdapters(self), request, Origin(branch, number))

    def read(self, tree: Tree, options: PlanOptions) -> Known:
        """What the repository says at a revision, at the world's time."""
        return read_repository(tree, fleet_name=FLEET, now=self.world.clock(), options=options)

    def hear(self, event: Event) -> None:
        """Take one event."""
        self.events.append(event)

    def branches(self) -> frozenset[str] | None:
        """The branches that the remote answers with when it is asked for them."""
        return self.world.branches()

    def recorder(self, repository: Repository, known: Known) -> Recorder:
        """Whoever records to the branch that the settings name, through whatever a test put in the way."""
        settings = known.fleet.settings.git
        destination = find_destination(repository.git, settings)
        if settings.push == "pull-request":
            destination = proposal(repository.git, destination, settings, confirms=confirms(repository, known))
        return Recorder(
            repository.git,
            self.on_destination(destination),
            author=settings.author,
            sign=settings.sign,
            now=self.world.clock,
            sleep=self.sleep,
            random=lambda: 0.5,
        )

    @property
    def built(self) -> list[str]:
        """The images that were built, in order."""
        return [request.image.name for request in self.builder.requests]

    def told(self, kind: type[Event], image: str) -> list[Event]:
        """The events of a kind about an image."""
        return [event for event in self.events if isinstance(event, kind) and event.image == image]


def results(report: Report) -> dict[str, Result]:
    """A report's results by image."""
    return {result.image: result for result in report.results}


def statuses(report: Report) -> dict[str, str]:
    """What became of each image that was acted on."""
    return {result.image: result.status for result in report.results}
