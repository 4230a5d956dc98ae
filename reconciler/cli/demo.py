"""`reconciler demo`: the whole story, in a throwaway clone and the sandbox, with the real Packer."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import click

from reconciler.build.packer.binary import find
from reconciler.build.packer.obtain import obtain
from reconciler.build.packer.plugins import installed_plugins
from reconciler.build.packer.versions import PLUGINS_APART
from reconciler.cli import options
from reconciler.cli.sandbox import require_sandbox, start_sandbox
from reconciler.cli.workspace import note
from reconciler.git.repository import Repository, clone_with_origin
from reconciler.model.errors import DONE, DRIFT, INTERRUPTED, ReconcilerError, Terminal, UserError
from reconciler.model.text import duration
from reconciler.sandbox import containers, kernel
from reconciler.sandbox.handle import Sandbox

# The stage of the demo: a bare origin, a clone, and commands whose output is shown as it comes.


@dataclass(frozen=True)
class Stage:
    """A clone to play in. Commands run in it with the sandbox's environment."""

    clone: Path
    environment: Mapping[str, str]

    @classmethod
    def set_up(cls, folder: Path, *, source: Path, environment: Mapping[str, str]) -> Stage:
        """Make a bare origin and a clone that hold the committed desired/ and state/ of a repository."""
        clone = clone_with_origin(source, folder, name="images")
        # The images' own programs (ansible-playbook) are installed beside ours, and sudo's PATH does not lead there.
        inherited = {**os.environ, **environment}
        path = os.pathsep.join([sysconfig.get_path("scripts"), inherited.get("PATH", os.defpath)])
        # A pager would wait for a key on a low terminal.
        return cls(clone, {**inherited, "PATH": path, "GIT_PAGER": "cat"})

    def say(self, text: str) -> None:
        """Tell what happens next."""
        click.secho(f"\n{text}", bold=True)

    def reconciler(self, *arguments: str, expect: int) -> None:
        """Run a verb and show what it prints. Raises Terminal when it ends otherwise than the story says."""
        self._show("reconciler", *arguments)
        self._run([sys.executable, "-m", "reconciler", *arguments], expect=expect)

    def quietly(self, *words: str) -> None:
        """Run a command of which nobody is told."""
        self._run([*words], expect=0)

    def git(self, *arguments: str) -> None:
        """Run git as a person would and show what it prints."""
        self._show("git", *arguments)
        self._run(["git", *arguments], expect=0)

    def write(self, files: Mapping[str, str]) -> None:
        """Write files, and show how each begins."""
        for path, text in files.items():
            click.secho(f"$ cat > {path}", dim=True)
            click.echo(text, nl=False)
            (self.clone / path).parent.mkdir(parents=True, exist_ok=True)
            (self.clone / path).write_text(text, encoding="utf-8")

    def edit(self, path: str, *, append: str) -> None:
        """Add a line to a file."""
        click.secho(f"$ echo {shlex.quote(append.strip())} >> {path}", dim=True)
        with (self.clone / path).open("a", encoding="utf-8") as file:
            file.write(append)

    def show_from_log(self, image: str, *, starting: tuple[str, ...]) -> None:
        """Show lines of an image's newest build log that start so, Packer's prefix aside."""
        logs = (self.clone / ".reconciler" / "logs").glob(f"{image}-*.log")
        log = max(path for path in logs if not path.name.endswith(".smoke.log"))
        self._show("grep", "image-release", f".reconciler/logs/{log.name}")
        for line in log.read_text(encoding="utf-8").splitlines():
            said = line.split(": ", 1)[-1].strip()
            if said.startswith(starting):
                click.echo(said)

    def _show(self, *words: str) -> None:
        click.secho(f"$ {shlex.join(words)}", dim=True)

    def _run(self, command: list[str], *, expect: int) -> None:
        sys.stdout.flush()
        with _told_to_end() as told, subprocess.Popen(command, cwd=self.clone, env=self.environment) as process:
            told.pass_on_to(process)
            code = process.wait()
        if told.signals or code in (INTERRUPTED, -signal.SIGINT):
            raise KeyboardInterrupt
        if code != expect:
            words = command[command.index("-m") + 1 :] if "-m" in command else command
            raise Terminal(
                f"the demo expected exit code {expect}, and `{shlex.join(words)}` ended with {code}",
                hint="what it says above is why; the demo needs the network, to install packages in its images",
            )


