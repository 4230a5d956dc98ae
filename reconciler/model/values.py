"""Small values that the other models are made of: frozen models, build ids, durations, canonical JSON, digests."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Self, TypeVar, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

BUILD_ID_PATTERN = r"^[0-9]{8}T[0-9]{6}Z-[0-9a-f]{7}$"
"""A build's id: when it began, and the first digits of its key."""
BuildId = Annotated[str, Field(pattern=BUILD_ID_PATTERN)]
_BUILD_ID = re.compile(BUILD_ID_PATTERN)
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"([0-9]+)([smhdw])")
_DIGITS = 6
_INSTANT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")
# One encoder for all: json.dumps makes a new one for every call that asks for anything but its defaults.
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


_GIVEN: dict[frozenset[str], set[str]] = {}


def is_empty(value: object) -> bool:
    """Whether a value says nothing: a field that came to a format later is left out then (`exclude_if`).

    So what was written before the field came is written the same today, byte for byte.
    """
    return not value


class Model(BaseModel):
    """A frozen pydantic model that refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    def model_post_init(self, _context: Any, /) -> None:
        """Share which fields were given with every model that was given the same ones.

        Of what a lockfile takes in memory that is a third, and nothing may change it: a copy gets one of its own.
        """
        given = self.__pydantic_fields_set__
        object.__setattr__(self, "__pydantic_fields_set__", _GIVEN.setdefault(frozenset(given), given))

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Itself, as nothing may change it. pydantic copies a default each time that it is taken."""
        return self


def _brief(model: Model | None) -> dict[str, Any] | None:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True) if model is not None else None


BRIEF = PlainSerializer(_brief, when_used="json")
"""For a part of an answer most of whose keys say nothing: it is written without those, as it is in a lockfile."""

_M = TypeVar("_M", bound=Model)
_KEPT: dict[tuple[type, str], Model] = {}
_MOST_KEPT = 1000


def _one_of_its_kind(value: _M | None) -> _M | None:
    """A model that was read before and says the same, else this one."""
    if value is None:
        return None
    if len(_KEPT) > _MOST_KEPT:
        _KEPT.clear()
    kept = cast("_M", _KEPT.setdefault((type(value), value.model_dump_json()), value))
    return kept if kept == value else value


SHARED = AfterValidator(_one_of_its_kind)
"""For what most images of a fleet have in common, such as the source that they are built on: it is kept once."""


def parse_duration(text: object) -> int:
    """Turn `90s`, `60m`, `12h`, `7d` or `2w` into seconds. Raises ValueError on anything else."""
    if isinstance(text, int) and not isinstance(text, bool) and text == 0:
        return 0
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError("a duration is a number with a unit: 90s, 60m, 12h, 7d or 2w")
    if len(match[1]) > _DIGITS:
        raise ValueError(f"the number of a duration has at most {_DIGITS} digits, and this one has {len(match[1])}")
    return int(match[1]) * _UNITS[match[2]]


def format_duration(seconds: int) -> str:
    """Write seconds with the largest unit that divides them: 604800 is `1w`, 5400 is `90m`."""
    for unit, size in sorted(_UNITS.items(), key=lambda item: -item[1]):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


_LONGEST = 36500 * _UNITS["d"]
"""Seconds, a hundred years: a longer duration can be added to no time, nor waited for, and counts as that."""


def _declared_duration(text: object) -> int:
    return min(parse_duration(text), _LONGEST)


Duration = Annotated[
    int,
    BeforeValidator(_declared_duration),
    PlainSerializer(format_duration),
    WithJsonSchema({"type": "string", "pattern": "^[0-9]{1,6}[smhdw]$", "examples": ["60m", "7d"]}),
]
"""Seconds, written with a unit in files."""


class WrongPart(ValueError):
    """A value that is wrong for a part of it: `at` leads there from where it is checked, and `hint` says what helps."""

    def __init__(self, what: str, *, at: tuple[str | int, ...] = (), hint: str = "") -> None:
        super().__init__(what)
        self.at, self.hint = at, hint


