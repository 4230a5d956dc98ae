"""Versions and constraints, as hashicorp/go-version 1.9.0 has them: the table was made with it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.constraint import newest, parse_constraint, parse_version


@pytest.mark.parametrize(
    ("constraint", "allowed", "refused"),
    [
        (">= 1.7.0", ["1.7.0", "1.16.0", "2.0"], ["1.6.6"]),
        (">= 1.7.0, < 2.0.0", ["1.7.0", "1.16.0"], ["1.6.6", "2.0.0"]),
        ("1.8.2", ["1.8.2", "v1.8.2"], ["1.8.1", "1.8.3"]),
        ("= 1.8", ["1.8.0"], ["1.8.1"]),
        ("!= 1.8.1", ["1.8.0", "1.8.2"], ["1.8.1"]),
        ("> 1.8", ["1.8.1"], ["1.8.0", "1.7.9"]),
        ("<= 1.8", ["1.8.0", "1.7.9"], ["1.8.1"]),
        ("~> 1", ["1.0.0", "1.9.9", "2.0.0"], ["0.9.9"]),
        ("~> 1.2", ["1.2.0", "1.9.9"], ["1.1.9", "2.0.0"]),
        ("~> 1.2.3", ["1.2.3", "1.2.9"], ["1.2.2", "1.3.0"]),
        ("~>1.2.3", ["1.2.3"], ["1.3.0"]),
        (" >= 1.7 ,!= 1.8.0 ", ["1.7.0", "1.9"], ["1.8.0", "1.6"]),
        # A prerelease comes before its release; `~>` of one takes prereleases alone, and the core is none.
        (">= 1.9.0-dev", ["1.9.0", "1.9.0-dev"], ["1.8.9"]),
        ("~> 1.9.0-dev", [], ["1.9.0", "1.9.1"]),
        ("< 1.9.0-dev", ["1.8.9"], ["1.9.0"]),
        (">= 1.15.0-beta", ["1.15.0", "1.16.0"], ["1.14.3"]),
        ("> 1.15.0-beta.2, < 2", ["1.15.0"], ["1.14.9", "2.0.0"]),
        ("= 1.9.0-rc1", [], ["1.9.0"]),
        ("!= 1.9.0-rc1", ["1.9.0"], []),
        ("= 1.9.0.0-rc1", ["1.9.0"], ["1.9.1"]),
        ("< 1.9.0.1-rc1", ["1.9.0"], ["1.9.1"]),
        ("", ["0.0.1", "99"], []),
    ],
)
def test_a_constraint_allows_what_packer_allows(constraint: str, allowed: list[str], refused: list[str]) -> None:
    parsed = parse_constraint(constraint)

    for text in (*allowed, *refused):
        version = parse_version(text)
        assert version is not None
        assert parsed.allows(version) == (text in allowed), text


@pytest.mark.parametrize("text", ["latest", "=> 1.7", "1.7 or later", ">= 1.7,", ">=", "== 1.7", "~ 1", ">= 1.x"])
def test_what_is_no_constraint_is_refused_with_the_part_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"\A.*\Z") as caught:
        parse_constraint(text)

    assert str(caught.value) in text


@pytest.mark.parametrize("text", ["", "latest", "1.", ".1", "1..2", "1.2.3 ", "9" * 20])
def test_what_is_no_version_is_none(text: str) -> None:
    assert parse_version(text) is None


def test_the_newest_is_found_by_number_and_a_release_is_newer_than_its_prereleases() -> None:
    assert newest(["1.9.0", "1.10.0", "1.2.0"]) == "1.10.0"
    assert newest(["1.8.2-dev", "1.8.2"]) == "1.8.2"
    assert newest([]) is None


@given(st.text(alphabet="0123456789.-+~<>=!, vdev", max_size=40))
def test_no_text_at_all_breaks_the_reading(text: str) -> None:
    try:
        parsed = parse_constraint(text)
    except ValueError:
        return
    assert parsed.allows((1, 2, 3)) in (True, False)


def test_a_prerelease_is_one_whatever_else_is_asked() -> None:
    assert [parse_constraint(text).names_prerelease for text in (">= 1.2, < 2.0.0-rc.1", "1.2-beta2", "~> 1.2")] == [
        True, True, False,
    ]  # fmt: skip


numbers = st.tuples(*[st.integers(0, 30)] * 3)


@given(numbers, numbers)
def test_below_equal_and_above_share_all_versions_out(
    version: tuple[int, int, int], other: tuple[int, int, int]
) -> None:
    text = ".".join(map(str, other))

    assert [parse_constraint(f"{sign} {text}").allows(version) for sign in ("<", "=", ">")].count(True) == 1
