"""The picture of the terminal that the README shows: the scenes of the demo that are marked for it, as they ran.

    python -m tests.integration.story.picture    runs the demo (as root) and writes docs/demo.svg

What the demo prints on a terminal of 80 columns is exported by rich. The bars, which come and go on stderr, are not in
it.
"""

from __future__ import annotations

import fcntl
import io
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast
from xml.etree import ElementTree as ET

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.text import Text

from reconciler.cli.demo import PICTURED, STORY, Scene, Stage
from reconciler.sandbox.handle import Sandbox

ROOT = Path(__file__).parents[3]
PICTURE = ROOT / "docs" / "demo.svg"
_COLUMNS = 80
_PROMPT = "$ "


@dataclass(frozen=True)
class Script(Stage):
    """A stage on which nothing happens, and that notes what would be shown."""

    said: list[str] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)

    def edit(self, path: str, *, append: str) -> None:
        self.commands.append(f"echo {shlex.quote(append.strip())} >> {path}")

    def show_from_log(self, image: str, *, starting: tuple[str, ...]) -> None:
        self.commands.append(f"grep image-release .reconciler/logs/{image}-{'|'.join(starting)}")

    def _show(self, *words: str) -> None:
        self.commands.append(shlex.join(words))

    def _run(self, command: list[str], *, expect: int) -> None:
        pass


class _NoSandbox:
    def publish(self, name: str, *, run: str) -> None:
        """Nothing is published to a script."""


def script(*scenes: Scene) -> Script:
    """What the scenes say and run, in order."""
    noted = Script(Path(), {})
    for scene in scenes:
        scene(noted, cast("Sandbox", _NoSandbox()))
    return noted


def drawn(printed: str) -> str:
    """The picture, of what the whole demo printed on a terminal."""
    console = Console(
        record=True,
        width=_COLUMNS,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    for line in _pictured(AnsiDecoder().decode(printed.replace("\r\n", "\n"))):
        line.rstrip()
        console.print(line)
    # Rich's own format has the browser fetch a font from elsewhere.
    plain = re.sub(r"@font-face \{\{.*?\n    \}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    plain = plain.replace("Fira Code, monospace", "ui-monospace, Menlo, Consolas, monospace")
    return console.export_svg(title="reconciler demo", code_format=plain, unique_id="demo")


def _pictured(lines: Iterable[Text]) -> Iterator[Text]:
    """The lines of the scenes that are pictured. A scene begins with the first sentence that it says."""
    begins: Mapping[str, bool] = {script(scene).said[0]: scene in PICTURED for scene in STORY}
    shown, first = False, True
    for line in lines:
        shown = begins.get(line.plain.strip(), shown)
        if shown and not (first and not line.plain.strip()):
            first = False
            yield line


def commands_in(picture: str) -> list[str]:
    """What stands behind the prompts of a picture, without blanks: a long command is broken at the terminal's edge."""
    lines: dict[float, str] = {}
    for text in ET.fromstring(picture).iter(  # noqa: S314 - we wrote it
        "{http://www.w3.org/2000/svg}text"
    ):
        if text.get("clip-path"):
            at = float(text.get("y", "0"))
            lines[at] = lines.get(at, "") + (text.text or "")
    return ["".join(line.split()) for line in lines.values()]


def run() -> str:
    """Run the demo on a terminal. Returns what it printed to stdout."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, _COLUMNS, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(_COLUMNS)}
    with subprocess.Popen(
        [sys.executable, "-m", "reconciler", "demo", "-C", str(ROOT)],
        stdin=subprocess.DEVNULL, stdout=theirs, env=environment,
    ) as demo:  # fmt: skip
        os.close(theirs)
        printed = bytearray()
        with suppress(OSError):  # EIO: the demo has ended
            while piece := os.read(ours, 1 << 16):
                printed += piece
    os.close(ours)
    if demo.returncode != 0:
        raise SystemExit(demo.returncode)
    return printed.decode()


if __name__ == "__main__":
    PICTURE.write_text(drawn(run()))
