"""`reconciler diff`, from a clone alone: no AWS, no credentials."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no type information

from reconciler.cli.main import main as reconciler
from reconciler.model.inventory import Inventory, OperatingSystem, Package
from reconciler.model.lockfile import Artifact, Build, Channels, Failure, Lockfile, Phase
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.state.lockfiles import path_of, render
from reconciler.state.sbom import below_state, inventory_record, render_sbom
from tests.integration.git.conftest import GITCONFIG, commit, git

FIRST, SECOND, THIRD, FOURTH = (f"202611{day}T101530Z-{day}a2b3c" for day in (20, 21, 22, 23))
SCHEMA = Path(__file__).parents[3] / "docs" / "schema" / "difference-1.json"
EMPTY = Inventory(OperatingSystem("debian", "12", "Debian 12"), "6.1.0", (), (), (), (), ())


def inside(**versions: str) -> Inventory:
    packages = (Package(name, version, "amd64", "deb") for name, version in versions.items())
    return replace(EMPTY, packages=tuple(sorted(packages)))


INSIDES = {
    FIRST: inside(nginx="1.22.1-9"),
    SECOND: inside(nginx="1.22.1-9", curl="7"),
    THIRD: inside(nginx="1.22.1-9+deb12u2", jq="1.6-2", tmux="3"),
}


def build(build_id: str, *, image: str = "web", phase: Phase = "candidate", inventory: bool = True) -> Build:
    return Build(
        id=build_id,
        key=f"sha256:{build_id[-7:]}",
        components={},
        commit="9" * 40,
        artifacts=(Artifact(kind="ami", builder="amazon-ebs.web", location="us-east-1", id="ami-1"),),
        inventory=inventory_record(image, build_id, INSIDES[build_id]) if inventory else None,
        phase=phase,
    )


def lockfile(builds: Sequence[Build], *, image: str = "web", candidate: str | None = None) -> dict[str, bytes]:
    channels = Channels(candidate=candidate or (builds[0].id if builds else None))
    return {path_of(image): render(Lockfile(image=image, builds=tuple(builds), channels=channels))}


def sbom(build_id: str) -> dict[str, bytes]:
    return {f"state/{below_state('web', build_id)}": render_sbom("web", build_id, INSIDES[build_id])}


@dataclass(frozen=True)
class Fleet:
    """A repository where three builds were recorded one after the other, of which two are kept."""

    root: Path

    def answers(self, *arguments: str) -> int:
        return reconciler(["diff", "-C", str(self.root), *arguments])

    def commit(self, *files: dict[str, bytes]) -> None:
        commit(self.root, {path: content for one in files for path, content in one.items()})


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tmp_path.joinpath(".gitconfig").write_text(GITCONFIG)
    for name in [name for name in os.environ if name.startswith(("GIT_", "XDG_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def fleet(tmp_path: Path) -> Fleet:
    root = tmp_path / "fleet"
    root.mkdir()
    git(root, "init", "--quiet")
    found = Fleet(root)
    found.commit(lockfile([build(FIRST)]), sbom(FIRST))
    found.commit(lockfile([build(SECOND), build(FIRST)]), sbom(SECOND))
    root.joinpath(f"state/{below_state('web', FIRST)}").unlink()
    found.commit(lockfile([build(THIRD), build(SECOND)]), sbom(THIRD))
    return found


Said = Callable[[], str]


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Said:
    return lambda: " ".join("".join(capsys.readouterr()).split())


def test_the_candidate_is_compared_with_the_build_before_it(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet.answers("web") == 0

    first, *table = capsys.readouterr().out.splitlines()
    assert first.startswith("web: nginx 1.22.1-9 → 1.22.1-9+deb12u2, +2 packages, -curl 7")
    assert [line.split() for line in table if "  " in line.strip()] == [
        ["package", "removed", "curl", "7"],
        ["added", "jq", "1.6-2"],
        ["upgraded", "nginx", "1.22.1-9", "→", "1.22.1-9+deb12u2"],
        ["added", "tmux", "3"],
    ]
    assert max(map(len, [first, *table])) <= 80


def test_json_follows_the_published_schema(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet.answers("web", "--json") == 0

    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(answer)
    assert (answer["old"], answer["new"]) == (SECOND, THIRD)
    assert {"name": "nginx", "kind": "deb", "architecture": "amd64", "change": "upgraded"}.items() <= (
        answer["difference"]["packages"][2].items()
    )


def test_markdown_is_for_a_comment(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet.answers("web", "--markdown") == 0

    answer = capsys.readouterr().out
    assert answer.startswith(f"### web: `{SECOND}` → `{THIRD}`\n\nnginx 1.22.1-9 → 1.22.1-9+deb12u2")
    assert "| added | `jq` |  | `1.6-2` |" in answer


@pytest.mark.parametrize(
    ("asked", "compared"),
    [
        ((THIRD,), (SECOND, THIRD)),
        (("20261122",), (SECOND, THIRD)),
        (("22a2",), (SECOND, THIRD)),
        (("candidate",), (SECOND, THIRD)),
        ((SECOND, THIRD), (SECOND, THIRD)),
        ((THIRD, SECOND), (THIRD, SECOND)),
        # No lockfile at HEAD has the first any more.
        ((SECOND,), (FIRST, SECOND)),
        ((FIRST, "candidate"), (FIRST, THIRD)),
        (("20a2b3c", "20261121"), (FIRST, SECOND)),
    ],
)
def test_builds_are_named_by_id_key_or_channel_and_found_in_history_too(
    fleet: Fleet, asked: tuple[str, ...], compared: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert fleet.answers("web", *asked, "--json") == 0

    answer = json.loads(capsys.readouterr().out)
    assert (answer["old"], answer["new"]) == compared


def test_equal_builds_are_one_line(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    assert fleet.answers("web", THIRD, THIRD) == 0

    assert "\n\n" not in capsys.readouterr().out
    assert fleet.answers("web", THIRD, THIRD) == 0
    assert capsys.readouterr().out.startswith("web: nothing inside changed")


def test_a_build_that_was_withdrawn_is_not_the_one_before(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.commit(lockfile([build(THIRD), build(SECOND, phase="rejected"), build(FIRST)]), sbom(FIRST))

    assert fleet.answers("web", "--json") == 0

    assert json.loads(capsys.readouterr().out)["old"] == FIRST


def test_a_renamed_image_is_compared_across_its_names(fleet: Fleet, capsys: pytest.CaptureFixture[str]) -> None:
    fleet.root.joinpath(path_of("web")).unlink()
    fleet.commit(lockfile([build(THIRD), build(SECOND)], image="site"))

    assert fleet.answers("site", "--json") == 0
    assert json.loads(capsys.readouterr().out)["old"] == SECOND
    assert fleet.answers("site", FIRST, THIRD, "--json") == 0


def test_an_image_that_is_not_recorded_is_named_with_the_nearest(fleet: Fleet, said: Said) -> None:
    assert fleet.answers("wep") == 1

    answer = said()
    assert "no image is named 'wep'" in answer
    assert 'did you mean "web"?' in answer


@pytest.mark.parametrize("name", ["../etc", "", "Web", "--", "a b"])
def test_what_is_no_name_for_an_image_is_refused(fleet: Fleet, name: str, said: Said) -> None:
    assert fleet.answers("--", name) != 0
    assert "Traceback" not in said()


@pytest.mark.parametrize("name", [FOURTH, "nonsense", "stable", "*", "HEAD"])
def test_a_build_that_is_not_recorded_is_named_with_all_that_are(fleet: Fleet, name: str, said: Said) -> None:
    assert fleet.answers("web", name) == 1

    answer = said()
    assert f"no build '{name}' of web is recorded" in answer
    assert f"{THIRD}, {SECOND}, {FIRST}" in answer


def test_an_abbreviation_that_fits_several_is_refused(fleet: Fleet, said: Said) -> None:
    assert fleet.answers("web", "202611") == 1
    assert f"'202611' may be 2 builds of web which one? {THIRD}, {SECOND}" in said()


def test_the_first_build_has_none_before_it(fleet: Fleet, said: Said) -> None:
    assert fleet.answers("web", FIRST) == 1
    assert f"{FIRST} is the first build of web" in said()


def test_three_builds_and_two_forms_are_too_many(fleet: Fleet, said: Said) -> None:
    assert fleet.answers("web", FIRST, SECOND, THIRD) == 1
    assert "3 builds are named, and two can be compared" in said()
    assert fleet.answers("web", "--json", "--markdown") == 1
    assert "exclude each other" in said()


def test_a_build_without_an_inventory_says_why(fleet: Fleet, said: Said) -> None:
    skipped = SmokeTestResult(status="skipped", why="a vSphere template is not booted")
    bare = build(THIRD, inventory=False)
    fleet.commit(lockfile([bare.model_copy(update={"smoke_test": skipped}), build(SECOND)]))

    assert fleet.answers("web") == 1
    assert f"what is inside {THIRD} of web was not recorded: a vSphere template is not booted" in said()

    fleet.commit(lockfile([bare, build(SECOND)]))
    assert fleet.answers("web") == 1
    assert "never booted" in said()


def test_an_image_that_has_no_candidate_says_so(fleet: Fleet, said: Said) -> None:
    fleet.commit({path_of("new"): render(Lockfile(image="new"))})

    assert fleet.answers("new") == 1
    assert "new has no candidate nothing is built yet" in said()


def test_an_sbom_that_was_changed_or_taken_away_is_not_believed(fleet: Fleet, said: Said) -> None:
    path = f"state/{below_state('web', THIRD)}"
    fleet.commit({path: sbom(THIRD)[path].replace(b"1.6-2", b"1.6-3")})

    assert fleet.answers("web") == 1
    assert f"{path}: this SBOM is not the one that was recorded" in said()

    fleet.commit({path: b"<<<<<<< HEAD\n"})
    assert fleet.answers("web") == 1
    assert f"{path}: not an SBOM that reconciler wrote" in said()

    fleet.root.joinpath(path).unlink()
    fleet.commit({"README": b"gone"})
    assert fleet.answers("web") == 1
    assert f"{path}: the SBOM of {THIRD} is missing" in said()


def test_a_shallow_clone_says_where_the_rest_may_be(fleet: Fleet, tmp_path: Path, said: Said) -> None:
    git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{fleet.root}", "shallow")
    shallow = Fleet(tmp_path / "shallow")

    assert shallow.answers("web") == 0
    said()
    assert shallow.answers("web", FIRST, THIRD) == 1
    assert "`git fetch --unshallow`" in said()
    assert shallow.answers("web", SECOND) == 1
    assert "`git fetch --unshallow`" in said()


def test_outside_a_repository_it_says_so(tmp_path: Path, said: Said) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()

    assert reconciler(["diff", "web", "-C", str(folder)]) == 1
    assert "is not in a git repository" in said()


def test_an_image_whose_only_build_was_rejected_says_so(fleet: Fleet, said: Said) -> None:
    tested = SmokeTestResult(status="failed", tests=3, why="no nginx")
    failure = Failure(
        build=FOURTH, key="sha256:4", attempts=1, at="2026-11-23T10:15:30Z", retry_after="2026-11-23T10:15:30Z",
        what="smoke test failed: no nginx", smoke_test=tested,
    )  # fmt: skip
    fleet.commit({path_of("api"): render(Lockfile(image="api", failure=failure))})

    for arguments in ((), (FOURTH,)):
        assert fleet.answers("api", *arguments) == 1
        assert f"{FOURTH} was built and rejected: smoke test failed: no nginx" in said()


def test_a_typo_in_the_image_is_not_answered_with_a_pull(fleet: Fleet, said: Said) -> None:
    for arguments in (("wep",), ("wep", FIRST), ("wep", FIRST, SECOND), ("nothing", FIRST)):
        assert fleet.answers(*arguments) == 1
        answer = said()
        assert "no image is named" in answer
        assert "git pull" not in answer