class _Told:
    """The signals that told the demo to end while a command of it runs, which cleans up first.

    A ^C at the terminal, and its end, are told to the command by the terminal; TERM is passed on to it.
    """

    def __init__(self) -> None:
        self.signals: list[int] = []
        self._command: subprocess.Popen[bytes] | None = None

    def hear(self, number: int, _frame: FrameType | None) -> None:
        """Be the handler of these signals."""
        self.signals.append(number)
        if number == signal.SIGTERM and self._command is not None:
            self._command.terminate()

    def pass_on_to(self, command: subprocess.Popen[bytes]) -> None:
        """Name the command, which may have been begun a moment too late."""
        self._command = command
        if signal.SIGTERM in self.signals:
            command.terminate()


@contextmanager
def _told_to_end() -> Iterator[_Told]:
    told, heeded = _Told(), (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in heeded}
    for number in heeded:
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, told.hear)
    try:
        yield told
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


_NOTE = "desired/note"
"""The container image of this repository, whose registry is there as long as its scene is."""
_ASIDE = "note: wait for a registry"
_NEEDED = ("desired/base/base.pkr.hcl", "desired/web/setup.sh", f"{_NOTE}/image.yaml")


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
    if os.geteuid() != 0:  # before a Packer is got, which may take minutes
        raise kernel.root_needed()
    root = Repository.open(directory).root
    for path in _NEEDED:
        if not (root / path).is_file():
            raise UserError(f"{root} has no {path}", hint="run the demo in a clone of the reconciler's own repository")
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


def set_aside(stage: Stage) -> None:
    """Take the container image out of the clone until its scene: there is no registry for it yet."""
    for words in (
        ("rm", "--quiet", "-r", _NOTE),
        ("commit", "--quiet", "--message", _ASIDE),
        ("push", "--quiet", "origin", "HEAD"),
    ):
        stage.quietly("git", *words)


def _declared(stage: Stage, _: Sandbox) -> None:
    stage.say("Two images are declared, base and web on top of it. Nothing is built yet:")
    set_aside(stage)
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


_HERE = """\
source: {{ oci: "{host}/debian:12" }}
locations: [{host}/demo/note]
"""
"""The declaration of the container image, with a registry on loopback, which is still open."""


def _contained(stage: Stage, sandbox: Sandbox) -> None:
    lacks = containers.lacking(stage.environment) or _lacks_plugin(stage)
    if lacks:
        stage.say(f"A container image beside the AMIs is left out: {lacks}.")
        return
    stage.say("A container image beside the AMIs: the same loop, with its digest in place of an AMI id.")
    with ExitStack() as running:
        try:
            host = running.enter_context(
                containers.published(sandbox.directory / "registry", "debian:12", environment=stage.environment)
            )
        except ReconcilerError as error:  # such as an engine on another machine, which has another loopback
            stage.say(f"It is left out: {error.what}.")
            return
        stage.quietly("git", "checkout", "--quiet", f"HEAD^{{/^{_ASIDE}}}~", "--", _NOTE)
        stage.write({f"{_NOTE}/image.yaml": _HERE.format(host=host)})
        stage.git("add", _NOTE)
        stage.git("commit", "--quiet", "--message", "note: keep it in a registry that is there")
        stage.git("push", "--quiet", "origin", "HEAD")
        stage.reconciler("reconcile", "note", expect=DONE)
        stage.reconciler("artifact", "note", expect=DONE)
        stage.reconciler("status", expect=DONE)


def _lacks_plugin(stage: Stage) -> str:
    """Name what Packer lacks of a builder of container images. It is not got here: that takes minutes."""
    binary = find(stage.environment)
    if binary.version < PLUGINS_APART:
        return ""
    there = {plugin.name for plugin in installed_plugins(binary, stage.environment)}
    return "" if "docker" in there else "Packer has no plugin for it (`reconciler packer --plugin docker`)"


def _looked_into(stage: Stage, _: Sandbox) -> None:
    stage.say("What did that change inside, and can it be proven? The clone tells, without any right in AWS:")
    stage.reconciler("diff", "web", expect=DONE)
    stage.reconciler("verify", "web", expect=DONE)
    stage.say(
        "Where to look next: desired/ (what was declared), docs/ (how it works), "
        "`reconciler sandbox` (rehearse with your own templates), `reconciler doctor`."
    )


Scene = Callable[[Stage, Sandbox], None]
STORY: tuple[Scene, ...] = (
    _declared, _built, _recorded, _again, _changed, _refreshed, _contained, _looked_into,
)  # fmt: skip
PICTURED: tuple[Scene, ...] = (_declared, _built, _again, _changed)
"""The scenes in the picture of the terminal that the README shows (docs/demo.svg, made by `make picture`)."""
