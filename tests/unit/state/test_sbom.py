from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import pytest
from cyclonedx.model.bom import Bom
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.model.errors import UserError
from reconciler.model.inventory import Inventory, OperatingSystem, Package, Port, User
from reconciler.state.sbom import inventory_record, read_sbom, render_sbom

BUILD = "20261122T101530Z-1a2b3c4"
UNTIMED = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])

ANYWHERE = "0.0.0.0"  # noqa: S104 - what an image has, not where anything listens
INSIDE = Inventory(
    os=OperatingSystem("debian", "12", "Debian GNU/Linux 12 (bookworm)"),
    kernel="6.1.0-25-cloud-amd64",
    packages=(
        Package("libstdc++6", "12.2.0-14", "amd64", "deb", "gcc-12"),
        Package("nginx", "1.22.1-9", "amd64", "deb"),
        Package("openssh-server", "1:9.2p1-2+deb12u3", "amd64", "deb", "openssh"),
    ),
    services=("nginx.service", "ssh.service"),
    ports=(Port("tcp", ANYWHERE, 22, "sshd"), Port("tcp", "::1", 0), Port("udp", "instance", 123, "ntpd (8)")),
    users=(User("admin", 1000, "/bin/bash"),),
    suid=("/opt/odd\nname", "/usr/bin/su"),
)

words = st.text(st.characters(codec="utf-8"), max_size=8)
# As the parser leaves them: no blanks around a field, no slash in a package's name, no colon in a user's.
fields = words.map(str.strip)
names = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=1, max_size=8
).filter(lambda name: name == "".join(name.split()) and "/" not in name)
packages = st.builds(Package, names, fields, fields, st.sampled_from(["deb", "rpm", "apk"]), fields)
addresses = st.just("instance") | st.ip_addresses().map(str)
ports = st.builds(Port, st.sampled_from(["tcp", "udp"]), addresses, st.integers(0, 65535), words)
users = st.builds(User, words.map(lambda name: name.replace(":", "")), st.integers(0, 2**32), words)


def sets(of: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...] | None]:
    return st.none() | st.sets(of, max_size=4).map(lambda found: tuple(sorted(found)))


inventories = st.builds(
    Inventory,
    os=st.builds(OperatingSystem, words, words, words),
    kernel=words,
    packages=sets(packages),
    services=sets(words),
    ports=sets(ports),
    users=sets(users),
    suid=sets(words),
    unread=st.dictionaries(st.sampled_from(["os", "packages", "services", "suid"]), words, max_size=3),
)


def document(inventory: Inventory = INSIDE) -> dict[str, Any]:
    found = json.loads(render_sbom("web", BUILD, inventory))
    assert isinstance(found, dict)
    return found


def invalid(content: bytes) -> object:
    return JsonStrictValidator(SchemaVersion.V1_6).validate_str(content.decode())


def test_an_sbom_is_valid_cyclonedx() -> None:
    assert invalid(render_sbom("web", BUILD, INSIDE)) is None
    assert invalid(render_sbom("web", BUILD, INSIDE).replace(b'"library"', b'"libary"')) is not None


@UNTIMED
@given(inventories)
def test_what_was_written_is_valid_and_comes_back_equal(inventory: Inventory) -> None:
    content = render_sbom("web", BUILD, inventory)

    assert invalid(content) is None
    assert read_sbom(content) == inventory
    assert render_sbom("web", BUILD, read_sbom(content)) == content


@pytest.mark.filterwarnings("ignore:The Component this BOM is describing")
def test_the_packages_are_written_as_the_library_writes_them() -> None:
    ours = document()

    theirs = json.loads(JsonV1Dot6(Bom.from_json(ours)).output_as_string())  # type: ignore[attr-defined]  # made at import

    for component in theirs["components"]:
        if component["bom-ref"] not in ("os", "kernel"):
            del component["bom-ref"]
    by_name = sorted(theirs["components"], key=lambda one: (one["type"], one["name"]))
    assert by_name == sorted(ours["components"], key=lambda one: (one["type"], one["name"]))
    assert theirs["metadata"]["component"] == ours["metadata"]["component"]


