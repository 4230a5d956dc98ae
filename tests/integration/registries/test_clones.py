"""A template is tested as a clone of it that runs beside it: VMware's simulator, in which a test plays the guest."""

from __future__ import annotations

import base64
import json
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.declaration import Settings
from reconciler.model.errors import Terminal, Transient
from reconciler.model.lockfile import Artifact
from reconciler.plan.tags import at_birth, own
from reconciler.ports.bench import LIFE, BootRequest, Instance
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Opening, Registry
from reconciler.registries import open_registry
from reconciler.registries.vsphere.bench import Clones
from reconciler.registries.vsphere.inventory import TESTED
from reconciler.registries.vsphere.session import vim
from tests.vcenter import CREDENTIALS, Simulator

pytestmark = [pytest.mark.vsphere, pytest.mark.long]

FLEET = "acme/images"
BUILD = "20261122T101530Z-1a2b3c4"
ADDRESS = "192.0.2.7"


@pytest.fixture
def home(vcenter: Simulator) -> str:
    return vcenter.folder("templates")


@pytest.fixture
def registry(vcenter: Simulator) -> Registry:
    del vcenter  # it sets what is signed in with
    return open_registry("vsphere", Opening(FLEET, Settings()))


@pytest.fixture
def web(vcenter: Simulator, registry: Registry, home: str) -> Artifact:
    """A template that Packer left, marked."""
    vcenter.template("web-1", home)
    made = Made("vsphere-clone.web", "jetbrains.vsphere", "web-1")
    (artifact,) = registry.store(home, [made], name="web-1", tags=own(fleet=FLEET, image="web", build=BUILD))
    return artifact


@pytest.fixture
def bench(vcenter: Simulator) -> Clones:
    del vcenter
    return Clones(fleet=FLEET, environment=CREDENTIALS, every=0.05)


@pytest.fixture
def request_(web: Artifact, tmp_path: Path) -> BootRequest:
    return BootRequest(
        artifact=web, name=f"web-{BUILD}", user="ada", instance_types=(), subnets=(), allow_from=("0.0.0.0/0",),
        tags=at_birth(fleet=FLEET, image="web", build_id=BUILD, run_id="7"), timeout=30, private_key=tmp_path / "key",
    )  # fmt: skip


@pytest.fixture
def booted(vcenter: Simulator, bench: Clones, request_: BootRequest) -> Iterator[Instance]:
    with vcenter.guests(lambda _: ADDRESS):
        instance = bench.boot(request_)
    yield instance
    bench.terminate(instance)


def machines(vcenter: Simulator, location: str) -> set[str]:
    """The names of what is in a folder."""

    def names(content: Any) -> set[str]:
        folder = content.searchIndex.FindByInventoryPath(vcenter.at(location))
        return {str(one.name) for one in folder.childEntity}

    return vcenter.ask(names)


def test_a_clone_runs_beside_its_template_and_is_told_who_may_log_in(
    vcenter: Simulator, bench: Clones, registry: Registry, web: Artifact, booted: Instance
) -> None:
    told = vcenter.configuration(booted.id)
    user_data = base64.b64decode(told["guestinfo.userdata"]).decode()
    metadata = json.loads(base64.b64decode(told["guestinfo.metadata"]))

    assert (bench.state(booted), booted.address, booted.user, booted.type) == ("running", ADDRESS, "ada", "clone")
    assert stat.S_IMODE(booted.private_key.stat().st_mode) == 0o600
    assert user_data.startswith("#cloud-config\n")
    assert "ssh-ed25519 " in user_data
    assert "PRIVATE" not in str(told)
    assert metadata["instance-id"].startswith(f"web-{BUILD}-")
    assert {told[f"guestinfo.{name}.encoding"] for name in ("userdata", "metadata")} == {"base64"}
    (seen,) = registry.observe([web.location]).artifacts
    assert seen.id == web.id, "a clone is no artifact of the fleet's"
    assert [one.id for one in registry.unmanaged(web.location) or ()] == []


def test_what_marks_a_clone_is_where_its_guest_cannot_write(vcenter: Simulator, booted: Instance) -> None:
    told = vcenter.configuration(booted.id)

    assert (told["reconciler.fleet"], told["reconciler.run"]) == (FLEET, "7")
    assert {name for name in told if name.startswith("guestinfo.")} == {
        f"guestinfo.{name}" for name in ("metadata", "metadata.encoding", "userdata", "userdata.encoding")
    }


def test_a_template_with_a_snapshot_shares_its_disks_with_the_clone(
    vcenter: Simulator, bench: Clones, request_: BootRequest, monkeypatch: pytest.MonkeyPatch, home: str
) -> None:
    specs: list[Any] = []
    plain = vim.VirtualMachine.CloneVM_Task

    def noted(self: Any, **asked: Any) -> Any:
        specs.append(asked["spec"])
        return plain(self, **asked)

    monkeypatch.setattr(vim.VirtualMachine, "CloneVM_Task", noted)
    vcenter.snapshot(f"{home}/web-1")

    with vcenter.guests(lambda _: ADDRESS):
        instance = bench.boot(request_)

    bench.terminate(instance)
    (spec,) = specs
    assert instance.type == "linked clone"
    assert spec.location.diskMoveType == "createNewChildDiskBacking"
    assert spec.snapshot is not None


