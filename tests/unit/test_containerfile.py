"""The Containerfile: what it copies is there, nothing comes in unchecked, and what runs is not root.

That it builds was tried with buildah (docs/installing.md).
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FILE = ROOT / "Containerfile"


class Instruction(NamedTuple):
    """One instruction, of a stage counted from 0; `ARG`s before the first `FROM` are of stage -1."""

    stage: int
    name: str
    text: str

    @property
    def sources(self) -> list[str]:
        """What a `COPY` takes from the folder that is built."""
        words = shlex.split(self.text)
        return [] if words[0].startswith("--from=") else words[:-1]


def instructions() -> list[Instruction]:
    text = re.sub(r"(?m)^\s*#.*\n", "", FILE.read_text())
    found, stage = [], -1
    for line in text.replace("\\\n", " ").splitlines():
        name, _, rest = line.strip().partition(" ")
        stage += name == "FROM"
        if name:
            found.append(Instruction(stage, name, " ".join(rest.split())))
    return found


def copied() -> set[str]:
    return {source for one in instructions() if one.name == "COPY" for source in one.sources}


def test_every_source_that_is_copied_is_there_and_is_sent_to_the_engine() -> None:
    """.containerignore leaves out all but what it names: a clone holds keys, states and virtual environments, too."""
    ignored = (ROOT / ".containerignore").read_text().split()

    assert ignored[0] == "*"
    assert copied() == {line.removeprefix("!") for line in ignored if line.startswith("!")}
    assert all((ROOT / source).exists() for source in copied())


def test_what_the_installer_takes_is_copied() -> None:
    installer = (ROOT / ".ci" / "venv").read_text()

    taken = set(re.findall(r'"\$source/([\w./]+)"', installer))

    assert "runtime.lock" in taken
    assert taken | {".ci/venv"} == copied()


def test_packages_come_by_their_hashes_or_from_the_signed_archive() -> None:
    for one in instructions():
        assert one.name != "ADD", "what is fetched is checked by nobody"
        if one.name == "RUN":
            assert not re.search(r"\b(?:pip|pipx|uv|npm) +install\b|\bcurl +-|\bwget\b|https?://", one.text), one.text
            assert ("apt-get install" in one.text) == ("--no-install-recommends" in one.text)


def test_the_image_runs_as_a_user_that_is_not_root() -> None:
    last = instructions()[-1].stage
    users = [one.text for one in instructions() if one.name == "USER" and one.stage == last]

    assert users == ["reconciler"]
    (made,) = (one.text for one in instructions() if "useradd" in one.text)
    assert "--uid ${UID}" in made
    assert Instruction(last, "ARG", "UID=1000") in instructions()


def test_what_builds_stays_behind() -> None:
    last = instructions()[-1].stage

    assert last >= 2
    for one in instructions():
        if one.stage == last and one.name == "RUN":
            assert not re.search(r"python3-venv|python3-pip|golang|build-essential|\.ci/", one.text), one.text


def test_it_starts_the_reconciler() -> None:
    assert [one.text for one in instructions() if one.name in ("ENTRYPOINT", "CMD")] == ['["reconciler"]', '["--help"]']
