"""vCenters that answer without end, drip, or tell of what has no end; each on loopback, one of them VMware's own."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from http.client import HTTPException
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.parsers.expat import ExpatError

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.declaration import Settings
from reconciler.model.errors import Transient, UserError
from reconciler.model.source import SourceRequest
from reconciler.ports.registry import Opening
from reconciler.registries import open_registry
from reconciler.registries.allowance import UsedUp
from reconciler.registries.vsphere import inventory, library, session, wire
from reconciler.registries.vsphere.dialect import DIALECT
from reconciler.registries.vsphere.inventory import OF, datacenter_of, look, path_of
from reconciler.registries.vsphere.registry import VSphereRegistry
from reconciler.registries.vsphere.session import PASSWORD, PORT, SERVER, USER, credentials, trust, vim
from reconciler.registries.vsphere.wire import Connection
from tests.endless import MANY, Asked, Server, certificate_in, chunked, head, serving, whole, without_end
from tests.vcenter import CREDENTIALS, Simulator

SOAP = (
    b'<?xml version="1.0"?><e:Envelope xmlns:e="http://schemas.xmlsoap.org/soap/envelope/" '
    b'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><e:Body>'
    b'<RetrieveServiceContentResponse xmlns="urn:vim25"><returnval>'
)
Says = Callable[[Asked], Iterator[bytes]]


@pytest.fixture
def registry() -> VSphereRegistry:
    return VSphereRegistry(fleet="acme/images", environment=CREDENTIALS)


def unreadable(registry: VSphereRegistry, server: Server, path: str = "DC0/vm/templates") -> str:
    """Why a location there can't be read."""
    location = f"vsphere://{server.host}/{path}"
    return registry.observe([location]).unreadable.get(location, "")


# To whom.


@pytest.mark.parametrize("path", ["DC0/vm/templates", "content-library/templates"])
@pytest.mark.parametrize("meant", ["vcenter.example.org", "vcenter.example.org, other.example.org", "127.0.0.1"])
def test_a_password_is_shown_to_no_vcenter_but_those_it_is_for(tmp_path: Path, path: str, meant: str) -> None:
    # Given a branch that declares a location on a host of its author's
    registry = VSphereRegistry(fleet="acme/images", environment=CREDENTIALS | {SERVER: meant})
    with serving(lambda _: whole(b""), certificate=certificate_in(tmp_path)) as server:
        assert f"the credentials are those of {meant.split(',', maxsplit=1)[0]}" in unreadable(registry, server, path)
        assert not server.asked


@pytest.mark.parametrize(
    ("meant", "host"),
    [("VC.example.org", "vc.example.org:443"), ("a vc:8443", "vc:8443"), ("", "vc"), ("vc:443,b", "VC")],
)
def test_a_vcenter_is_meant_however_its_host_is_written(meant: str, host: str) -> None:
    assert credentials(CREDENTIALS | {SERVER: meant}, host) == (CREDENTIALS[USER], CREDENTIALS[PASSWORD])


