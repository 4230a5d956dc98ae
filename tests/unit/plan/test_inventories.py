from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from reconciler.model.difference import Listed, Moved, PackageChange
from reconciler.model.inventory import Inventory, OperatingSystem, Package, Port, User
from reconciler.plan.difference import difference

EMPTY = Inventory(
    os=OperatingSystem("debian", "12", "Debian GNU/Linux 12 (bookworm)"),
    kernel="6.1.0-25-amd64",
    packages=(),
    services=(),
    ports=(),
    users=(),
    suid=(),
)


def deb(name: str, version: str, architecture: str = "amd64") -> Package:
    return Package(name, version, architecture, "deb")


def kernel(version: str) -> Package:
    return Package("kernel", version, "x86_64", "rpm")


def changes(old: list[Package], new: list[Package]) -> list[tuple[str, str, str | None, str | None]]:
    found = difference(replace(EMPTY, packages=tuple(old)), replace(EMPTY, packages=tuple(new)))
    return [(one.change, one.name, one.old, one.new) for one in found.packages]


def test_equal_inventories_are_the_same() -> None:
    inventory = replace(EMPTY, packages=(deb("nginx", "1"),), unread={})

    assert difference(inventory, inventory).same
    assert difference(inventory, inventory).nothing


def test_packages_come_go_and_change() -> None:
    old = [deb("curl", "7.88-1"), deb("nginx", "1.22.1-9"), deb("tmux", "3.3-1"), deb("zlib1g", "1:1.2-1")]
    new = [deb("curl", "7.88-1"), deb("jq", "1.6-2"), deb("nginx", "1.22.1-9+deb12u2"), deb("zlib1g", "1.3-1")]

    assert changes(old, new) == [
        ("added", "jq", None, "1.6-2"),
        ("upgraded", "nginx", "1.22.1-9", "1.22.1-9+deb12u2"),
        ("removed", "tmux", "3.3-1", None),
        ("downgraded", "zlib1g", "1:1.2-1", "1.3-1"),
    ]


def test_a_version_of_which_nobody_can_say_is_changed() -> None:
    old, new = (Package("musl", version, "x86_64", "apk") for version in ("1.2.4-r0", "1.2.5-r0"))

    assert changes([old], [new]) == [("changed", "musl", "1.2.4-r0", "1.2.5-r0")]


def test_of_several_installed_kernels_none_takes_anothers_place() -> None:
    assert changes([kernel("5-1"), kernel("5-2")], [kernel("5-2"), kernel("5-3")]) == [
        ("removed", "kernel", "5-1", None),
        ("added", "kernel", None, "5-3"),
    ]
    assert changes([kernel("5-1")], [kernel("5-1"), kernel("5-2")]) == [("added", "kernel", None, "5-2")]
    assert changes([kernel("5-1"), kernel("5-2")], [kernel("5-3")]) == [
        ("removed", "kernel", "5-1", None),
        ("removed", "kernel", "5-2", None),
        ("added", "kernel", None, "5-3"),
    ]
    assert changes([kernel("5-1")], [kernel("5-2")]) == [("upgraded", "kernel", "5-1", "5-2")]


def test_each_architecture_changes_by_itself() -> None:
    old = [deb("libc6", "2.36-1"), deb("libc6", "2.36-1", "i386"), deb("zlib1g", "1")]
    new = [deb("libc6", "2.36-2"), deb("libc6", "2.36-2", "i386"), deb("zlib1g", "1"), deb("zlib1g", "1", "i386")]

    found = difference(replace(EMPTY, packages=tuple(old)), replace(EMPTY, packages=tuple(new)))

    assert [(one.name, one.architecture, one.change) for one in found.packages] == [
        ("libc6", "amd64", "upgraded"),
        ("libc6", "i386", "upgraded"),
        ("zlib1g", "i386", "added"),
    ]


def test_a_package_that_moves_to_another_architecture_changes() -> None:
    found = difference(
        replace(EMPTY, packages=(deb("tzdata", "1", "all"),)), replace(EMPTY, packages=(deb("tzdata", "2"),))
    )

    assert found.packages == (
        PackageChange(name="tzdata", kind="deb", architecture="amd64", change="upgraded", old="1", new="2"),
    )


def test_the_same_name_in_two_databases_is_two_packages() -> None:
    assert changes([deb("bash", "5.2")], [Package("bash", "5.2", "x86_64", "rpm")]) == [
        ("removed", "bash", "5.2", None),
        ("added", "bash", None, "5.2"),
    ]


def test_everything_else_is_compared_too() -> None:
    old = replace(EMPTY, services=("a.service",), ports=(Port("tcp", "::", 80),), users=(User("a", 1, "/bin/sh"),))
    new = replace(EMPTY, kernel="6.1.0-26-amd64", services=("b.service",), suid=("/opt/x",))
    new = replace(new, os=OperatingSystem("debian", "13", "Debian GNU/Linux 13 (trixie)"))

    found = difference(old, new)

    assert found.os == Moved(old="Debian GNU/Linux 12 (bookworm)", new="Debian GNU/Linux 13 (trixie)")
    assert found.kernel == Moved(old="6.1.0-25-amd64", new="6.1.0-26-amd64")
    assert found.services == Listed(added=("b.service",), removed=("a.service",))
    assert found.ports == Listed(removed=("tcp [::]:80",))
    assert found.users == Listed(removed=("a (1, /bin/sh)",))
    assert found.suid == Listed(added=("/opt/x",))
    assert not found.nothing


def test_a_system_that_keeps_its_name_may_have_another_version() -> None:
    new = replace(EMPTY, os=replace(EMPTY.os, version="12.1"))

    assert difference(EMPTY, new).os == Moved(old="debian 12", new="debian 12.1")


@pytest.mark.parametrize("section", ["packages", "services", "ports", "users", "suid"])
def test_what_is_unknown_on_either_side_is_said_and_never_taken_for_empty(section: str) -> None:
    full = replace(
        EMPTY, packages=(deb("a", "1"),), services=("a",), ports=(Port("tcp", "::", 1),),
        users=(User("a", 1, "/"),), suid=("/a",),
    )  # fmt: skip
    nothing: dict[str, Any] = {section: None}
    unread = replace(full, **nothing, unread={section: "locked"})

    for found, side in ((difference(full, unread), "newer"), (difference(unread, full), "older")):
        assert found.nothing
        assert not found.same
        assert found.unknown == {section: f"{side}: locked"}
    assert difference(unread, unread).unknown == {section: "older: locked; newer: locked"}


def test_an_unread_system_and_kernel_are_unknown() -> None:
    unread = replace(EMPTY, os=OperatingSystem("", "", ""), kernel="", unread={"kernel": "ended with 127"})

    found = difference(EMPTY, unread)

    assert (found.os, found.kernel) == (None, None)
    assert found.unknown == {"os": "newer: not recorded", "kernel": "newer: ended with 127"}
