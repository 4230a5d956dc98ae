"""Items of a vCenter's content libraries, against VMware's simulator: found, marked, copied, retired."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.model.declaration import Settings
from reconciler.model.errors import ReconcilerError, Terminal, UserError
from reconciler.model.lockfile import Artifact
from reconciler.model.source import SourceRequest
from reconciler.plan.tags import own
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Opening, Registry
from reconciler.registries import open_registry
from reconciler.registries.vsphere.session import PASSWORD
from tests.vcenter import CREDENTIALS, Simulator

pytestmark = pytest.mark.vsphere

FLEET = "acme/images"
BUILD = f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-1a2b3c4"
NAME = f"web-{BUILD}"
MARKS = own(fleet=FLEET, image="web", build=BUILD)


@pytest.fixture
def home(vcenter: Simulator) -> str:
    return vcenter.library("golden images")


@pytest.fixture
def registry(vcenter: Simulator) -> Registry:
    del vcenter  # it sets what is signed in with
    return open_registry("vsphere", Opening(FLEET, Settings()))


@pytest.fixture
def web(vcenter: Simulator, registry: Registry, home: str) -> Artifact:
    """What Packer imported, marked. Its notes are somebody's."""
    vcenter.item(f"{NAME}-item", home, description="For the shop\nask Ada")
    (artifact,) = registry.store(home, [left(NAME)], name=NAME, tags=MARKS)
    return artifact


def left(name: str) -> Made:
    return Made("vsphere-iso.web", "jetbrains.vsphere", name)


def raw(vcenter: Simulator, item: str) -> dict[str, Any]:
    """An item as the vCenter has it."""
    return dict(vcenter.rest.ask("looking", "GET", f"com/vmware/content/library/item/id:{item}"))


def test_what_packer_imported_is_found_by_the_machines_name_and_is_the_fleets(
    registry: Registry, home: str, web: Artifact
) -> None:
    (seen,) = registry.observe([home]).artifacts

    assert (seen.id, seen.name, seen.state) == (web.id, f"{NAME}-item", "available")
    assert {name: seen.tags[name] for name in MARKS} == MARKS
    assert registry.find(home, web.id) == seen
    assert registry.named(home, seen.name) == (seen,)


def test_marks_are_the_last_line_of_the_notes_and_leave_the_rest_as_it_is(
    vcenter: Simulator, registry: Registry, home: str, web: Artifact
) -> None:
    registry.tag(web, {**own(key="sha256:1"), "CostCenter": "42"})

    *words, line = raw(vcenter, web.id)["description"].splitlines()
    assert words == ["For the shop", "ask Ada"]
    told = json.loads(line.removeprefix("reconciler: "))
    assert told["tags"] == {**MARKS, **own(key="sha256:1"), "CostCenter": "42"}
    seen = registry.find(home, web.id)
    assert seen is not None
    assert seen.complete


def test_what_is_another_builds_or_was_there_before_is_not_marked(
    vcenter: Simulator, registry: Registry, home: str, web: Artifact
) -> None:
    later = f"{datetime.now(UTC) + timedelta(hours=1):%Y%m%dT%H%M%SZ}-1a2b3c4"
    vcenter.item("payroll", home)

    for name, tags in ((NAME, own(fleet=FLEET, image="api", build=BUILD)), ("payroll", {**MARKS, **own(build=later)})):
        with pytest.raises(UserError, match="no item of this build"):
            registry.store(home, [left(name)], name=name, tags=tags)
    vcenter.item(f"{NAME}-twice", home)
    vcenter.item(f"{NAME}-thrice", home)
    with pytest.raises(UserError, match=r"has 2 items|has 3 items"):
        registry.store(home, [left(NAME)], name=NAME, tags={**MARKS})


def test_a_copy_in_another_library_has_marks_of_its_own_and_is_made_once(
    vcenter: Simulator, registry: Registry, home: str, web: Artifact
) -> None:
    office = vcenter.library("office")
    registry.tag(web, {**own(key="sha256:1"), "CostCenter": "42"})

    made = registry.copy(web, to=office, name=NAME, tags=MARKS, token="t")
    again = registry.copy(web, to=office, name=NAME, tags=MARKS, token="t")

    assert made == again != web.id
    seen = registry.wait_available(office, made, timeout=1)
    assert dict(seen.tags) == {**MARKS, "CostCenter": "42"}
    assert not seen.complete, "it has not the key of what it is a copy of"
    assert registry.find(home, made) is None


def test_a_vm_template_and_a_folder_are_not_copied_to(
    vcenter: Simulator, registry: Registry, home: str, web: Artifact
) -> None:
    office = vcenter.library("office")
    machine = web.model_copy(update={"id": vcenter.item("vmtx", home, form="vm-template")})
    with pytest.raises(UserError, match="is a VM template, which no library copies"):
        registry.copy(machine, to=office, name=NAME, tags=MARKS, token="t")
    with pytest.raises(UserError, match="neither is copied to the other"):
        registry.copy(web, to=vcenter.folder("templates"), name=NAME, tags=MARKS, token="t")


