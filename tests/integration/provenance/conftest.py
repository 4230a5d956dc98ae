"""A fleet that was built and recorded: signed, and without a key."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import main
from tests.integration.provenance.ledger import Ledger, new_key, public


@pytest.fixture(scope="session", autouse=True)
def _own_home(own_home: None) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SSH_AUTH_SOCK", raising=False)
        patch.setenv("COLUMNS", "80")
        yield


@dataclass(frozen=True)
class Signed:
    """A fleet whose commits are signed, and whose keys are trusted."""

    ledger: Ledger
    signers: Path
    key: Path


@pytest.fixture(scope="session")
def _built(tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    ledger = Ledger.begin(tmp_path_factory.mktemp("built") / "clone")
    ledger.build("base")
    ledger.build("web")
    return ledger


@pytest.fixture
def built(_built: Ledger, tmp_path: Path) -> Ledger:
    """`base`, and `web` on it, built and recorded by a reconciler that has no key."""
    shutil.copytree(_built.root, tmp_path / "clone")
    return replace(_built, root=tmp_path / "clone")


@pytest.fixture(scope="session")
def _signed(tmp_path_factory: pytest.TempPathFactory) -> Signed:
    folder = tmp_path_factory.mktemp("signed")
    key = new_key(folder, "ci")
    signers = folder / "allowed_signers"
    signers.write_text(f"ci@example.org {public(key)}\n")
    ledger = Ledger.begin(folder / "clone", sign_with=key)
    ledger.build("base")
    ledger.build("web")
    return Signed(ledger, signers, key)


@pytest.fixture
def signed(_signed: Signed, tmp_path: Path) -> Signed:
    """The same by one that signs with a key that the auditor knows."""
    shutil.copytree(_signed.ledger.root, tmp_path / "clone")
    return replace(_signed, ledger=replace(_signed.ledger, root=tmp_path / "clone"))


@dataclass(frozen=True)
class Answer:
    """What the command answered."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        """The answer on one line, so that a sentence is found wherever it was broken."""
        return " ".join(self.out.split())

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def findings(self, check: str) -> list[dict[str, Any]]:
        """What `--json` has of one check."""
        return [one for one in self.json["findings"] if one["check"] == check]

    def outcomes(self) -> dict[str, str]:
        """The worst outcome of each check, of `--json`."""
        worst = {"proven": 0, "not proven": 1, "wrong": 2}
        return {
            one["check"]: one["outcome"] for one in sorted(self.json["findings"], key=lambda one: worst[one["outcome"]])
        }


Ask = Callable[..., Answer]


@pytest.fixture
def ask(capfd: pytest.CaptureFixture[str]) -> Ask:
    """Run `reconciler` on a fleet, in this process."""

    def run(ledger: Ledger, *arguments: str) -> Answer:
        capfd.readouterr()
        code = main([*arguments, "-C", str(ledger.root)])
        said = capfd.readouterr()
        assert "Traceback" not in said.err
        if not {"--json", "--with-location"} & {*arguments}:  # what scripts read is as wide as it is
            assert not [line for line in said.out.splitlines() if len(line) > 80]
        return Answer(code, said.out, said.err)

    return run
