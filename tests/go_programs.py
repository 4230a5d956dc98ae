"""Programs that tests build of Go's modules: once, by pinned versions, into the user's cache."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

from reconciler.build.packer.cache import cache_folder
from tests.needs import lacking

_MACHINE = dict(os.environ)
"""The environment before any test gave itself a home: the cache is its owner's."""
_ACTIONLINT = Path(__file__).parent / "actionlint"
_TERRAFORM, _PROVIDER = Path(__file__).parent / "terraform", Path(__file__).parent / "terraform-provider-aws"


def built(sources: Path, make: Callable[[str, Path], None], *, what: str) -> Path:
    """The program that has the name of its sources' folder. Skips the test where there is no Go to build it with.

    `make` is given Go and where to put it. Workers wait for each other.
    """
    go = shutil.which("go", path=_MACHINE.get("PATH"))
    content = b"".join(path.read_bytes() for path in sorted(sources.iterdir()))
    cache = cache_folder(_MACHINE)
    assert cache is not None, "this machine has no home"
    program = cache.parent / sources.name / hashlib.sha256(content).hexdigest()[:16] / sources.name
    if program.exists():
        return program
    if go is None:
        lacking(f"there is no Go here to build {what} with")
    program.parent.mkdir(parents=True, exist_ok=True)
    with program.with_name("lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            draft = program.with_name("draft")
            make(go, draft)
            draft.replace(program)
    return program


def run_go(go: str, *arguments: str, folder: Path) -> str:
    """Run Go in a folder, as the machine's owner, and return what it printed.

    Debian's takes no newer Go of itself for a module that asks for one, unless it is told to.
    """
    told = {"GOTOOLCHAIN": "auto", **_MACHINE}
    done = subprocess.run([go, *arguments], cwd=folder, env=told, stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout


def terraform() -> Path:
    """Terraform 1.5.7, the last under the Mozilla license. It is built in two to three minutes on two cores, once."""
    return built(_TERRAFORM, partial(_build_module, _TERRAFORM, "github.com/hashicorp/terraform"), what="Terraform")


def aws_provider() -> Path:
    """Terraform's provider of AWS, as of 2020-08-07 (3.1). It is built in four to eight minutes on two cores, once.

    A later one has modules for each service of AWS, and takes many times as long.
    """
    module = "github.com/terraform-providers/terraform-provider-aws"
    return built(_PROVIDER, partial(_build_module, _PROVIDER, module), what="Terraform's provider of AWS")


def actionlint() -> Path:
    """The linter of GitHub's workflows, 1.7.12: 1.7.9 takes no anchors. It is built within a minute, once."""
    module = "github.com/rhysd/actionlint"
    make = partial(_build_module, _ACTIONLINT, module, package=f"{module}/cmd/actionlint")
    return built(_ACTIONLINT, make, what="actionlint")


def _build_module(sources: Path, module: str, go: str, draft: Path, *, package: str | None = None) -> None:
    """Build a program of its own module, whose digest is pinned here, and those of all others in it."""
    folder = draft.with_name("module")
    shutil.copytree(sources, folder, dirs_exist_ok=True)
    theirs = Path(json.loads(run_go(go, "mod", "download", "-json", module, folder=folder))["Dir"]) / "go.sum"
    pinned = folder / "go.sum"
    pinned.write_text(pinned.read_text() + theirs.read_text())
    run_go(go, "build", "-mod=mod", "-trimpath", "-o", str(draft), package or module, folder=folder)
    shutil.rmtree(folder)