def checked(pattern: str, *, what: str) -> tuple[AfterValidator, Any]:
    """A form for texts, in the schema too. `what` goes on from `"…" is not `, and shows a right one."""

    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(f'"{text}" is not {what}')
        return text

    return AfterValidator(check), Field(json_schema_extra={"pattern": f"^(?:{pattern})$"})


FIRST_YEAR, LAST_YEAR = 1000, 2999
"""Of a time that can be reckoned with: near either end of the calendar, one that is added to may be none any more."""
LAST = datetime(LAST_YEAR, 12, 31, 23, 59, 59, tzinfo=UTC)
_LONGEST_TOLD = 64


def parse_instant(text: str) -> datetime:
    """Read a UTC time in whole seconds, `2026-11-22T10:15:30Z`.

    Raises ValueError on anything else, and for a year in which nothing can be reckoned.
    """
    if not _INSTANT.fullmatch(text):
        raise ValueError(f"{text!r} is not a UTC time such as 2026-11-22T10:15:30Z")
    moment = datetime.fromisoformat(text)  # strptime takes 20 times as long, and a plan reads thousands
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise ValueError(f"{text} is in no year from {FIRST_YEAR} to {LAST_YEAR}")
    return moment


def format_instant(moment: datetime) -> str:
    """Write a time as UTC in whole seconds: `2026-11-22T10:15:30Z`."""
    return f"{moment.astimezone(UTC).isoformat()[:19]}Z"


def told_moment(told: object) -> datetime | None:
    """A time that somebody else tells, in UTC; None for what is none, and for one that can't be reckoned with.

    All that come from outside are read here. `told` is a text of ISO 8601 (`2026-11-22T10:15:30.123Z`, and without a
    zone in UTC), a datetime, or seconds since 1970.
    """
    try:
        if isinstance(told, str) and len(told) <= _LONGEST_TOLD:
            moment = datetime.fromisoformat(told)
        elif isinstance(told, datetime):
            moment = told
        elif isinstance(told, int | float) and not isinstance(told, bool):
            moment = datetime.fromtimestamp(told, UTC)
        else:
            return None
        moment = moment.astimezone(UTC) if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError, OSError):  # of another calendar, or beyond the end of this one
        return None
    return moment if FIRST_YEAR <= moment.year <= LAST_YEAR else None


def told_instant(told: object) -> str:
    """The same as ours are written, in whole seconds (`Instant`); empty for what is none."""
    moment = told_moment(told)
    return format_instant(moment) if moment is not None else ""


def _check_instant(text: object) -> str:
    if not isinstance(text, str):
        raise ValueError("a time is written as text")  # noqa: TRY004 - pydantic turns only ValueError into a report
    parse_instant(text)
    return text


Instant = Annotated[str, BeforeValidator(_check_instant)]
"""A UTC time in whole seconds, kept as it is written in files."""


def canonical_json(value: Any) -> bytes:
    """The one byte form of a JSON value, for digests: sorted keys, no blanks, UTF-8."""
    return _CANONICAL.encode(value).encode()


def digest(value: Any) -> str:
    """The `sha256:…` of a JSON value's canonical form."""
    return sha256_of(canonical_json(value))


Digest = str
"""`sha256:` and 64 hexadecimals."""


def sha256_of(content: bytes) -> str:
    """The `sha256:…` of bytes, as digests of files, blobs and manifests are written everywhere."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def is_commit_id(text: str) -> bool:
    """Whether a text is the whole id of a commit, and no other name that git would find one by, such as HEAD."""
    return re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", text) is not None


def began_at(build_id: str) -> datetime:
    """When a build began, as its id says. Raises ValueError for anything that is no build id."""
    if not _BUILD_ID.fullmatch(build_id) or build_id[0] not in "12":  # as in any Instant
        raise ValueError(f"{build_id!r} is not a build id such as 20261122T101530Z-1a2b3c4")
    return datetime.fromisoformat(build_id[:16])
