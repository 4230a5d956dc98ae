"""What a vCenter alone can do: a session that ends, a right that lacks, a name that is taken, a clone's marks."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.model.declaration import Settings
from reconciler.model.errors import NoCredentials, Terminal, Transient, UserError
from reconciler.model.lockfile import Artifact
from reconciler.model.source import SourceRequest
from reconciler.plan.tags import own
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Opening, Registry, Remains
from reconciler.registries import open_registry
from reconciler.registries.router import Registries
from reconciler.registries.vsphere import session
from reconciler.registries.vsphere.session import INSECURE, PASSWORD, USER, VCenter
from tests.vcenter import CREDENTIALS, Simulator, simulator

pytestmark = pytest.mark.vsphere

FLEET = "acme/images"
MARKS = own(fleet=FLEET, image="web", build="20261122T101530Z-1a2b3c4", key="sha256:1")


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
    (artifact,) = registry.store(home, [left("web-1")], name="web-1", tags=MARKS)
    return artifact


def left(name: str) -> Made:
    return Made("vsphere-clone.web", "jetbrains.vsphere", name)


def asked(source: str) -> SourceRequest:
    return SourceRequest.model_validate({"vsphere": source})


def end_all_sessions_but_ones_own(content: Any) -> None:
    own_session = content.sessionManager.currentSession.key
    others = [one.key for one in content.sessionManager.sessionList if one.key != own_session]
    assert others
    content.sessionManager.TerminateSession(others)


def sessions(content: Any) -> int:
    return len(content.sessionManager.sessionList)


def signed_in(vcenter: Simulator) -> VCenter:
    somebody = VCenter(vcenter.host, CREDENTIALS, threading.Event())
    somebody.ask("signing in", sessions)
    return somebody


def test_a_session_ends_when_who_began_it_goes(vcenter: Simulator) -> None:
    before = vcenter.ask(sessions)
    somebody = signed_in(vcenter)
    during = vcenter.ask(sessions)

    del somebody

    assert (during, vcenter.ask(sessions)) == (before + 1, before)


def test_a_vcenter_that_is_gone_before_its_session_ended_harms_no_other(vcenter: Simulator) -> None:
    with simulator() as other:
        somebody = signed_in(other)

    del somebody

    assert signed_in(vcenter).ask("looking", sessions)


def test_a_session_that_ended_is_begun_anew_and_nobody_notices(
    vcenter: Simulator, registry: Registry, home: str, web: Artifact
) -> None:
    vcenter.ask(end_all_sessions_but_ones_own)

    assert [seen.id for seen in registry.observe([home]).artifacts] == [web.id]


def test_a_session_that_ends_again_and_again_leaves_the_location_unread(
    vcenter: Simulator, registry: Registry, home: str, web: Artifact
) -> None:
    vcenter.fails("RetrievePropertiesEx", "session", times=4)

    seen = registry.observe([home])

    assert not seen.artifacts
    assert "the session ended" in seen.unreadable[home]
    with pytest.raises(Transient):
        registry.find(home, web.id)


def test_a_right_that_lacks_is_named_and_nothing_is_deleted(
    vcenter: Simulator, registry: Registry, home: str, web: Artifact
) -> None:
    vcenter.fails("Destroy_Task", "permission")

    with pytest.raises(Terminal, match=r"VirtualMachine\.Inventory\.Delete"):
        registry.retire(web, image="web")

    assert registry.find(home, web.id) is not None


def test_what_was_there_before_the_build_is_not_marked_whatever_packer_says(
    vcenter: Simulator, registry: Registry, home: str
) -> None:
    # Given another team's template, and a build that begins later, whose Packer says that this is what it made
    vcenter.template("payroll", home)
    (before,) = registry.named(home, "payroll")
    later = f"{datetime.now(UTC) + timedelta(hours=1):%Y%m%dT%H%M%SZ}-1a2b3c4"

    with pytest.raises(Terminal, match="was there before"):
        registry.store(home, [left("payroll")], name=f"web-{later}", tags={**MARKS, **own(build=later)})

    assert registry.named(home, "payroll") == (before,)


def test_a_copy_under_a_name_that_another_template_has_is_refused_and_that_one_stays_as_it_is(
    vcenter: Simulator, registry: Registry, web: Artifact
) -> None:
    elsewhere = vcenter.folder("copies")
    vcenter.template("web-1", elsewhere)
    before = registry.named(elsewhere, "web-1")

    with pytest.raises(Terminal, match="has another web-1"):
        registry.copy(web, to=elsewhere, name="web-1", tags=MARKS, token="t")

    assert registry.named(elsewhere, "web-1") == before


@pytest.mark.parametrize("ends", [r"^web-1$", r"^web-1-[0-9a-f]{8}$"])
def test_what_somebody_put_where_a_copy_is_to_be_is_no_copy(
    vcenter: Simulator, registry: Registry, web: Artifact, ends: str
) -> None:
    # Given a template of somebody's, with the name that a copy is to have, or has until it is marked, and our marks
    elsewhere, names = vcenter.folder("copies"), vcenter.folder("names")
    vcenter.fails("SetField", "down")
    with pytest.raises(Transient):
        registry.copy(web, to=names, name="web-1", tags=MARKS, token="t")
    draft = vcenter.ask(lambda content: content.searchIndex.FindByInventoryPath("DC0/vm/names").childEntity[0].name)
    (name,) = [one for one in ("web-1", draft) if re.match(ends, one)]
    vcenter.template(name, elsewhere)
    (theirs,) = registry.named(elsewhere, name)
    registry.tag(theirs, MARKS)

    with pytest.raises(Terminal, match="is no copy of"):
        registry.copy(web, to=elsewhere, name="web-1", tags=MARKS, token="t")


def test_a_copy_whose_marks_could_not_be_set_is_the_same_one_when_it_is_asked_for_again(
    vcenter: Simulator, registry: Registry, web: Artifact
) -> None:
    elsewhere = vcenter.folder("copies")
    vcenter.fails("SetField", "down")
    with pytest.raises(Transient):
        registry.copy(web, to=elsewhere, name="web-1", tags=MARKS, token="t")
    assert registry.observe([elsewhere]).artifacts == ()

    copy = registry.copy(web, to=elsewhere, name="web-1", tags=MARKS, token="t")

    (seen,) = registry.named(elsewhere, "web-1")
    assert (seen.id, dict(seen.tags)) == (copy, MARKS)


def test_a_copy_for_which_there_is_no_room_may_work_the_next_time(
    vcenter: Simulator, registry: Registry, web: Artifact
) -> None:
    elsewhere = vcenter.folder("copies")
    vcenter.fails("CloneVM_Task", "space")

    with pytest.raises(Transient):
        registry.copy(web, to=elsewhere, name="web-1", tags=MARKS, token="t")


def test_a_copy_goes_to_no_other_vcenter(registry: Registry, web: Artifact) -> None:
    with pytest.raises(UserError, match="two vCenters"):
        registry.copy(web, to="vsphere://other.example.org/DC0/vm/templates", name="web-1", tags=MARKS, token="t")


def by_another_name(location: str) -> str:
    return location.replace("127.0.0.1", "localhost")


def test_a_vcenter_by_two_names_is_one_and_two_are_two(registry: Registry, home: str, vcenter: Simulator) -> None:
    with simulator() as other:
        assert registry.is_same(home, by_another_name(home))
        assert not registry.is_same(home, home.replace(vcenter.host, other.host))
        assert not registry.is_same(home, by_another_name(vcenter.folder("elsewhere")))


def test_which_vcenter_it_is_can_not_be_said_of_one_that_is_down(registry: Registry, home: str) -> None:
    with simulator() as other:
        gone = other.host
    with pytest.raises(Transient):
        registry.is_same(home, f"vsphere://{gone}/DC0/vm/templates")


def test_what_a_declared_folder_has_by_another_host_is_not_destroyed(registry: Registry, web: Artifact) -> None:
    kept = by_another_name(web.location)
    fleet = Registries(dict.fromkeys((web.location, kept), "vsphere"), lambda _: registry, declared={"web": (kept,)})

    assert kept in fleet.retire(web, image="web").stays

    assert registry.find(kept, web.id) is not None
    by_one_name = Registries({web.location: "vsphere"}, lambda _: registry)
    assert by_one_name.retire(web, image="web") == Remains()
    assert registry.find(kept, web.id) is None


def test_a_clone_that_was_born_with_its_origins_marks_is_not_its_origin(
    vcenter: Simulator, registry: Registry, home: str, web: Artifact
) -> None:
    """A vCenter gives a clone the attributes of its origin; the simulator does not, so that they are set here."""
    vcenter.template("child-1", home, of=f"{vcenter.at(home)}/web-1")

    def inherit(content: Any) -> None:
        parent, child = (
            content.searchIndex.FindByInventoryPath(f"{vcenter.at(home)}/{n}") for n in ("web-1", "child-1")
        )
        for mark in parent.customValue:
            content.customFieldsManager.SetField(child, mark.key, mark.value)

    vcenter.ask(inherit)
    assert [seen.id for seen in registry.observe([home]).artifacts] == [web.id]

    birth = own(fleet=FLEET, image="child", build="20261122T101530Z-5d6e7f8")
    (child,) = registry.store(home, [left("child-1")], name="child-1", tags=birth)

    found = registry.find(home, child.id)
    assert found is not None
    assert dict(found.tags) == birth
    assert not found.complete


def test_what_packer_calls_by_the_name_of_another_build_is_not_marked_anew(
    registry: Registry, home: str, web: Artifact
) -> None:
    with pytest.raises(Terminal, match="another build's"):
        registry.store(home, [left("web-1")], name="web-1", tags={**MARKS, **own(build="20261123T101530Z-1a2b3c4")})

    found = registry.find(home, web.id)
    assert found is not None
    assert dict(found.tags) == MARKS


def test_runs_that_mark_at_once_define_each_attribute_once(vcenter: Simulator, home: str) -> None:
    names = [f"web-{number}" for number in range(4)]
    for name in names:
        vcenter.template(name, home)

    def mark(name: str) -> None:
        one = open_registry("vsphere", Opening(FLEET, Settings()))
        one.store(home, [left(name)], name=name, tags={**MARKS, "Name": name})

    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(mark, names))

    found = open_registry("vsphere", Opening(FLEET, Settings())).observe([home]).artifacts
    assert {seen.name: dict(seen.tags) for seen in found} == {name: {**MARKS, "Name": name} for name in names}
    defined = vcenter.ask(lambda content: [field.name for field in content.customFieldsManager.field])
    assert sorted(defined) == sorted({*MARKS, "Name", "reconciler:of"})


def test_an_attribute_that_is_taken_for_something_else_is_named(
    vcenter: Simulator, registry: Registry, web: Artifact
) -> None:
    vcenter.fails("AddCustomFieldDef", "taken")

    with pytest.raises(Terminal, match="CostCenter is defined, and not for virtual machines"):
        registry.tag(web, {"CostCenter": "42"})


def test_what_packer_made_somewhere_else_is_missed_with_words(registry: Registry, home: str) -> None:
    with pytest.raises(UserError, match=r"web-1, which is not in vsphere://"):
        registry.store(home, [left("web-1")], name="web-1", tags=MARKS)


def test_what_no_builder_of_vsphere_left_is_not_looked_for(registry: Registry, home: str) -> None:
    assert registry.store(home, [Made("checksum", "packer.post-processor.checksum", "")], name="w", tags=MARKS) == ()


def test_a_source_is_pinned_by_what_identifies_it_and_given_by_its_path(
    vcenter: Simulator, registry: Registry, home: str
) -> None:
    base = vcenter.folder("base")
    vcenter.template("debian-12", base)
    path = f"/{vcenter.at(base)}/debian-12"
    (there,) = registry.named(base, "debian-12")

    pins = {str(registry.resolve(asked(it), location=home).upstream) for it in ("debian-12", path, "base/debian-12")}
    pin = registry.resolve(asked(path), location=home).upstream

    assert pin is not None
    assert (pin.word, pin.location, pin.name, pin.id.partition("@")[0]) == ("vsphere", base, "debian-12", there.id)
    assert pins == {str(pin)}
    assert registry.given(home, pin.id) == path
    assert registry.given(home, there.id) == path


def test_a_source_that_was_changed_since_it_was_pinned_is_not_built_on(
    vcenter: Simulator, registry: Registry, home: str
) -> None:
    vcenter.template("debian-12", home)
    pin = registry.resolve(asked("debian-12"), location=home).upstream
    assert pin is not None

    vcenter.annotate(f"{home}/debian-12", "somebody was here")
    with pytest.raises(UserError, match=r"\(debian-12\) was changed since"):
        registry.given(home, pin.id)

    vcenter.destroy(f"{home}/debian-12")
    with pytest.raises(UserError, match="is no longer there"):
        registry.given(home, pin.id)


def test_a_name_that_two_templates_have_is_no_source_until_its_path_is_given(
    vcenter: Simulator, registry: Registry, home: str
) -> None:
    for location in (home, vcenter.folder("base")):
        vcenter.template("debian-12", location)

    with pytest.raises(UserError, match="2 templates: /DC0/vm/base/debian-12, /DC0/vm/templates/debian-12"):
        registry.resolve(asked("debian-12"), location=home)
    with pytest.raises(UserError, match='"debian-13" is no template'):
        registry.resolve(asked("debian-13"), location=home)


def test_a_folder_that_is_not_there_is_unread_and_not_empty(registry: Registry, home: str) -> None:
    nowhere = home.replace("templates", "nowhere")

    assert "there is no folder" in registry.observe([nowhere]).unreadable[nowhere]


def test_a_template_whose_files_are_not_reached_is_unread_and_not_missing(
    vcenter: Simulator, registry: Registry, home: str, web: Artifact
) -> None:
    vcenter.is_now("web-1", "inaccessible")

    assert "web-1: nothing is told of it: it is inaccessible" in registry.observe([home]).unreadable[home]
    with pytest.raises(Transient):
        registry.retire(web, image="web")

    vcenter.is_now("web-1", "disconnected")
    assert [seen.id for seen in registry.observe([home]).artifacts] == [web.id]


def test_what_nobody_marked_may_be_in_any_state(vcenter: Simulator, registry: Registry, home: str) -> None:
    vcenter.template("somebodys", home)
    vcenter.is_now("somebodys", "orphaned")

    seen = registry.observe([home])

    assert (seen.artifacts, dict(seen.unreadable)) == ((), {})


def test_a_source_of_which_nothing_is_told_is_neither_gone_nor_another(
    vcenter: Simulator, registry: Registry, home: str
) -> None:
    vcenter.template("debian-12", home)
    pin = registry.resolve(asked("debian-12"), location=home).upstream
    assert pin is not None
    vcenter.is_now("debian-12", "inaccessible")

    with pytest.raises(Transient, match="may be debian-12: it is inaccessible"):
        registry.given(home, pin.id)
    with pytest.raises(Transient, match="does not tell what it is now"):
        registry.resolve(asked("debian-12"), location=home)


def test_a_vcenter_that_is_down_is_unread_and_not_empty(registry: Registry) -> None:
    down = "vsphere://127.0.0.1:1/DC0/vm/templates"

    assert "it can't be reached" in registry.observe([down]).unreadable[down]
    with pytest.raises(Transient):
        registry.find(down, "42")


@pytest.mark.parametrize("location", ["us-east-1", "/srv/images", "vsphere://host", "ghcr.io/acme/vm/web"])
def test_what_is_no_folder_of_a_vcenter_is_not_asked_for(registry: Registry, location: str) -> None:
    with pytest.raises(Terminal, match="no folder of a vCenter"):
        registry.find(location, "42")


def test_a_password_that_is_not_accepted_is_not_shown(
    registry: Registry, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PASSWORD, "a-wrong-password")

    with pytest.raises(Terminal, match="the credentials are not accepted") as refused:
        registry.find(home, "42")

    assert "a-wrong-password" not in str(refused.value)


@pytest.mark.parametrize("name", [USER, PASSWORD])
def test_without_credentials_that_is_what_is_said(
    registry: Registry, home: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv(name)

    with pytest.raises(NoCredentials, match="nothing to sign in"):
        registry.find(home, "42")
    assert isinstance(registry.observe([home]).refused, NoCredentials)


def test_a_certificate_that_nobody_vouches_for_is_trusted_only_where_that_is_asked_for(
    registry: Registry, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(INSECURE)

    with pytest.raises(Terminal, match="certificate is not trusted"):
        registry.find(home, "42")


def test_the_vcenter_tells_its_time(registry: Registry, home: str) -> None:
    told = registry.server_time(home)

    assert told is not None
    assert abs(told - datetime.now(UTC)) < timedelta(minutes=5)


def test_without_its_library_this_kind_alone_does_not_work(home: str) -> None:
    program = f"""
import sys
sys.modules["pyVmomi"] = None
from reconciler.model.declaration import Settings
from reconciler.ports.registry import Opening
from reconciler.registries import open_registry
from reconciler.registries.router import Registries
opened = lambda kind: open_registry(kind, Opening("f", Settings()))
both = Registries({{"{home}": "vsphere", "/nowhere": "disk"}}, opened)
seen = both.observe(["{home}", "/nowhere"])
print(*seen.unreadable.items())
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert "pyvmomi, which is not installed" in said
    assert "/nowhere" not in said


def test_the_simulator_signs_in_with_what_it_was_told(vcenter: Simulator) -> None:
    assert vcenter.ask(lambda content: content.sessionManager.currentSession.userName) == CREDENTIALS[USER]


def test_a_vcenter_that_never_answers_is_not_waited_for_without_end(
    registry: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "CALL", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        location = f"vsphere://127.0.0.1:{silent.getsockname()[1]}/DC0/vm/templates"

        assert "timed out" in registry.observe([location]).unreadable[location]
