from __future__ import annotations

import ast
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

import reconciler
from reconciler.model.values import (
    Duration,
    Instant,
    Model,
    canonical_json,
    digest,
    format_duration,
    format_instant,
    parse_duration,
    parse_instant,
    told_instant,
    told_moment,
)

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.integers(0, 999_999), st.sampled_from("smhdw"))
def test_a_duration_survives_being_written(number: int, unit: str) -> None:
    seconds = parse_duration(f"{number}{unit}")
    assert parse_duration(format_duration(seconds)) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("60m", 3600), ("12h", 43200), ("7d", 604800), ("2w", 1209600), (0, 0)]
)
def test_a_duration_is_a_number_with_a_unit(text: object, seconds: int) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "7", 7, True, False, None, "-1d", "1.5h", "7 d", "7D", "1y", "7d\n", "\u0667d"])
def test_anything_else_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError, match="a number with a unit"):
        parse_duration(text)


def test_a_duration_with_too_many_digits_is_told_so() -> None:
    with pytest.raises(ValueError, match="at most 6 digits, and this one has 7"):
        parse_duration("1234567s")


def test_a_duration_is_written_with_its_largest_unit() -> None:
    assert [format_duration(each) for each in (604800, 86400, 5400, 61, 0)] == ["1w", "1d", "90m", "61s", "0s"]


def test_a_duration_that_is_declared_can_be_added_to_any_time() -> None:
    longest = TypeAdapter(Duration).validate_python("999999w")
    assert format_duration(longest) == "36500d"
    assert parse_instant("2999-12-31T23:59:59Z") + 2 * timedelta(seconds=longest)


NAIVE = datetime(1000, 1, 1), datetime(2999, 12, 31, 23)  # noqa: DTZ001 - hypothesis wants naive bounds


@given(st.datetimes(*NAIVE, timezones=st.just(UTC)))
def test_an_instant_survives_being_written(moment: datetime) -> None:
    assert parse_instant(format_instant(moment)) == moment.replace(microsecond=0)


def test_an_instant_of_another_zone_is_written_as_utc() -> None:
    assert (
        format_instant(datetime(2026, 11, 22, 11, 15, 30, tzinfo=timezone(timedelta(hours=1))))
        == "2026-11-22T10:15:30Z"
    )


@pytest.mark.parametrize(
    "text",
    ["", "2026-11-22", "2026-11-22T10:15:30", "2026-11-22T10:15:30+00:00", "2026-11-22T10:15:30.5Z",
     "2026-13-22T10:15:30Z", "2026-11-22T10:15:30Z\n", "\uff12\uff10\uff12\uff16-11-22T10:15:30Z",
     "0001-01-01T00:00:00Z", "0999-12-31T23:59:59Z", "3000-01-01T00:00:00Z", "9999-12-31T23:59:59Z"],
)  # fmt: skip
def test_anything_else_is_no_instant(text: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse_instant(text)


@pytest.mark.parametrize(
    ("told", "instant"),
    [
        ("2026-11-22T10:15:30Z", "2026-11-22T10:15:30Z"),
        ("2026-11-22T10:15:30.123456789Z", "2026-11-22T10:15:30Z"),
        ("2026-11-22T11:15:30.5+01:00", "2026-11-22T10:15:30Z"),
        ("2026-11-22T10:15:30", "2026-11-22T10:15:30Z"),
        ("20261122T101530Z", "2026-11-22T10:15:30Z"),
        (datetime(2026, 11, 22, 11, 15, 30, 999, tzinfo=timezone(timedelta(hours=1))), "2026-11-22T10:15:30Z"),
        (1795342530, "2026-11-22T10:15:30Z"),
    ],
)
def test_what_others_tell_is_read_as_an_instant(told: object, instant: str) -> None:
    assert told_instant(told) == instant


@pytest.mark.parametrize(
    "told",
    [
        None, "", "yesterday", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-05:00", "2" * 5000,
        "0001-01-01T00:00:00+05:00", datetime.max.replace(tzinfo=timezone(timedelta(hours=-5))),
        datetime.min.replace(tzinfo=timezone(timedelta(hours=5))), 1e300, float("nan"), 10**400, -1e17, True, [1], {},
    ],
)  # fmt: skip
def test_what_others_tell_that_is_no_time_to_reckon_with_is_not_known(told: object) -> None:
    assert (told_instant(told), told_moment(told)) == ("", None)


@given(st.text() | st.floats() | st.integers() | st.datetimes(timezones=st.timezones() | st.none()) | anything)
def test_whatever_others_tell_is_an_instant_or_nothing(told: object) -> None:
    if found := told_instant(told):
        assert TypeAdapter(Instant).validate_python(found) == found


READERS = {"fromisoformat", "fromtimestamp", "utcfromtimestamp", "strptime"}


def test_no_registry_reads_a_time_but_by_what_bounds_it() -> None:
    folder = Path(reconciler.__file__).with_name("registries")
    calls = {
        f"{file.name}:{node.lineno}"
        for file in folder.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in READERS
    }
    assert calls == set()


@given(anything)
def test_the_canonical_form_holds_the_value_in_one_way(value: object) -> None:
    raw = canonical_json(value)
    assert json.loads(raw) == value
    assert canonical_json(json.loads(raw)) == raw


@given(anything, anything)
def test_values_have_one_digest_exactly_when_they_are_written_alike(one: object, other: object) -> None:
    assert (digest(one) == digest(other)) == (json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True))


def test_a_digest_is_what_sha256sum_says_of_the_canonical_form() -> None:
    assert canonical_json({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'.encode()
    assert digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_a_model_refuses_what_it_does_not_know_and_does_not_change() -> None:
    class Point(Model):
        x: int

    with pytest.raises(ValidationError, match="Extra inputs"):
        Point.model_validate({"x": 1, "y": 2})
    with pytest.raises(ValidationError, match="frozen"):
        Point(x=1).x = 2  # type: ignore[misc]  # that it can't be set is what is tested