def test_what_is_retired_is_gone_and_what_is_not_ours_stays(
    vcenter: Simulator, registry: Registry, home: str, web: Artifact
) -> None:
    theirs = web.model_copy(update={"id": vcenter.item("payroll", home)})
    with pytest.raises(Terminal, match="is not retired"):
        registry.retire(theirs, image="web")
    with pytest.raises(Terminal, match="is not retired"):
        registry.retire(web, image="api")

    registry.retire(web, image="web")
    registry.retire(web, image="web")

    assert registry.find(home, web.id) is None
    assert registry.find(home, theirs.id) is not None


def test_an_item_whose_content_is_another_by_now_can_not_be_used(
    vcenter: Simulator, registry: Registry, home: str, web: Artifact
) -> None:
    line = raw(vcenter, web.id)["description"].splitlines()[-1]
    told = json.loads(line.removeprefix("reconciler: "))
    before = f"reconciler: {json.dumps({**told, 'version': '0'})}"
    path = f"com/vmware/content/library/item/id:{web.id}"
    vcenter.rest.ask("arranging a test", "PATCH", path, {"update_spec": {"description": before}})

    (seen,) = registry.observe([home]).artifacts

    assert seen.state == "unusable"


@pytest.mark.parametrize(
    "line",
    ["reconciler: {", "reconciler: []", 'reconciler: {"tags": 1}', "reconciler: null", f"reconciler: {'[' * 1900}"],
)
def test_whatever_somebody_wrote_in_the_notes_is_no_mark(
    vcenter: Simulator, registry: Registry, home: str, line: str
) -> None:
    item = vcenter.item("payroll", home, description=f"notes\n{line}")

    seen = registry.find(home, item)

    assert seen is not None
    assert (seen.tags, seen.state) == ({}, "available")
    assert registry.observe([home]).artifacts == ()


def test_half_a_character_in_the_notes_is_shown_as_its_escape(
    vcenter: Simulator, registry: Registry, home: str
) -> None:
    item = vcenter.item("payroll", home)
    line = f'reconciler: {{"of": "{item}", "tags": {{"reconciler:fleet": "{FLEET}", "Owner": "\\ud800"}}}}'
    path = f"com/vmware/content/library/item/id:{item}"
    vcenter.rest.ask("arranging a test", "PATCH", path, {"update_spec": {"description": line}})

    (seen,) = registry.observe([home]).artifacts

    assert seen.tags["Owner"] == r"\ud800"


def test_marks_that_a_description_does_not_hold_are_refused_with_their_size(registry: Registry, web: Artifact) -> None:
    with pytest.raises(Terminal, match=r"take \d{4} bytes, and its description holds 2000"):
        registry.tag(web, {f"tag-{number}": "x" * 200 for number in range(10)})


def test_a_library_that_is_not_there_or_may_not_be_read_is_unknown(
    vcenter: Simulator, registry: Registry, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = f"vsphere://{vcenter.host}/content-library/none"
    assert "there is none" in registry.observe([gone]).unreadable[gone]
    monkeypatch.setenv(PASSWORD, "a-wrong-one")
    another = open_registry("vsphere", Opening(FLEET, Settings()))
    assert "the credentials are not accepted" in another.observe([home]).unreadable[home]


def test_a_session_that_ended_is_begun_anew_and_nobody_notices(registry: Registry, home: str, web: Artifact) -> None:
    # Given that somebody ends the registry's session
    rest = registry._libraries(home)._rest  # type: ignore[attr-defined]  # only a Registry by its declared type
    rest.sign_out()

    assert [one.id for one in registry.observe([home]).artifacts] == [web.id]


def test_a_vcenter_that_is_not_there_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    registry = open_registry("vsphere", Opening(FLEET, Settings()))
    nowhere = "vsphere://127.0.0.1:1/content-library/golden"
    assert "can't be reached" in registry.observe([nowhere]).unreadable[nowhere]
    with pytest.raises(ReconcilerError):
        registry.find(nowhere, "50054f38-0d3c-4b1e-9c55-f4ab1c7b6f0a")


def test_a_source_of_what_is_built_for_a_library_is_looked_up_in_the_inventory(
    vcenter: Simulator, registry: Registry, home: str
) -> None:
    vcenter.template("debian-12", vcenter.folder("base"))
    asked = SourceRequest.model_validate({"vsphere": "base/debian-12"})

    pin = registry.resolve(asked, location=home)

    assert pin.upstream is not None
    assert registry.given(home, pin.upstream.id) == "/DC0/vm/base/debian-12"
