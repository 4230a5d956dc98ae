"""Building from Go modules, with a Go of a few lines that does, and says, what the real one was seen to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from reconciler.build.packer.modules import Module, build
from reconciler.model.errors import ReconcilerError, Transient, UserError
from tests.integration.packer.programs import bare_path, write_program

MODULE = Module("github.com/hashicorp/packer", "1.16.0", "h1:archive=", "h1:go.mod=")

MIRROR_IS_DOWN = (
    'github.com/hashicorp/packer@v1.16.0: Get \\"https://mirror/@v/v1.16.0.zip\\": read: connection reset by peer'
)


class Go:
    """A Go on a PATH that has nothing else; `answers` are what its commands do, as shell."""

    def __init__(self, folder: Path) -> None:
        self.path = bare_path(folder / "bin")
        self.source = folder / "module"
        self.source.mkdir()
        (self.source / "go.mod").write_text("module github.com/hashicorp/packer\n\ngo 1.26.3\n")
        (self.source / "go.sum").write_text("golang.org/x/crypto v0.54.0 h1:of-a-module-below=\n")
        self.into = folder / "into"
        self.into.mkdir()
        self.told: list[str] = []
        self.answers = {
            "version": "echo go version go1.26.3 linux/amd64",
            "mod download": f"echo \"go: downloading it\"; echo '{{'; echo '\"Dir\": \"{self.source}\"'; echo '}}'",
            "mod edit": f"cp go.mod {folder}/go.mod; cp go.sum {folder}/go.sum",
            "list -mod=readonly": "echo one; echo two; echo three; echo four",
            "build -mod=readonly": 'for name in one two three four; do echo $name; done; echo program > "$8"',
        }

    def build(self, **options: Any) -> None:
        cases = "\n".join(f'"{command}"*) {answer};;' for command, answer in self.answers.items())
        write_program(self.path, "go", f'case "$*" in\n{cases}\n*) echo "no such command: $*" >&2; exit 2;;\nesac')
        build(MODULE, self.into, "packer", {"PATH": str(self.path)}, tell=self.told.append, **options)


@pytest.fixture
def go(tmp_path: Path) -> Go:
    return Go(tmp_path)


def test_the_program_is_built_with_the_modules_own_requirements_and_every_hash_pinned(go: Go, tmp_path: Path) -> None:
    go.build()

    assert [path.name for path in go.into.iterdir()] == ["packer"]
    assert (tmp_path / "go.mod").read_text() == (go.source / "go.mod").read_text()
    assert (tmp_path / "go.sum").read_text().splitlines() == [
        "golang.org/x/crypto v0.54.0 h1:of-a-module-below=",
        "github.com/hashicorp/packer v1.16.0 h1:archive=",
        "github.com/hashicorp/packer v1.16.0/go.mod h1:go.mod=",
    ]


def test_what_takes_minutes_says_so_and_how_far_it_is(go: Go) -> None:
    go.build()

    assert go.told == [
        "building Packer 1.16.0 from its Go modules: some minutes, once",
        "Packer 1.16.0: 20 % compiled, 0:00",
        "Packer 1.16.0: 50 % compiled, 0:00",
        "Packer 1.16.0: 70 % compiled, 0:00",
        "Packer 1.16.0: 90 % compiled, 0:00",
    ]


@pytest.mark.parametrize(
    ("command", "answer", "told"),
    [
        (
            "mod download",
            "echo 'verifying github.com/hashicorp/packer@v1.16.0: checksum mismatch'; echo 'SECURITY ERROR'; exit 1",
            "Go could not fetch or list it: verifying github.com/hashicorp/packer@v1.16.0: checksum mismatch",
        ),
        (
            "mod download",
            f"echo '{{'; echo '\t\"Error\": \"{MIRROR_IS_DOWN}\",'; echo '}}'; exit 1",
            "Go could not fetch or list it: github.com/hashicorp/packer@v1.16.0: Get",
        ),
        (
            "list -mod=readonly",
            "echo 'go: downloading a v1'; echo 'a: dial tcp: lookup mirror: no such host'; exit 1",
            "Go could not fetch or list it: a: dial tcp: lookup mirror: no such host",
        ),
        (
            "list -mod=readonly",
            "echo 'go: go.mod requires go >= 1.26.3 (running go 1.24.0; GOTOOLCHAIN=local)'; exit 1",
            r"Go could not fetch or list it: go: go\.mod requires go >= 1\.26\.3 \(running go 1\.24\.0",
        ),
        ("build -mod=readonly", "echo one; echo 'x.go:1:2: undefined: y'; exit 1", "Go could not build it: x.go:1:2"),
        ("build -mod=readonly", "exit 2", "Go could not build it: it said nothing"),
        ("build -mod=readonly", "kill -9 $$", "Go could not build it: it said nothing"),
    ],
)
def test_whatever_goes_wrong_is_one_sentence_and_worth_another_try(
    go: Go, command: str, answer: str, told: str
) -> None:
    go.answers[command] = answer

    with pytest.raises(Transient, match=f"^{told}"):
        go.build()


def test_a_full_disk_is_told_with_what_go_needs(go: Go) -> None:
    go.answers["build -mod=readonly"] = "echo one; echo 'go: writing x: write /x: no space left on device'; exit 1"

    with pytest.raises(UserError, match=r"there is no room to build Packer: .*no space left on device") as caught:
        go.build()

    assert caught.value.hint == ("Go needs 4 GB in its caches",)


@pytest.mark.parametrize(
    ("complaint", "told"),
    [
        ("mkdir /x/mod: no space left on device", "there is no room to build Packer: "),
        ("a.go:1:2: lookup mirror: no such host", "Go could not fetch or list it: a.go:1:2: lookup mirror"),
    ],
)
def test_what_went_wrong_is_told_though_go_lists_its_packages_after_it(go: Go, complaint: str, told: str) -> None:
    listing = (
        "for one in 0 1 2 3 4 5 6 7 8 9; do for two in 0 1 2 3 4 5 6 7 8 9; do echo example.org/$one/$two; done; done"
    )
    go.answers["list -mod=readonly"] = f"echo '{complaint}'; {listing}; exit 1"

    with pytest.raises(ReconcilerError, match=f"^{told}"):
        go.build()


def test_a_go_that_waits_for_a_dead_mirror_is_ended(go: Go) -> None:
    go.answers["list -mod=readonly"] = "exec sleep 1000"

    with pytest.raises(Transient, match="Go said nothing for 0 minutes, and was ended"):
        go.build(patience=0.1)


def test_a_go_that_cannot_be_run_is_told(go: Go) -> None:
    go.build()
    (go.path / "go").write_bytes(b"\x7fELF of another machine")
    (go.path / "go").chmod(0o755)

    with pytest.raises(UserError, match=r"is no Go that can build Packer: it cannot be run \(Exec format error\)"):
        build(MODULE, go.into, "packer", {"PATH": str(go.path)}, tell=go.told.append)


def test_a_go_that_is_too_old_is_told(go: Go) -> None:
    go.answers["version"] = "echo go version go1.19.8 linux/amd64"

    with pytest.raises(UserError, match=r"is no Go that can build Packer: go version go1\.19\.8 linux/amd64") as caught:
        go.build()

    assert caught.value.hint == ("install Go 1.21 or later: https://go.dev/dl/",)


@pytest.fixture
def no_go(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A PATH without Go, on a machine that has none elsewhere."""
    monkeypatch.setattr("reconciler.build.packer.modules._USUAL_PLACES", ())
    return bare_path(tmp_path / "none")


