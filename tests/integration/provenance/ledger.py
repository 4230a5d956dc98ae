"""A fleet in a real repository, whose builds are recorded as the loop records them: lockfile, SBOM, statement, tag.

Only Packer and AWS are left out: what they would have left is made up.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.desired.fleet import read_fleet
from reconciler.git.objects import Change, Commit, TagRequest
from reconciler.git.repository import Repository
from reconciler.git.signature import sign, signer
from reconciler.model.declaration import GitSettings
from reconciler.model.fleet import Image
from reconciler.model.inventory import Inventory, OperatingSystem, Package
from reconciler.model.lockfile import Artifact, Build, CiRun, Failure, Lockfile, PackerVersions, Reason, Verdict
from reconciler.model.provenance import Origin
from reconciler.model.values import format_instant
from reconciler.plan import transitions
from reconciler.plan.key import short, wanted
from reconciler.registries.ec2.dialect import AMI
from reconciler.state import provenance
from reconciler.state.lockfiles import path_of, read_lockfile, render
from reconciler.state.sbom import inventory_record, render_sbom
from reconciler.words import messages

US, EU = "us-east-1", "eu-west-1"
FLEET = "acme/images"
DEBIAN = AMI.pin(US, "ami-0aa11bb22cc33dd44", name="debian-12-amd64-20261101", owner="136693071363")
ON_DEBIAN = 'source: {ami: {name: "debian-12-*", owners: ["136693071363"]}}\n'
ON_BASE = "source: {image: base}\n"
TEMPLATE = """\
variable "source_ami" { type = string }
source "amazon-ebs" "image" {
  region     = "us-east-1"
  source_ami = var.source_ami
}
build { sources = ["source.amazon-ebs.image"] }
"""
BEGIN = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)


def git(directory: Path, *arguments: str, stdin: bytes | None = None, when: str | None = None) -> str:
    """Run git as a person would, at a time that is now where none is given, and return what it printed."""
    dates = {} if when is None else {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}
    done = subprocess.run(
        ["git", *arguments], cwd=directory, input=stdin, capture_output=True, check=False, env={**os.environ, **dates}
    )
    if done.returncode != 0:
        pytest.fail(f"git {' '.join(arguments)}: {done.stderr.decode()}")
    return done.stdout.decode().removesuffix("\n")


def new_key(folder: Path, name: str) -> Path:
    """An SSH key of somebody."""
    key = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key)], check=True)
    return key


def public(key: Path) -> str:
    """The public half of a key, without its comment."""
    return " ".join(key.with_name(f"{key.name}.pub").read_text().split()[:2])


@dataclass
class Ledger:
    """A clone in which people declare and the reconciler records. Its clock goes on by ten minutes a commit."""

    root: Path
    moment: datetime = BEGIN
    settings: GitSettings = field(default_factory=lambda: GitSettings(author="ci <ci@example.org>"))
    _made: int = 0

    @classmethod
    def begin(cls, root: Path, *, sign_with: Path | None = None) -> Ledger:
        """A fleet of `base`, and `web` on it. Nothing is built yet."""
        root.mkdir(parents=True)
        git(root, "init", "--quiet")
        ledger = cls(root)
        yaml = f"fleet: {FLEET}\ngit: {{author: ci <ci@example.org>}}\n"
        if sign_with is not None:
            git(root, "config", "gpg.format", "ssh")
            git(root, "config", "user.signingKey", str(sign_with))
            ledger.settings = GitSettings(author="ci <ci@example.org>", sign=True)
            yaml = f"fleet: {FLEET}\ngit: {{author: ci <ci@example.org>, sign: true}}\n"
        ledger.commit({"desired/reconciler.yaml": yaml, **declared("base", ON_DEBIAN), **declared("web", ON_BASE)})
        return ledger

    # What people do.

    def commit(self, files: Mapping[str, str | bytes | None], message: str = "Change", *options: str) -> str:
        """Commit files as a person would, and return the commit."""
        for name, content in files.items():
            path = self.root / name
            if content is None:
                path.unlink()
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        git(self.root, "add", "--all")
        when = format_instant(self._tick())
        git(self.root, "-c", f"user.name=Ada {when}", "commit", "--quiet", "-m", message, *options, when=when)
        return self.head()

    def head(self) -> str:
        return git(self.root, "rev-parse", "HEAD")

    def read(self, path: str) -> bytes:
        return (self.root / path).read_bytes()

    # What the reconciler does.

    def build(
        self,
        name: str,
        *,
        packages: Mapping[str, str] | None = None,
        reasons: tuple[Reason, ...] = (Reason(code="new", now="x"),),
        verb: str = "build",
        built_from: str | None = None,
        attested: bool = True,
        **more: Any,
    ) -> Build:
        """Build an image from HEAD, and record it."""
        image = self.image(name, built_from)
        pin = self.lock("base").builds[0].as_pin("base") if name == "web" else DEBIAN
        want = wanted(image, pin, refresh_of=more.pop("refresh_of", None))
        started = self._tick()
        build_id = f"{started:%Y%m%dT%H%M%SZ}-{short(want.key)}"
        inventory = an_inventory(packages or {"nginx": "1.22.1-9"})
        sbom = render_sbom(name, build_id, inventory)
        build = Build(
            **{
                "id": build_id,
                "key": want.key,
                "components": dict(want.components),
                "files": {file.path: f"{file.mode} {file.oid}" for file in image.inputs},
                "commit": built_from or self.head(),
                "reasons": reasons,
                "started": format_instant(started),
                "seconds": 412,
                "packer": PackerVersions(version="1.16.0", plugins={"amazon": "1.8.2"}),
                "source": pin,
                "artifacts": (self.artifact(US), self.artifact(EU)),
                "inventory": inventory_record(name, build_id, inventory),
                "phase": "stable",
                "ci": CiRun(provider="circleci", url="https://circleci.com/gh/acme/images/12"),
                **more,
            }
        )
        tagged = build
        if verb == "adopt":  # a preview's tag is older than main's reasons, and than its copies
            early = {"reasons": (Reason(code="new"),), "phase": "preliminary", "artifacts": build.artifacts[:1]}
            tagged = build.model_copy(update=early)
        tag = TagRequest(f"image/{name}/{build_id}", build.commit, messages.build_tag(name, tagged))

        def change(lock: Lockfile) -> tuple[Lockfile, Mapping[str, bytes | None]]:
            recorded = build.model_copy(update={"recorded": format_instant(self.moment)})
            files: Mapping[str, bytes | None] = {}
            if attested:
                made = self.attest(name, recorded, sbom)
                recorded, files = made.build, made.files
            files = {f"state/sbom/{name}/{build_id}.cdx.json": sbom, **files}
            return transitions.with_build(lock, recorded, image=image), files

        self.record(name, change, messages.build_commit(name, build, verb=verb), tag)
        return self.lock(name).builds[0]

    def attest(self, name: str, build: Build, sbom: bytes | None) -> provenance.Attested:
        origin = Origin(fleet=FLEET, image=name, repository="acme/images", branch="main")
        by = signer(Repository.open(self.root).git) if self.settings.sign else None
        return provenance.attest(build, origin, sbom=sbom, sign=self.sign, signer=by)

    def sign(self, payload: bytes) -> bytes | None:
        repository = Repository.open(self.root)
        return sign(repository.git, payload, namespace=provenance.NAMESPACE) if self.settings.sign else None

    def copy(self, name: str, region: str) -> None:
        """Copy the newest build to a region, and record that."""
        build = self.lock(name).builds[0]
        added = self.artifact(region)
        assert build.inventory is not None
        sbom = self.read(f"state/{build.inventory.sbom}")

        def change(lock: Lockfile) -> tuple[Lockfile, Mapping[str, bytes | None]]:
            copied = transitions.with_artifacts(lock, build.id, [added])
            return copied, self.attest(name, copied.builds[0], sbom).files

        self.record(name, change, messages.change_commit(name, "copy", (), added=[added]))

    def judge(self, name: str, verdict: Verdict) -> None:
        """Record a verdict on the newest build."""
        build_id, at = self.lock(name).builds[0].id, format_instant(self._tick())
        message = messages.verdict_commit(name, build_id, verdict)
        self.record(name, lambda lock: (transitions.with_verdict(lock, build_id, verdict, at=at), {}), message)

    def fail(self, name: str, what: str) -> None:
        """Record a failed attempt."""
        at = self._tick()
        failure = Failure(
            build=f"{at:%Y%m%dT%H%M%SZ}-0000000", key="sha256:0", attempts=1, at=format_instant(at),
            retry_after=format_instant(at), what=what,
        )  # fmt: skip
        message = messages.failure_commit(name, failure, ())
        self.record(name, lambda lock: (transitions.with_failure(lock, failure), {}), message)

    def rename(self, old: str, new: str) -> None:
        """Declare an image under another name, and record that."""
        git(self.root, "mv", f"desired/{old}", f"desired/{new}")
        self.commit({f"desired/{new}/image.yaml": f"{ON_DEBIAN}moved_from: {old}\n"}, f"Rename {old}")
        lock = self.lock(old).model_copy(update={"image": new})
        changes = (Change(path_of(new), render(lock)), Change(path_of(old), None))
        self._record(Commit(changes, messages.change_commit(new, "record", (Reason(code="renamed", was=old),))))

    def record(
        self,
        name: str,
        change: Callable[[Lockfile], tuple[Lockfile, Mapping[str, bytes | None]]],
        message: str,
        *tags: TagRequest,
    ) -> None:
        """Commit a change of a lockfile, and files beside it, as the recorder does."""
        lock, files = change(self.lock(name))
        changes = (Change(path_of(name), render(lock)), *(Change(path, content) for path, content in files.items()))
        self._record(Commit(changes, message, tags))

    def _record(self, commit: Commit) -> None:
        recorder = Repository.open(self.root).recorder(
            self.settings, now=self._tick, sleep=lambda _seconds: None, random=lambda: 0.5
        )
        assert recorder.record(lambda _tree: commit) is not None

    # What there is to see.

    def image(self, name: str, revision: str | None = None) -> Image:
        return read_fleet(Repository.open(self.root).tree(revision or "HEAD")).images[name]

    def lock(self, name: str) -> Lockfile:
        return read_lockfile(Repository.open(self.root).tree(), name) or Lockfile(image=name)

    def artifact(self, region: str) -> Artifact:
        self._made += 1
        return Artifact(kind="ami", builder="amazon-ebs.image", location=region, id=f"ami-{self._made:017x}")

    def _tick(self) -> datetime:
        self.moment += timedelta(minutes=10)
        return self.moment


def declared(name: str, declaration: str, *, setup: str = "true") -> dict[str, str]:
    """The files of an image."""
    folder = f"desired/{name}"
    return {
        f"{folder}/image.yaml": declaration,
        f"{folder}/image.pkr.hcl": TEMPLATE,
        f"{folder}/setup.sh": f"{setup}\n",
    }


def an_inventory(packages: Mapping[str, str]) -> Inventory:
    found = tuple(sorted(Package(name, version, "amd64", "deb") for name, version in packages.items()))
    system = OperatingSystem("debian", "12", "Debian GNU/Linux 12 (bookworm)")
    return Inventory(system, "6.1.0-27-amd64", packages=found, services=("ssh.service",), ports=(), users=(), suid=())


def edited(content: bytes, path: tuple[str | int, ...], value: object) -> bytes:
    """A canonical JSON file with one value changed."""
    document: Any = json.loads(content)
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return f"{json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False)}\n".encode()
