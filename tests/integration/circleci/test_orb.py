"""The orb: packed as CircleCI's own program packs it, one with what this repository and the pages use."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.circleci.orb import (
    PROGRAM,
    REFERENCE,
    ROOT,
    assert_circleci_takes,
    documented,
    own_orb,
    pack,
    pipeline,
)

CONFIG = ROOT / ".circleci" / "config.yml"
ADDRESS = "https://git.example.org/images/reconciler.git"
EXAMPLES = ROOT / ".circleci" / "orb" / "examples"


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    ended = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return ended.stdout.strip()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone with the orb in it, pushed to its origin."""
    folder = tmp_path / "reconciler"
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(PROGRAM, folder / ".ci")
    shutil.copytree(ROOT / ".circleci", folder / ".circleci")
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "init", "--quiet", "--bare", str(tmp_path / "origin.git"))
    git(folder, "remote", "add", "origin", str(tmp_path / "origin.git"))
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "Begin")
    git(folder, "push", "--quiet", "--set-upstream", "origin", "main")
    git(folder, "remote", "set-url", "origin", ADDRESS)
    return folder


def an_orb(folder: Path, **files: str) -> Path:
    for name, text in {"@orb.yml": "version: 2.1\n", **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def inline(folder: Path, config: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(PROGRAM), "--orb", str(folder), "inline", str(config), *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_this_repositorys_config_holds_the_orb_as_its_folder_has_it() -> None:
    checked = subprocess.run(
        [sys.executable, str(PROGRAM), "inline", "--check"], capture_output=True, text=True, check=False
    )

    assert checked.returncode == 0, checked.stderr


def test_the_packed_orb_is_one_that_circleci_takes(clone: Path, tmp_path: Path) -> None:
    packed = pack(clone)

    assert packed.returncode == 0, packed.stderr
    (tmp_path / "orb.yml").write_text(packed.stdout)
    assert_circleci_takes(tmp_path / "orb.yml")
    orb = yaml.safe_load(packed.stdout)
    assert orb["jobs"].keys() == {"preview", "reconcile", "refresh", "fan-out"}
    assert "install" in orb["commands"]
    assert "include(" not in packed.stdout


def test_each_version_of_it_installs_one_commit(clone: Path) -> None:
    orb = yaml.safe_load(pack(clone).stdout)

    source = f"git+{ADDRESS}@{git(clone, 'rev-parse', 'HEAD')}"
    defaults = {name: job["parameters"]["from"]["default"] for name, job in orb["jobs"].items()}
    assert defaults == dict.fromkeys(orb["jobs"], source)
    assert orb["commands"]["install"]["parameters"]["from"]["default"] == source


def test_no_credentials_are_packed(clone: Path) -> None:
    git(clone, "remote", "set-url", "origin", "https://bot:s3cr3t@git.example.org/reconciler.git")

    packed = pack(clone)

    assert "default: git+https://git.example.org/reconciler.git@" in packed.stdout
    assert "s3cr3t" not in packed.stdout


def test_a_commit_that_nobody_could_install_is_not_packed(clone: Path) -> None:
    git(clone, "commit", "--quiet", "--allow-empty", "--message", "Not pushed")

    packed = pack(clone)

    assert packed.returncode == 1
    assert packed.stdout == ""
    assert "is on no branch of origin: push it first" in packed.stderr


@pytest.mark.parametrize("of", ["{}", "file://{}", "../origin.git"])
def test_a_clone_of_a_path_is_not_packed_as_nobody_else_has_it(clone: Path, of: str) -> None:
    git(clone, "remote", "set-url", "origin", of.format(clone.parent / "origin.git"))

    packed = pack(clone)

    assert packed.returncode == 1
    assert packed.stdout == ""
    assert "which is on this machine alone" in packed.stderr
    assert "git remote set-url origin ADDRESS" in packed.stderr


def test_what_no_commit_has_is_not_packed(clone: Path) -> None:
    (clone / ".circleci" / "orb" / "jobs" / "another.yml").write_text("steps: [checkout]\n")

    packed = pack(clone)

    assert packed.returncode == 1
    assert packed.stdout == ""
    assert "commit and push it first" in packed.stderr


def test_but_for_that_it_is_what_the_config_holds(clone: Path) -> None:
    """And so the commands that the other tests run are those that are published."""
    orb = yaml.safe_load(pack(clone).stdout)
    for entry in (*orb["jobs"].values(), *orb["commands"].values()):
        if "from" in entry.get("parameters", {}):
            entry["parameters"]["from"]["default"] = ""

    assert {part: orb[part] for part in ("commands", "executors", "jobs")} == own_orb()


def test_no_parameter_is_called_like_what_a_workflow_says_of_a_job() -> None:
    words = {"branches", "context", "filters", "matrix", "name", "post-steps", "pre-steps", "requires", "type"}

    assert {name for job in own_orb()["jobs"].values() for name in job["parameters"]} & words == set()


def test_no_command_of_it_uses_a_cache() -> None:
    assert not any(word in CONFIG.read_text() for word in ("restore_cache", "save_cache", "save_workspace"))


@pytest.mark.parametrize("page", ["README.md", "docs/circleci.md"])
def test_what_the_pages_show_is_what_circleci_takes_and_the_orb_has(page: str, tmp_path: Path) -> None:
    shown = documented(page)

    assert shown
    for config in shown:
        (tmp_path / "config.yml").write_text(yaml.safe_dump(config))
        assert_circleci_takes(tmp_path / "config.yml")
        for job, invocations in pipeline(config).jobs().items():
            for options in invocations:
                its_own = own_orb()["jobs"][job.removeprefix("reconciler/")]["parameters"].keys()
                given = {name: value for name, value in options.items() if name in its_own}
                assert options.keys() - given.keys() <= {"context", "filters", "serial-group", "requires", "name"}
                assert pipeline(config).steps(job, **given)
                image = "ubuntu-2404:current" if "executor" in given else "cimg/python:3.12"
                assert pipeline(config).container(job, **given) == image


def test_the_pages_show_the_orbs_examples() -> None:
    examples = [yaml.safe_load((EXAMPLES / f"{name}.yml").read_text())["usage"] for name in ("first-use", "whole")]

    assert documented("docs/circleci.md")[:2] == examples
    assert documented("README.md")[0] == examples[0]
    assert len(yaml.safe_dump(examples[0]).splitlines()) <= 7


def test_the_machine_may_be_ones_own() -> None:
    executor = {"name": "reconciler/default", "image": "registry.example.org/reconciler:1"}
    config = {"orbs": {"reconciler": REFERENCE}}

    assert pipeline(config).container("reconciler/preview", executor=executor) == "registry.example.org/reconciler:1"


class TestPacking:
    """As `circleci orb pack` does it."""

    def packed(self, folder: Path) -> Any:
        config = folder / "config.yml"
        config.write_text("version: 2.1\norbs:\n  reconciler: {}\nworkflows: {}\n")
        ended = inline(folder, config)
        assert ended.returncode == 0, ended.stderr
        return yaml.safe_load(config.read_text())["orbs"]["reconciler"]

    def test_files_are_named_by_their_names(self, tmp_path: Path) -> None:
        an_orb(
            tmp_path,
            **{
                "@orb.yml": "version: 2.1\ncommands: { one: { steps: [checkout] } }\n",
                "commands/two.yml": "steps: [checkout]\n",
                "commands/three.yaml": "steps: [checkout]\n",
                "commands/README.md": "Not one of them.\n",
                "elsewhere/four.yml": "steps: [checkout]\n",
            },
        )

        assert self.packed(tmp_path)["commands"].keys() == {"one", "two", "three"}

    def test_a_script_is_included_as_it_is(self, tmp_path: Path) -> None:
        script = 'cat << END > "$file"\n  two  blanks\nEND\n'
        run = "steps: [{ run: { command: << include(scripts/it.sh) >> } }]\n"
        an_orb(tmp_path, **{"commands/write.yml": run, "scripts/it.sh": script})

        command = self.packed(tmp_path)["commands"]["write"]["steps"][0]["run"]["command"]

        assert command == script.replace("<<", "\\<<"), "or CircleCI would look for a parameter"

    @pytest.mark.parametrize(
        ("files", "says"),
        [
            ({"@orb.yml": "- a list\n"}, "a mapping is expected"),
            ({"jobs/one.yml": "steps: [\n"}, "one.yml"),
            ({"jobs/one.yml": "a: 1\n", "jobs/one.yaml": "a: 2\n"}, "there are two jobs named one"),
            ({"jobs/one.yml": "run: echo << include(scripts/a.sh) >>\n"}, "an include has to be all of its text"),
            ({"jobs/one.yml": "run: << include(scripts/none.sh) >>\n"}, "scripts/none.sh is no file of"),
            ({"jobs/one.yml": "run: << include(../secret) >>\n"}, "../secret is no file of"),
        ],
    )
    def test_what_cannot_be_packed_is_said(self, tmp_path: Path, files: dict[str, str], says: str) -> None:
        (tmp_path / "secret").write_text("s3cr3t")
        config = tmp_path / "config.yml"
        config.write_text("orbs:\n  reconciler: {}\n")

        ended = inline(an_orb(tmp_path / "orb", **files), config)

        assert ended.returncode == 1
        assert says in ended.stderr
        assert "Traceback" not in ended.stderr
        assert config.read_text() == "orbs:\n  reconciler: {}\n"

    @pytest.mark.parametrize(
        "before", ["reconciler: {}", "reconciler: acme/reconciler@1", "reconciler:\n    jobs: {}\n\n    commands: {}"]
    )
    def test_all_else_of_the_config_stays_as_it_is_written(self, tmp_path: Path, before: str) -> None:
        config = tmp_path / "config.yml"
        written = (
            f"version: 2.1 # ours\n\norbs: # two\n  other: acme/other@1\n  {before}\n  third: acme/third@1\n\njobs: #\n"
        )
        config.write_text(written)
        an_orb(tmp_path / "orb", **{"jobs/one.yml": "steps: [checkout]\n"})

        assert inline(tmp_path / "orb", config).returncode == 0

        text = config.read_text()
        head, tail = written.split(f"  {before}\n")
        assert text.startswith(head)
        assert text.endswith(tail)
        assert yaml.safe_load(text)["orbs"]["reconciler"] == {"jobs": {"one": {"steps": ["checkout"]}}}
        assert inline(tmp_path / "orb", config, "--check").returncode == 0

    def test_an_orb_alone_may_stand_on_one_line(self, tmp_path: Path) -> None:
        config = tmp_path / "config.yml"
        config.write_text(f"version: 2.1\norbs: {{ reconciler: {REFERENCE} }} # ours\njobs: {{}}\n")
        an_orb(tmp_path / "orb", **{"jobs/one.yml": "steps: [checkout]\n"})

        assert inline(tmp_path / "orb", config).returncode == 0

        orb = {"jobs": {"one": {"steps": ["checkout"]}}}
        assert yaml.safe_load(config.read_text()) == {"version": 2.1, "orbs": {"reconciler": orb}, "jobs": {}}

    def test_a_config_that_is_not_up_to_date_fails_the_check_and_stays(self, tmp_path: Path) -> None:
        config = tmp_path / "config.yml"
        config.write_text("orbs:\n  reconciler: {}\n")
        an_orb(tmp_path / "orb", **{"jobs/one.yml": "steps: [checkout]\n"})

        checked = inline(tmp_path / "orb", config, "--check")

        assert checked.returncode == 1
        assert "make config" in checked.stderr
        assert config.read_text() == "orbs:\n  reconciler: {}\n"

    @pytest.mark.parametrize(
        "config",
        [
            "version: 2.1\n", "orbs: {}\n", "orbs:\n  a: b\njobs:\n  reconciler: {}\n", "",
            "orbs: {reconciler: acme/reconciler@1, other: acme/other@1}\n", "orbs: {reconciler: {}}\n",
        ],
    )  # fmt: skip
    def test_a_config_without_the_orb_says_what_it_needs(self, tmp_path: Path, config: str) -> None:
        (tmp_path / "config.yml").write_text(config)

        ended = inline(an_orb(tmp_path / "orb"), tmp_path / "config.yml")

        assert ended.returncode == 1
        assert "no `orbs:` with a `reconciler:`" in ended.stderr
        assert "    orbs:\n      reconciler: {}\n" in ended.stderr
