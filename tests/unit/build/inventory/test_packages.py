from __future__ import annotations

import pytest

from reconciler.build.inventory.take import parse
from reconciler.model.inventory import Package
from tests.unit.build.inventory.conftest import Printed

OK = b"install ok installed"


def test_debs_are_read_with_their_source_where_it_has_another_name(printed: Printed) -> None:
    lines = (
        b"install ok installed\tnginx-core\t1.22.1-9+deb12u2\tamd64\tnginx\n"
        b"hold ok installed\tcurl\t7.88.1-10\tamd64\tcurl\n"
    )

    assert parse(printed(deb=lines)).packages == (
        Package("curl", "7.88.1-10", "amd64", "deb"),
        Package("nginx-core", "1.22.1-9+deb12u2", "amd64", "deb", "nginx"),
    )


@pytest.mark.parametrize(
    ("status", "there"),
    [
        (b"install ok installed", True),
        (b"install ok half-configured", True),
        (b"install reinstreq half-installed", True),
        (b"install ok triggers-pending", True),
        (b"deinstall ok config-files", False),
        (b"unknown ok not-installed", False),
    ],
)
def test_a_package_that_left_files_is_there(printed: Printed, status: bytes, *, there: bool) -> None:
    found = parse(printed(deb=status + b"\tcurl\t1\tamd64\tcurl\n")).packages

    assert bool(found) is there


def test_rpms_are_read_with_epoch_release_and_source(printed: Printed) -> None:
    lines = (
        b"kernel\t5.14.0-2.el9\tx86_64\tkernel-5.14.0-2.el9.src.rpm\n"
        b"kernel\t5.14.0-3.el9\tx86_64\tkernel-5.14.0-3.el9.src.rpm\n"
        b"bind-libs\t32:9.16.23-1.el9\tx86_64\tbind-9.16.23-1.el9.src.rpm\n"
        b"gpg-pubkey\t8483c65d-5ccc5b19\t(none)\t(none)\n"
    )

    assert parse(printed(rpm=lines)).packages == (
        Package("bind-libs", "32:9.16.23-1.el9", "x86_64", "rpm", "bind"),
        Package("gpg-pubkey", "8483c65d-5ccc5b19", "", "rpm"),
        Package("kernel", "5.14.0-2.el9", "x86_64", "rpm"),
        Package("kernel", "5.14.0-3.el9", "x86_64", "rpm"),
    )


def test_a_list_with_a_hole_is_no_list(printed: Printed) -> None:
    hole = (0, b"bash\t5-1\tx86_64\tbash-5-1.src.rpm\n", b"error: rpmdb: damaged header #42 retrieved\n")

    found = parse(printed(rpm=hole))

    assert found.packages is None
    assert found.unread == {"packages": "error: rpmdb: damaged header #42 retrieved"}


def test_a_part_is_not_taken_for_the_whole(printed: Printed) -> None:
    found = parse(printed(deb=OK + b"\tcurl\t1\tamd64\tcurl\n", rpm=(1, b"", b"rpm: cannot open Packages index\n")))

    assert found.packages is None


def test_a_machine_with_an_empty_database_has_no_packages_and_one_without_has_an_unknown_number(
    printed: Printed,
) -> None:
    without = printed().replace(b"section deb 0 0 0\n", b"")

    assert parse(printed()).packages == ()
    assert parse(without).packages is None
    assert parse(without).unread == {"packages": "no package database: neither dpkg's, rpm's nor apk's"}


@pytest.mark.parametrize(
    "line",
    [
        b"install ok installed\tcurl\t1\tamd64\n",
        b"install ok installed\t\t1\tamd64\t\n",
        b"install ok installed\ta/b\t1\tamd64\t\n",
        b"install ok installed\ta\tb\tc\td\te\n",
        b"\x00\xff\xfe\n",
    ],
)
def test_a_line_that_is_no_package_makes_the_whole_unread(printed: Printed, line: bytes) -> None:
    found = parse(printed(deb=line))

    assert found.packages is None
    assert "package database" in found.unread["packages"]


def test_bytes_that_are_not_utf8_are_shown_and_absurd_fields_are_cut(printed: Printed) -> None:
    line = OK + b"\tcaf\xe9\t" + b"1" * 5000 + b"\tamd64\tcaf\xe9\n"

    (found,) = parse(printed(deb=line)).packages or ()

    assert found.name == r"caf\xe9"
    assert len(found.version) == 256
    assert found.version.endswith("…")


def test_order_and_repetition_make_no_difference(printed: Printed) -> None:
    lines = [OK + b"\tp%d\t1\tamd64\tp\n" % number for number in range(20)]

    assert parse(printed(deb=b"".join(lines))) == parse(printed(deb=b"".join([*lines[::-1], *lines])))


def test_five_thousand_packages_are_read(printed: Printed) -> None:
    lines = b"".join(OK + b"\tpackage-%d\t1.%d-1\tamd64\tsource\n" % (number, number) for number in range(5000))

    assert len(parse(printed(deb=lines)).packages or ()) == 5000