@given(host=st.text("a1.:[]@%-", min_size=1, max_size=9) | st.text(min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_no_host_that_a_branch_declares_ends_the_run(host: str) -> None:
    for place in (f"vsphere://{host}/DC0/vm/x", f"vsphere://{host}/content-library/x"):
        # Given credentials that are for no host of that name, so that none is asked
        registry = VSphereRegistry(fleet="acme/images", environment=CREDENTIALS | {SERVER: "vcenter.example.org"})
        assert registry.observe([place]).unreadable.keys() == {place}
        if DIALECT.wrong_location(place) is None:
            try:
                Connection(host.partition(":")[0], int(host.partition(":")[2] or PORT))
            except (ValueError, HTTPException) as error:
                pytest.fail(f"it passes for a location: {error}")


# In time.


def in_headers(server: Server) -> Iterator[bytes]:
    yield b"HTTP/1.1 200 OK\r\nX-Slow: "
    yield from server.drips()


def before_headers(server: Server) -> Iterator[bytes]:
    yield from server.drips(piece=b"HTTP/1.1 100 Continue\r\n\r\n")


def in_an_element(server: Server) -> Iterator[bytes]:
    yield head(Content_Type="text/xml") + SOAP + b'<rootFolder type="Folder">'
    yield from server.drips(piece=b"x")


def in_blanks(server: Server) -> Iterator[bytes]:
    yield head(Content_Length="100000")
    yield from server.drips()


def in_a_trailer(server: Server) -> Iterator[bytes]:
    yield head(Transfer_Encoding="chunked") + b"0\r\n"
    yield from server.drips(piece=b"X: y\r\n")


@pytest.mark.long
@pytest.mark.parametrize("path", ["DC0/vm/templates", "content-library/templates"])
@pytest.mark.parametrize("drips", [in_headers, before_headers, in_an_element, in_blanks, in_a_trailer])
def test_a_vcenter_that_drips_is_given_up(
    registry: VSphereRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    drips: Callable[[Server], Iterator[bytes]], path: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(wire, "CALL", 0.5)
    with serving(lambda _: drips(server), certificate=certificate_in(tmp_path)) as server:
        assert "it takes longer than 0.5 s for an answer" in unreadable(registry, server, path)


@pytest.mark.long
def test_items_that_each_are_told_in_time_are_not_told_for_ever(
    registry: VSphereRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(library, "_LOOKING", 0.5)

    def says(asked: Asked) -> Iterator[bytes]:
        if "item/id:" in asked.path:
            for _ in server.drips(seconds=0.2):
                yield b""
            yield from whole(b'{"value": {"id": "1", "library_id": "lib"}}')
        else:
            yield from listing([str(number) for number in range(400)])(asked)

    with serving(says, certificate=certificate_in(tmp_path)) as server:
        said = unreadable(registry, server, "content-library/templates")
        assert "it takes longer than 0.5 s for what is in" in said
    assert len(server.asked) < 100


def pages(told: Callable[[], list[Any]]) -> Any:
    """A vCenter's content whose collector has one more page, for ever."""
    page = lambda *_: SimpleNamespace(objects=told(), token="more")  # noqa: E731
    collector = SimpleNamespace(RetrievePropertiesEx=page, ContinueRetrievePropertiesEx=page)
    return SimpleNamespace(customFieldsManager=SimpleNamespace(field=()), propertyCollector=collector)


def test_pages_of_machines_do_not_come_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory, "_LOOKING", 0.2)
    machine = SimpleNamespace(propSet=(), missingSet=(), obj=vim.VirtualMachine("vm-1"))

    with pytest.raises(UsedUp, match=r"longer than 0\.2 s for what is in a folder"):
        look(pages(lambda: [machine]), vim.Folder("group-v1"))
    with pytest.raises(Transient, match="of more machines, and of none"):
        look(pages(list), vim.Folder("group-v1"))


# In bytes.


def endless_element(_: Asked) -> Iterator[bytes]:
    yield head(Content_Type="text/xml") + SOAP
    for piece in without_end():
        yield piece.replace(b"xxxx", b"<x/>")


def endless_chunks(_: Asked) -> Iterator[bytes]:
    return chunked(without_end())


def endless_headers(_: Asked) -> Iterator[bytes]:
    yield b"HTTP/1.1 100 Continue\r\n"
    for number, piece in enumerate(without_end()):
        yield b"X-%d: %s\r\n" % (number, piece[:60_000])


def packed(_: Asked) -> Iterator[bytes]:
    return whole(gzip.compress(SOAP + b" " * MANY), Content_Encoding="gzip")


def deflated(_: Asked) -> Iterator[bytes]:
    return whole(gzip.compress(b" " * MANY), Content_Encoding="deflate")


def enormous(_: Asked) -> Iterator[bytes]:
    yield head(Content_Length=str(10**15))
    yield from without_end()


def unreadable_types(_: Asked) -> Iterator[bytes]:
    return whole(SOAP + b'<rootFolder type="Nonsense">x</rootFolder><about xsi:type="no:such">y</about>')


def folded(_: Asked) -> Iterator[bytes]:
    return whole(b'{"value": "a\\r\\nb"}')


@pytest.mark.forms(quick=6)
@pytest.mark.parametrize("path", ["DC0/vm/templates", "content-library/templates"])
@pytest.mark.parametrize(
    "says",
    [endless_element, endless_chunks, endless_headers, packed, deflated, enormous, unreadable_types, folded],
)
def test_no_answer_of_a_vcenter_is_taken_without_end(
    registry: VSphereRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, says: Says, path: str
) -> None:
    monkeypatch.setattr(wire, "CALL", 1.0)  # of a name without end a parser reads the beginning again and again
    with serving(says, certificate=certificate_in(tmp_path)) as server:
        assert unreadable(registry, server, path).startswith(server.host)
    assert server.sent < 3 * wire.MOST // 2


@pytest.mark.parametrize(
    "declared",
    [
        b'<!ENTITY x "%s">' % (b"x" * 100),
        b"<!ATTLIST rootFolder type CDATA 'Folder'>",
        b'<!ENTITY x SYSTEM "file:///etc/passwd">',
    ],
)
def test_an_answer_that_declares_anything_is_none(declared: bytes) -> None:
    # Given an answer that is one but for its first line, by which a few bytes could be gigabytes
    told = SOAP + b'<rootFolder type="Folder">&x;</rootFolder></returnval></RetrieveServiceContentResponse>'
    told += b"</e:Body></e:Envelope>"
    told = told.replace(b"<e:Envelope", b"<!DOCTYPE e:Envelope [" + declared + b"]><e:Envelope", 1)
    reader = import_module("pyVmomi.SoapAdapter").SoapResponseDeserializer(None)
    with pytest.raises(ExpatError, match="declares a document type"):
        reader.Deserialize(told, vim.ServiceInstanceContent)


def test_what_leaves_out_what_a_vcenter_has_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_sign_out", lambda stub: stub.DropConnections())
    told = SOAP + b"</returnval></RetrieveServiceContentResponse></e:Body></e:Envelope>"
    registry = VSphereRegistry(fleet="acme/images", environment=CREDENTIALS)
    with serving(lambda _: whole(told), certificate=certificate_in(tmp_path)) as server:
        try:
            said = unreadable(registry, server)
        except AttributeError:
            pytest.fail("it ends the run")
    assert "what answered is no vCenter" in said


ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.text(max_size=3), st.datetimes(), st.binary(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.builds(vim.VirtualMachine, st.just("vm-1")), st.builds(vim.CustomFieldsManager.Value, key=st.just(1)),
)  # fmt: skip
HONEST: dict[str, Any] = {
    "name": "web-1", "config.instanceUuid": "u", "config.createDate": None, "config.modified": None,
    "config.changeVersion": "1", "customValue": [vim.CustomFieldsManager.StringValue(key=1, value="acme/images")],
    "runtime.connectionState": "connected",
}  # fmt: skip


@given(
    lies=st.dictionaries(st.sampled_from(sorted(HONEST)), ANYTHING), left_out=st.sets(st.sampled_from(sorted(HONEST)))
)
@settings(max_examples=200, deadline=None)
def test_whatever_a_vcenter_tells_of_a_machine_ends_no_run(lies: dict[str, Any], left_out: set[str]) -> None:
    # Given a machine of ours of which a vCenter tells anything at all, of any type, in the place of some facts
    told = {name: val for name, val in (HONEST | lies).items() if name not in left_out}
    machine = SimpleNamespace(
        obj=vim.VirtualMachine("vm-1"), missingSet=(),
        propSet=[SimpleNamespace(name=name, val=val) for name, val in told.items()],
    )  # fmt: skip
    registry = VSphereRegistry(fleet="acme/images", environment=CREDENTIALS)
    field = SimpleNamespace(key=1, name="reconciler:fleet")
    registry._vcenters.of("vc")._content = SimpleNamespace(
        searchIndex=SimpleNamespace(FindByInventoryPath=lambda _: vim.Folder("group-v1")),
        customFieldsManager=SimpleNamespace(field=[field, SimpleNamespace(key=2, name=OF)]),
        propertyCollector=SimpleNamespace(
            RetrievePropertiesEx=lambda *_: SimpleNamespace(objects=[machine], token="")
        ),
    )  # fmt: skip
    # When the folder is read
    try:
        found = registry.observe(["vsphere://vc/DC0/vm/templates"])
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        pytest.fail(f"it ends the run: {error}")

    # Then it can't be, or all that is told of it is text
    assert found.unreadable or all(
        isinstance(text, str) for one in found.artifacts for text in (one.id, one.name, *one.tags, *one.tags.values())
    )


def test_what_a_vcenter_packs_is_not_unpacked(tmp_path: Path) -> None:
    packed = gzip.compress(b'{"value": "signed-in"}')
    with serving(lambda _: whole(packed, Content_Encoding="gzip"), certificate=certificate_in(tmp_path)) as server:
        connection = wire.Connection("127.0.0.1", server.port, context=trust(CREDENTIALS))
        connection.request("GET", "/")
        try:
            with pytest.raises(HTTPException, match="packs its answer"):
                connection.getresponse()
        finally:
            connection.close()


def listing(ids: list[str], *, answer: Iterator[bytes] | None = None) -> Says:
    """A vCenter with one library, and its items by their ids, or by an answer of its own."""

    def says(asked: Asked) -> Iterator[bytes]:
        if asked.path.endswith("cis/session"):
            return whole(b'{"value": "signed-in"}')
        if "action=find" in asked.path:
            return whole(b'{"value": ["lib"]}')
        if "library_id=" in asked.path:
            return whole(json.dumps({"value": ids}).encode()) if answer is None else answer
        return whole(json.dumps({"value": {"id": asked.path.rpartition(":")[2], "library_id": "lib"}}).encode())

    return says


def broken_off() -> Iterator[bytes]:
    yield head(Content_Length="1000") + b'{"value": ["1"'


@pytest.mark.parametrize(
    ("says", "said"),
    [
        (lambda: listing([], answer=broken_off()), "what answered is no vCenter"),
        (lambda: listing([], answer=whole(b'{"value": [' + b'"x",' * (1 << 20) + b'""]}')), "is no vCenter"),
        (lambda: listing([], answer=whole(b"<html>Please sign in</html>")), "is no vCenter"),
        (lambda: listing([], answer=whole(b'{"value": "all"}')), "is no list of them"),
        (lambda: listing([str(number) for number in range(5001)]), "more than 5,000 items"),
        (lambda: listing([]), ""),
        (lambda: listing(["1", "2"]), ""),
    ],
)
def test_a_library_that_is_not_told_whole_is_not_taken_for_an_empty_one(
    registry: VSphereRegistry, tmp_path: Path, says: Callable[[], Says], said: str
) -> None:
    with serving(says(), certificate=certificate_in(tmp_path)) as server:
        found = unreadable(registry, server, "content-library/templates")
    assert said in found
    assert bool(said) == bool(found)


# What leads nowhere.


@pytest.mark.vsphere
def test_a_folder_in_no_datacenter_is_told(vcenter: Simulator) -> None:
    vcenter.ask(lambda content: content.rootFolder.CreateFolder("shared").CreateFolder("vm"))
    registry = open_registry("vsphere", Opening("acme/images", Settings()))
    source = SourceRequest.model_validate({"vsphere": "DC0_H0_VM0"})

    with pytest.raises(UserError, match="/shared/vm is in no datacenter, or in one that may not be seen"):
        registry.resolve(source, location=f"vsphere://{vcenter.host}/shared/vm")


def parents(of: dict[str, str | None]) -> Any:
    """A vCenter's content in which folders are in others, as `of` has it; a parent that is None may not be seen."""
    named = SimpleNamespace

    def told(asked: Any, _options: Any) -> Any:
        (entity, path) = asked[0].objectSet[0].obj, asked[0].propSet[0].pathSet[0]
        above = of[entity._moId]
        value = "name" if path == "name" else (vim.Folder(above) if above is not None else None)
        return named(objects=[named(propSet=[named(val=value)] if value is not None else [])])

    return named(rootFolder=vim.Folder("root"), propertyCollector=named(RetrievePropertiesEx=told))


@pytest.mark.parametrize("of", [{"a": "a"}, {"a": "b", "b": "a"}, {"a": "b", "b": None}, {"a": None}])
def test_a_walk_upwards_ends_wherever_a_vcenter_leads(of: dict[str, str | None]) -> None:
    content = parents(of)

    assert datacenter_of(content, vim.Folder("a")) is None
    assert datacenter_of(content, None) is None
    for entity in (vim.Folder("a"), None):
        with pytest.raises(UserError, match="may not be seen"):
            path_of(content, entity)


def test_a_walk_upwards_finds_the_root() -> None:
    assert path_of(parents({"a": "b", "b": "root", "root": None}), vim.Folder("a")) == "/name/name"
