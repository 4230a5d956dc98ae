from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.plan.difference import order

# Each older than the next. From deb-version(7) and Debian's policy, chapter 5.6.12.
DEB = [
    *("0~~", "0~~a", "0~", "0", "0a", "0+", "0.1~rc1", "0.1-1~bpo12+1", "0.1-1", "0.1-1+b1", "0.1-1.1", "0.1-2"),
    *("0.9-1", "0.10-1", "1.22.1-9", "1.22.1-9+deb12u2", "1:0.1-1", "2:0"),
]
# From rpm's own tests, tests/rpmvercmp.at.
RPM = [
    *("1.0~rc1", "1.0~rc1^git1", "1.0~rc2", "1.0", "1.0^", "1.0^20160101", "1.0^20160102", "1.0.1", "2.0", "2.0.1"),
    *("2.0.1a", "2.0.2", "5.5p1", "5.5p2", "5.5p10", "10xyz", "10.1xyz", "20101121", "20101122"),
]
versions = st.text("0123456789abAB.+~^-:", max_size=8)


@pytest.mark.parametrize("index", range(len(DEB) - 1))
def test_debs_are_ordered_as_dpkg_does(index: int) -> None:
    assert order("deb", DEB[index], DEB[index + 1]) == -1
    assert order("deb", DEB[index + 1], DEB[index]) == 1


@pytest.mark.parametrize("index", range(len(RPM) - 1))
def test_rpms_are_ordered_as_rpm_does(index: int) -> None:
    assert order("rpm", RPM[index], RPM[index + 1]) == -1
    assert order("rpm", RPM[index + 1], RPM[index]) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [("1.0", "1.0"), ("1.05", "1.5"), ("2_0", "2.0"), ("2.0a", "2.0.a"), ("+", "_"), ("1.0~rc1", "1.0~rc1")],
)
def test_rpm_takes_what_is_between_numbers_for_nothing(one: str, other: str) -> None:
    assert order("rpm", one, other) == 0


def test_the_release_decides_last_and_the_epoch_first() -> None:
    assert order("rpm", "5.14.0-9.el9", "5.14.0-10.el9") == -1
    assert order("rpm", "5.14.0-10.el9", "1:5.13.0-1.el9") == -1


def test_a_version_may_have_more_digits_than_python_turns_into_a_number() -> None:
    assert order("deb", "9" * 5000, "1" + "0" * 5000) == -1


def test_of_apks_versions_nobody_can_say() -> None:
    assert order("apk", "1.0-r0", "1.0-r1") is None


@given(versions, versions, versions)
def test_it_is_an_order(one: str, two: str, three: str) -> None:
    for kind in ("deb", "rpm"):
        forth, back = order(kind, one, two), order(kind, two, one)
        assert forth is not None
        assert back is not None
        assert forth == -back
        assert order(kind, one, one) == 0
        if forth == order(kind, two, three) == -1:
            assert order(kind, one, three) == -1
