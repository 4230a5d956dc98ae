"""`reconciler demo`: the whole story, in a throwaway clone and the sandbox, with the real Packer."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import click

from reconciler.build.packer.obtain import obtain
from reconciler.cli import options
from reconciler.cli.sandbox import require_sandbox, start_sandbox
from reconciler.cli.stage import Stage
from reconciler.cli.workspace import note
from reconciler.git.repository import Repository
from reconciler.model.errors import DONE, DRIFT, UserError
from reconciler.plan.words import duration
from reconciler.sandbox.handle import Sandbox

_NEEDED = ("desired/base/base.pkr.hcl", "desired/web/setup.sh")


@click.command("demo")
@click.option("--keep", is_flag=True, help="Keep the clone, its origin and the sandbox to look around in afterwards.")
@options.directory
def command(*, keep: bool, directory: Path) -> int:
    """Tell the whole story with the images of this repository: build, record, rebuild, refresh.

    Works in a throwaway clone with a bare origin beside it; your checkout and your AWS account are never touched. Takes
    the Packer on the PATH; where there is none, gets one as `reconciler packer` does.
    """
    begun = time.monotonic()
    require_sandbox()
    root = Repository.open(directory).root
    for path in _NEEDED:
        if not (root / path).is_file():
            raise UserError(f"{root} has no {path}", mend="run the demo in a clone of the reconciler's own repository")
    packer = obtain(os.environ, tell=note)
    with ExitStack() as stack:
        folder = Path(
            tempfile.mkdtemp(prefix="reconciler-demo-")
            if keep
            else stack.enter_context(tempfile.TemporaryDirectory(prefix="reconciler-demo-"))
        )
        sandbox = start_sandbox(folder / "sandbox")
        if not keep:
            stack.callback(sandbox.stop)
        stage = Stage.set_up(folder, source=root, environment={**sandbox.environment, **packer.environment})
        for scene in STORY:
            scene(stage, sandbox)
        stage.say(f"The story took {duration(round(time.monotonic() - begun))}.")
        if keep:
            stage.say(f"Kept: {folder} (stop its sandbox: reconciler sandbox stop --folder {folder / 'sandbox'})")
    return 0


_ONE_MORE_PACKAGE = """
mkdir -p /tmp/faq/DEBIAN
printf '%s\n' 'Package: debian-faq' 'Version: 12.1' 'Architecture: all' 'Maintainer: nobody <nobody@localhost>' \\
  'Description: what is in the newer image' > /tmp/faq/DEBIAN/control
dpkg-deb --build /tmp/faq /tmp/faq.deb && dpkg --install /tmp/faq.deb && rm -r /tmp/faq /tmp/faq.deb
"""
"""What is new in the image that Debian publishes: a refresh that brings nothing new changes nothing."""


def _declared(stage: Stage, _: Sandbox) -> None:
    stage.say("Two images are declared, base and web on top of it. Nothing is built yet:")
    stage.reconciler("plan", "--detailed-exitcode", expect=DRIFT)


def _built(stage: Stage, _: Sandbox) -> None:
    stage.say("Packer builds base, then web on it. Each is copied to a second region, recorded and pushed:")
    stage.reconciler("reconcile", expect=DONE)


def _recorded(stage: Stage, _: Sandbox) -> None:
    stage.say("The repository now says what exists, and from what:")
    stage.git("log", "--format=%h %s", "-3")
    stage.git("tag", "--list", "-n1", "image/*")
    stage.reconciler("status", expect=DONE)
    stage.say("web was built on base's files: this is /etc/image-release as web's provisioner saw it.")
    stage.show_from_log("web", starting=("base ", "web "))


def _again(stage: Stage, _: Sandbox) -> None:
    stage.say("Run it again: nothing to do, nothing committed.")
    stage.reconciler("reconcile", expect=DONE)


def _changed(stage: Stage, _: Sandbox) -> None:
    stage.say("Somebody changes a script of web. The plan names the file, and only web is rebuilt:")
    stage.edit("desired/web/setup.sh", append="echo edited in the demo >> /etc/image-release\n")
    stage.git("commit", "--quiet", "--all", "--message", "web: note the edit in /etc/image-release")
    stage.git("push", "--quiet", "origin", "HEAD")
    stage.reconciler("plan", "--detailed-exitcode", expect=DRIFT)
    stage.reconciler("reconcile", expect=DONE)


def _refreshed(stage: Stage, sandbox: Sandbox) -> None:
    stage.say("Debian publishes a newer image. A lockfile is a lock: without --refresh nothing moves.")
    sandbox.publish("debian-12-amd64-20261122-2000", run=_ONE_MORE_PACKAGE)
    stage.reconciler("plan", expect=DONE)
    stage.say("The scheduled job refreshes: base is rebuilt on the new source, and web on the new base.")
    stage.reconciler("plan", "--refresh", "--detailed-exitcode", expect=DRIFT)
    stage.reconciler("reconcile", "--refresh", expect=DONE)
    stage.git("log", "--format=%h %s", "-6")


def _looked_into(stage: Stage, _: Sandbox) -> None:
    stage.say("What did that change inside, and can it be proven? The clone tells, without any right in AWS:")
    stage.reconciler("diff", "web", expect=DONE)
    stage.reconciler("verify", "web", expect=DONE)
    stage.say(
        "Where to look next: desired/ (what was declared), docs/ (how it works), "
        "`reconciler sandbox` (rehearse with your own templates), `reconciler doctor`."
    )


Scene = Callable[[Stage, Sandbox], None]
STORY: tuple[Scene, ...] = (_declared, _built, _recorded, _again, _changed, _refreshed, _looked_into)
PICTURED: tuple[Scene, ...] = (_declared, _built, _again, _changed)
"""The scenes in the picture of the terminal that the README shows (docs/demo.svg, made by `make picture`)."""