def test_a_clone_that_was_tested_is_gone_with_its_key_and_again_is_no_error(
    vcenter: Simulator, bench: Clones, home: str, booted: Instance
) -> None:
    for _ in range(2):
        bench.terminate(booted)

    assert bench.state(booted) == "missing"
    assert machines(vcenter, home) == {"web-1"}
    assert not booted.private_key.exists()


@pytest.mark.parametrize("told", ["", "no-address", "fe80::1"])
def test_what_gets_no_address_is_an_image_to_look_at_and_nothing_of_it_stays(
    vcenter: Simulator, bench: Clones, request_: BootRequest, home: str, told: str
) -> None:
    with vcenter.guests(lambda _: told), pytest.raises(Transient, match="no address after 1 s: its VMware Tools"):
        bench.boot(replace(request_, timeout=1))

    assert machines(vcenter, home) == {"web-1"}
    assert not request_.private_key.exists()


def test_a_run_that_is_interrupted_leaves_no_clone(vcenter: Simulator, request_: BootRequest, home: str) -> None:
    cancelled = threading.Event()
    bench = Clones(fleet=FLEET, environment=CREDENTIALS, cancelled=cancelled, every=0.05)

    def interrupt(_: object) -> str:
        cancelled.set()
        return ""

    with vcenter.guests(interrupt), pytest.raises(Transient, match=r"interrupted|not waited for"):
        bench.boot(request_)

    assert machines(vcenter, home) == {"web-1"}


def test_a_right_that_lacks_is_named_and_nothing_stays(
    vcenter: Simulator, bench: Clones, request_: BootRequest, home: str
) -> None:
    vcenter.fails("PowerOnVM_Task", "permission")

    with pytest.raises(Terminal, match="not allowed"):
        bench.boot(request_)

    assert machines(vcenter, home) == {"web-1"}
    assert not request_.private_key.exists()


def test_a_session_that_ends_in_the_middle_makes_no_second_clone(
    vcenter: Simulator, bench: Clones, request_: BootRequest, home: str
) -> None:
    vcenter.fails("PowerOnVM_Task", "session")

    with vcenter.guests(lambda _: ADDRESS):
        instance = bench.boot(request_)

    assert len(machines(vcenter, home)) == 2
    bench.terminate(instance)


def test_what_is_not_there_is_not_cloned(bench: Clones, request_: BootRequest, web: Artifact) -> None:
    gone = web.model_copy(update={"id": "00000000-0000-0000-0000-000000000000"})

    with pytest.raises(Terminal, match="is not in"):
        bench.boot(replace(request_, artifact=gone))


@contextmanager
def left_behind(vcenter: Simulator, bench: Clones, request_: BootRequest) -> Iterator[Instance]:
    with vcenter.guests(lambda _: ADDRESS):
        yield bench.boot(request_)


def test_what_a_killed_run_left_is_swept_after_its_time_and_not_before(
    vcenter: Simulator, bench: Clones, request_: BootRequest, home: str
) -> None:
    with left_behind(vcenter, bench, request_) as left:
        now = datetime.now(UTC)

    assert bench.sweep(home, now=now + LIFE - timedelta(minutes=1)) == ()
    assert bench.sweep(home, now=now + LIFE + timedelta(minutes=1)) == (left.id,)

    assert machines(vcenter, home) == {"web-1"}
    assert bench.sweep(home, now=now + 2 * LIFE) == ()


def test_what_is_another_fleets_or_a_persons_is_never_swept(
    vcenter: Simulator, bench: Clones, request_: BootRequest, home: str
) -> None:
    vcenter.template(f"{TESTED}of-somebody", home)
    others = Clones(fleet="acme/other", environment=CREDENTIALS, every=0.05)
    theirs = replace(request_, tags=at_birth(fleet="acme/other", image="web", build_id=BUILD, run_id="8"))
    with left_behind(vcenter, others, theirs) as running:
        later = datetime.now(UTC) + 3 * LIFE

    assert bench.sweep(home, now=later) == ()

    assert len(machines(vcenter, home)) == 3
    others.terminate(running)


def test_where_the_vcenter_is_lost_nothing_is_known_and_nothing_swept(
    vcenter: Simulator, bench: Clones, booted: Instance, home: str
) -> None:
    vcenter.fails("RetrievePropertiesEx", "down", times=2)

    with pytest.raises(Transient):
        bench.sweep(home, now=datetime.now(UTC) + 3 * LIFE)
    with pytest.raises(Transient):
        bench.state(booted)

    assert bench.state(booted) == "running"
    assert bench.console(booted) == ()
