"""What each kind needs beside its registry, asked of the real thing: whether it is there, and what to do where not."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.checks import DoctorContext, check_kinds
from reconciler.ports.needs import Asking, Need
from reconciler.registries import KINDS, needs_of
from reconciler.registries.disk.bench import PROGRAMS
from reconciler.registries.disk.files import unkeepable
from reconciler.registries.oci.engine import Engine, unreachable
from tests.integration.loop.mixed import MixedWorld, every_kind
from tests.vcenter import CREDENTIALS, Simulator

DOCS = Path(__file__).parents[3] / "docs" / "kinds.md"


def asked(
    kind: str, *locations: str, booted: bool = True, builders: tuple[str, ...] = (), environment: Mapping[str, str]
) -> list[Need]:
    asking = Asking(
        locations, dict.fromkeys(locations[:1], len(locations) > 1), booted, frozenset(builders), environment
    )
    return list(needs_of(kind, asking))


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder that programs are looked for in; empty."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.containers
def test_an_engine_that_runs_says_its_version_and_one_that_does_not_is_a_trouble(engine: None, tmp_path: Path) -> None:
    (runs,) = asked("oci", builders=("docker",), environment=os.environ)
    nowhere = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/nobody"}
    (down,) = asked("oci", builders=("docker",), environment=nowhere)

    assert (runs.state, runs.what.partition(": ")[0]) == ("ok", "the engine of docker runs")
    assert runs.what.rpartition(": ")[2][0].isdigit()
    assert (down.state, "Cannot connect" in down.what) == ("trouble", True)
    assert "DOCKER_HOST" in down.hint[0]
    refused = unreachable(Engine("docker", nowhere))
    assert refused is not None
    assert "Cannot connect" in refused.what
    assert unreachable(Engine("docker")) is None


@pytest.mark.containers
def test_each_engine_that_builds_or_tests_is_looked_for_and_no_other(tmp_path: Path) -> None:
    nothing = {"PATH": str(tmp_path)}

    several = asked("oci", builders=("podman",), environment=nothing)
    untested = asked("oci", builders=("podman",), booted=False, environment=nothing)

    assert [(one.state, one.what.partition(",")[0]) for one in several] == [
        ("trouble", "docker is not installed here"),
        ("trouble", "podman is not installed here"),
    ]
    assert [one.what.partition(" ")[0] for one in untested] == ["podman"]


def test_what_boots_a_disk_is_looked_for_and_that_it_is_slow_without_kvm_is_said(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = str(bare)
    lacking = asked("disk", store, environment=os.environ)
    for name in PROGRAMS:
        (bare / name).touch(mode=0o755)
    monkeypatch.setattr("reconciler.registries.disk.needs.why_not_kvm", lambda: "/dev/kvm can't be opened")
    (slow,) = asked("disk", store, environment=os.environ)
    monkeypatch.setattr("reconciler.registries.disk.needs.why_not_kvm", lambda: None)
    (quick,) = asked("disk", store, environment=os.environ)

    assert [one.state for one in lacking] == ["trouble"] * len(PROGRAMS)
    assert "apt-get install" in lacking[0].hint[0]
    assert (slow.state, "tcg" in slow.what, "/dev/kvm" in slow.hint[0]) == ("note", True, True)
    assert (quick.state, "on KVM" in quick.what) == ("ok", True)
    assert asked("disk", store, booted=False, environment=os.environ) == []


def test_a_folder_that_can_hold_no_disk_is_a_trouble_and_one_that_is_to_be_made_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    access = os.access
    full = str(tmp_path / "full")
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != full and access(path, mode))
    folders = [str(tmp_path / one) for one in ("there", "new", "away/new", "file", "file/new", "full", "full/new")]

    told = {one: asked("disk", one, booted=False, environment=os.environ) for one in [*folders, "s3://acme/web"]}

    states = {one: [need.state for need in needs] for one, needs in told.items()}
    assert list(states.values()) == [[], ["note"], *[["trouble"]] * 5, []]
    for location, needs in told.items():
        refused = unkeepable(location)
        assert (refused is not None) == (states[location] == ["trouble"])
        assert refused is None or [(refused.what, refused.hint)] == [(one.what, one.hint) for one in needs]
    assert "is it mounted" in told[folders[2]][0].what
    assert told[folders[2]][0].hint == (f"mount it, or make it: `mkdir -p {folders[2]}`",)


@pytest.mark.vsphere
def test_a_vcenter_says_which_privileges_lack_in_which_folder(
    vcenter: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    from reconciler.registries.vsphere.session import vim  # noqa: PLC0415 - where pyvmomi is

    home, office = vcenter.folder("templates"), vcenter.folder("office")
    (well,) = asked("vsphere", home, office, environment=CREDENTIALS)
    plain = vim.AuthorizationManager.HasPrivilegeOnEntities

    def refusing(self: Any, *words: Any) -> Any:
        answer = plain(self, *words)
        for one in answer[0].privAvailability:
            one.isGranted = one.privId not in ("VirtualMachine.Config.Rename", "VirtualMachine.Interact.PowerOn")
        return answer

    monkeypatch.setattr(vim.AuthorizationManager, "HasPrivilegeOnEntities", refusing)
    (lacks,) = asked("vsphere", home, office, environment=CREDENTIALS)

    assert (well.state, "its role is enough in 2 folders" in well.what) == ("ok", True)
    assert lacks.state == "trouble"
    assert lacks.hint[:2] == (
        f"{home}: VirtualMachine.Interact.PowerOn", f"{office}: VirtualMachine.Config.Rename",
    )  # fmt: skip


@pytest.mark.vsphere
def test_a_vcenter_that_does_not_take_the_login_or_is_not_there_is_a_trouble(vcenter: Simulator) -> None:
    home = vcenter.folder("templates")

    (wrong,) = asked("vsphere", home, environment={**CREDENTIALS, "VSPHERE_PASSWORD": "another"})
    (nobody,) = asked("vsphere", "vsphere://127.0.0.1:1/DC0/vm/templates", environment=CREDENTIALS)
    (unset,) = asked("vsphere", home, environment={})

    assert (wrong.state, "the credentials are not accepted" in wrong.what) == ("trouble", True)
    assert (nobody.state, "127.0.0.1:1" in nobody.what) == ("trouble", True)
    assert (unset.state, "VSPHERE_USER" in unset.hint[0]) == ("trouble", True)


@pytest.mark.vsphere
def test_every_privilege_that_is_asked_for_is_in_the_docs() -> None:
    from reconciler.registries.vsphere import needs  # noqa: PLC0415 - where pyvmomi is

    told = DOCS.read_text()
    for name in (*needs.EVERYWHERE, *needs.COPIED, *needs.COPIES, *needs.TESTED):
        assert f"`{name}`" in told, name


@pytest.mark.containers
def test_doctor_asks_for_each_kind_of_the_fleet_and_one_that_lacks_its_library_stops_no_other(
    own_home: None, bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given a fleet of every kind, and a machine on which there is none of what they need but git
    git = next(path for path in ("/usr/bin/git", "/usr/local/bin/git") if Path(path).exists())
    (bare / "git").symlink_to(git)
    world = MixedWorld.begin(tmp_path / "world", every_kind())
    monkeypatch.setitem(sys.modules, "pyVmomi", None)
    for name in [one for one in sys.modules if one.startswith("reconciler.registries.vsphere.")]:
        monkeypatch.delitem(sys.modules, name)

    found = list(check_kinds(DoctorContext(world.root / "person")))

    troubled = [one for one in found if one.state == "trouble"]
    assert {one.subject for one in troubled} == {kind for kind, entry in KINDS.items() if entry.needs}
    assert {one.what.partition(":")[2] for one in found if one not in troubled} <= {
        " the first disk that is kept in it makes it"
    }
    (library,) = (one for one in found if one.subject == "vsphere")
    assert "pyvmomi, which is not installed" in library.what
    assert any("extra `vsphere`" in line for line in library.hint)