def test_packages_have_the_urls_that_scanners_match_by() -> None:
    found = [one["purl"] for one in document()["components"] if "purl" in one]

    assert found == [
        "pkg:deb/debian/libstdc%2B%2B6@12.2.0-14?arch=amd64&distro=debian-12&upstream=gcc-12",
        "pkg:deb/debian/nginx@1.22.1-9?arch=amd64&distro=debian-12",
        "pkg:deb/debian/openssh-server@1:9.2p1-2%2Bdeb12u3?arch=amd64&distro=debian-12&upstream=openssh",
    ]


def test_an_rpms_epoch_stands_beside_its_version() -> None:
    rpm = Package("bind", "32:9.16.23-1.el9", "x86_64", "rpm")
    inventory = replace(INSIDE, os=OperatingSystem("rhel", "9.4", "RHEL"), packages=(rpm,))

    (purl,) = [one["purl"] for one in document(inventory)["components"] if "purl" in one]

    assert purl == "pkg:rpm/rhel/bind@9.16.23-1.el9?arch=x86_64&distro=rhel-9.4&epoch=32"
    assert read_sbom(render_sbom("web", BUILD, inventory)) == inventory


def test_an_sbom_is_canonical_and_holds_nothing_that_passes() -> None:
    content = render_sbom("web", BUILD, INSIDE)
    plain = json.dumps(json.loads(content), sort_keys=True, indent=2, ensure_ascii=False)

    assert content == f"{plain}\n".encode()
    assert content == render_sbom("web", BUILD, INSIDE)
    assert {"serialNumber", "timestamp"}.isdisjoint(plain.replace('"', " ").split())


def test_the_image_is_what_the_sbom_is_about() -> None:
    about = document()["metadata"]["component"]

    assert (about["type"], about["name"], about["version"]) == ("operating-system", "web", BUILD)
    assert {"name": "reconciler:port", "value": "tcp 0.0.0.0:22 (sshd)"} in about["properties"]
    assert {"name": "reconciler:user", "value": "admin:1000:/bin/bash"} in about["properties"]


def test_an_unread_section_is_neither_empty_nor_forgotten() -> None:
    inventory = replace(INSIDE, packages=None, services=(), unread={"packages": "locked"})

    found = read_sbom(render_sbom("web", BUILD, inventory))

    assert (found.packages, found.services, found.unread) == (None, (), {"packages": "locked"})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b'{"bomFormat": "CycloneDX"}',
        render_sbom("web", BUILD, INSIDE).replace(b"tcp 0.0.0.0:22 (sshd)", b"22"),
        render_sbom("web", BUILD, INSIDE).replace(b"pkg:deb/", b"pkg:pypi/"),
        b"[" * 100_000,
    ],
)
def test_what_we_did_not_write_is_refused_with_its_place(content: bytes) -> None:
    with pytest.raises(UserError, match=r"^state/x\.cdx\.json: not an SBOM that reconciler wrote"):
        read_sbom(content, path="state/x.cdx.json")


def test_the_lockfile_holds_it_in_short() -> None:
    record = inventory_record("web", BUILD, replace(INSIDE, ports=None, unread={"ports": "only root sees"}))

    assert record.sbom == f"sbom/web/{BUILD}.cdx.json"
    assert (record.os, record.kernel) == ("Debian GNU/Linux 12 (bookworm)", "6.1.0-25-cloud-amd64")
    assert (record.packages, record.services, record.ports, record.users, record.suid) == (3, 2, None, 1, 2)
    assert record.unread == {"ports": "only root sees"}
    assert record.digest == replace(INSIDE, ports=None).digest


def test_importing_it_does_not_import_the_library() -> None:
    script = (
        "import sys, reconciler.state.sbom; sys.exit(any(name in sys.modules for name in ('cyclonedx', 'packageurl')))"
    )
    import subprocess  # noqa: PLC0415 - needed only here

    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
