"""What an installer gets, from a clone or a git address, is all that runs need, far away from the source."""

from __future__ import annotations

import os
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import reconciler

if TYPE_CHECKING:
    from tests.integration.installing.conftest import Installed, NewEnvironment

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def wheel(source: Path, new_environment: NewEnvironment, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    left = source / "build/lib/reconciler/deleted_since.py"  # by an older setuptools, of an older commit
    left.parent.mkdir(parents=True)
    left.touch()
    environment = new_environment()
    options = ("--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder))
    built = environment.run(str(environment.python), "-m", "pip", "wheel", *options, str(source))
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, new_environment: NewEnvironment) -> Installed:
    environment = new_environment()
    environment.pip(str(wheel))
    return environment


@pytest.fixture
def fleet(source: Path, tmp_path: Path) -> Path:
    """A repository with this project's images and nothing of its code."""
    folder = tmp_path / "fleet"
    shutil.copytree(source / "desired", folder / "desired")
    for arguments in (["init", "--quiet", "-b", "main"], ["add", "--all"], ["commit", "--quiet", "-m", "Declare"]):
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
        subprocess.run(["git", *identity, *arguments], cwd=folder, check=True)
    return folder


def test_the_wheel_has_every_file_of_the_package_and_no_other(source: Path, wheel: Path) -> None:
    listed = subprocess.run(["git", "ls-files", "reconciler"], cwd=source, capture_output=True, text=True, check=True)

    with zipfile.ZipFile(wheel) as archive:
        packed = [name for name in archive.namelist() if ".dist-info/" not in name]

    assert sorted(packed) == sorted(listed.stdout.split())


def test_it_says_its_version_and_its_extras(installed: Installed) -> None:
    ask = "from importlib.metadata import metadata; print(metadata('reconciler').get_all('Provides-Extra'))"

    assert installed.run(str(installed.python), "-c", ask).stdout == "['sandbox', 'oci', 'vsphere', 'dev']\n"
    assert installed.reconciler("--version").stdout == f"reconciler, version {reconciler.__version__}\n"


def test_it_is_the_installed_one_that_runs(installed: Installed) -> None:
    found = installed.run(str(installed.python), "-c", "import reconciler; print(reconciler.__file__)").stdout

    assert found.startswith(str(installed.folder))


def test_it_validates_and_plans_a_fleet(installed: Installed, fleet: Path) -> None:
    validated = installed.reconciler("validate", cwd=fleet)
    planned = installed.reconciler("plan", "--offline", cwd=fleet)

    assert validated.returncode == 0, validated.stderr
    assert planned.stdout.startswith("3 of 3 images drifted: base (new), note (new), web (new)\n"), planned.stderr


@pytest.mark.parametrize("verb", ["status", "graph", "doctor", "sandbox", "demo", "reconcile", "verify", "history"])
def test_every_verb_is_there(installed: Installed, verb: str) -> None:
    ended = installed.reconciler(verb, "--help")

    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"Usage: reconciler {verb}")


def test_the_demo_away_from_a_clone_says_where_to_run_it(installed: Installed, fleet: Path) -> None:
    (fleet / "desired/base/base.pkr.hcl").unlink()

    ended = installed.reconciler("demo", cwd=fleet)

    assert ended.returncode == 1
    assert "run the demo in a clone of the reconciler's own repository" in ended.stderr


@pytest.mark.sandbox
@pytest.mark.skipif(os.geteuid() != 0, reason="the sandbox needs root")
def test_the_sandbox_starts_from_it(installed: Installed) -> None:
    started = installed.reconciler("sandbox", "start")

    assert started.returncode == 0, started.stderr
    assert "export AWS_CA_BUNDLE=" in started.stdout
    assert installed.reconciler("sandbox", "stop").returncode == 0


@pytest.mark.parametrize("way", ["a clone", "a clone, editable", "a git address", "a wheel"])
def test_the_hint_for_an_extra_is_a_command_that_works(
    new_environment: NewEnvironment, source: Path, wheel: Path, way: str
) -> None:
    given, named = {
        "a clone": ([str(source)], [f"{source}[sandbox]"]),
        "a clone, editable": (["--editable", str(source)], ["--editable", f"{source}[sandbox]"]),
        "a git address": ([f"git+{source.as_uri()}@main"], [f"{source}[sandbox]"]),
        "a wheel": ([str(wheel)], [f"reconciler[sandbox] @ {wheel.as_uri()}"]),
    }[way]
    environment = new_environment()
    environment.pip(*given)
    ask = "from reconciler.cli.installation import install_with; print(install_with('sandbox'))"

    hint = environment.run(str(environment.python), "-c", ask).stdout

    begins = f"install it with its extra: {environment.python} -m pip install "
    assert hint.startswith(begins)
    command = hint.removeprefix(begins)
    assert command.replace("'", "").split() == " ".join(named).split()
    again = environment.run(
        "bash", "-c", f"{environment.python} -m pip install --quiet --no-index --no-build-isolation {command}"
    )
    assert again.returncode == 0, again.stderr