@pytest.mark.parametrize(
    ("candidate", "has"), [("2:1.19~1", r"only 1\.19\.0"), ("(none)", "none"), (None, "none")], ids=str
)
def test_where_there_is_no_go_it_is_told_what_the_archive_has(no_go: Path, candidate: str | None, has: str) -> None:
    if candidate is not None:
        write_program(no_go, "apt-cache", f"echo '  Candidate: {candidate}'")
        write_program(no_go, "apt-get", "exit 0")

    with pytest.raises(UserError, match=f"there is no Go, and this system's archive has {has}"):
        build(MODULE, no_go, "packer", {"PATH": str(no_go)}, tell=lambda _: None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may install")
def test_the_archives_go_is_installed_where_it_is_new_enough(no_go: Path, tmp_path: Path) -> None:
    write_program(no_go, "apt-cache", "echo '  Candidate: 2:1.24~2'")
    go = write_program(tmp_path / "archive", "go", "echo go version go1.24; [ $1 = version ]")
    write_program(no_go, "apt-get", f'echo "$*" >> {tmp_path}/asked; cp {go} {no_go}')
    told: list[str] = []

    with pytest.raises(Transient, match="Go could not fetch or list it"):  # it answers one question only
        build(MODULE, tmp_path, "packer", {"PATH": str(no_go)}, tell=told.append)

    assert told[0] == "installing golang-go from this system's archive"
    assert (tmp_path / "asked").read_text().startswith("install -q -y --no-install-recommends")
