"""The stage of the demo: a bare origin, a clone, and commands whose output is shown as it comes."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click

from reconciler.git.rehearsal import clone_with_origin
from reconciler.model.errors import INTERRUPTED, Terminal


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

    def git(self, *arguments: str) -> None:
        """Run git as a person would and show what it prints."""
        self._show("git", *arguments)
        self._run(["git", *arguments], expect=0)

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
        with _interrupts_left_to_the_command():
            code = subprocess.run(command, cwd=self.clone, env=self.environment, check=False).returncode
        if code in (INTERRUPTED, -signal.SIGINT):
            raise KeyboardInterrupt
        if code != expect:
            raise Terminal(f"the demo expected exit code {expect}, and `{shlex.join(command[-3:])}` ended with {code}")


@contextmanager
def _interrupts_left_to_the_command() -> Iterator[None]:
    """Let a ^C at the terminal end the command alone, which cleans up; `subprocess` would kill it after 0.25 s."""
    before = signal.signal(signal.SIGINT, lambda number, frame: None)  # noqa: ARG005 - what a handler is given
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
