"""Packer's machine-readable output: what Packer writes is read back, and nothing that else comes breaks the reader."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.build.output import (
    COMMA,
    LONGEST,
    ArtifactCount,
    ArtifactField,
    BuildError,
    ErrorCount,
    Line,
    Noise,
    Other,
    Reader,
    Record,
    Say,
    VersionField,
    parse_line,
)


def render(record: Record) -> str:
    """Write a record as Packer does: packer/ui.go escapes commas, then CR, then LF, in the data alone."""
    target: str
    kind: str
    data: tuple[str, ...]
    match record:
        case Say():
            target, kind, data = "", "ui", (record.kind, record.text)
        case BuildError():
            target, kind, data = record.build, "error", (record.text,)
        case ErrorCount():
            target, kind, data = "", "error-count", (str(record.count),)
        case ArtifactCount():
            target, kind, data = record.build, "artifact-count", (str(record.count),)
        case ArtifactField():
            target, kind, data = record.build, "artifact", (str(record.index), record.field, *record.values)
        case VersionField():
            target, kind, data = "", record.field, (record.value,)
        case Other():
            target, kind, data = record.target, record.type, record.values
        case _:
            raise NotImplementedError(record)
    escaped = (value.replace(",", COMMA).replace("\r", "\\r").replace("\n", "\\n") for value in data)
    return ",".join([str(record.timestamp), target, kind, *escaped])


def is_distinguishable(text: str) -> bool:
    """A backslash before n or r, and Packer's word for a comma, cannot be told from what they stand for."""
    return "\\n" not in text and "\\r" not in text and COMMA not in text


# No time limits: the machine may be busy.
unhurried = settings(suppress_health_check=[HealthCheck.too_slow])
times = st.integers(0, 10**15 - 1)
counts = st.integers(0, 10**9 - 1)
texts = st.text(st.characters(exclude_categories=["Cs"])).filter(is_distinguishable)
names = st.text(st.characters(exclude_categories=["Cs"], exclude_characters=",\r\n"))
records: st.SearchStrategy[Record] = st.one_of(
    st.builds(Say, times, st.sampled_from(["say", "message", "error"]), texts),
    st.builds(BuildError, times, names, texts),
    st.builds(ErrorCount, times, counts),
    st.builds(ArtifactCount, times, names, counts),
    st.builds(
        ArtifactField,
        times,
        names,
        counts,
        st.sampled_from(["builder-id", "id", "string", "files-count", "file", "nil", "end"]),
        st.lists(texts, max_size=3).map(tuple),
    ),
    st.builds(VersionField, times, st.sampled_from(["version", "version-prelease", "version-commit"]), texts),
    st.builds(Other, times, names, st.just("template-variable"), st.lists(texts, max_size=3).map(tuple)),
)


def read(output: bytes, cuts: list[int] | None = None) -> list[Line]:
    """Everything that a reader makes of an output that comes in the pieces between the cuts."""
    reader = Reader()
    edges = [0, *sorted(min(cut, len(output)) for cut in cuts or ()), len(output)]
    lines = [line for start, end in pairwise(edges) for line in reader.feed(output[start:end])]
    return [*lines, *reader.close()]


@unhurried
@given(st.lists(records), st.sampled_from(["\n", "\r\n"]), st.lists(st.integers(0, 2000), max_size=8))
def test_what_packer_writes_is_read_back_however_it_is_cut(written: list[Record], end: str, cuts: list[int]) -> None:
    output = "".join(render(record) + end for record in written).encode()

    assert read(output, cuts) == written


@unhurried
@given(st.binary(), st.lists(st.integers(0, 100), max_size=5))
def test_random_bytes_never_raise_and_read_the_same_in_any_pieces(output: bytes, cuts: list[int]) -> None:
    assert read(output, cuts) == read(output)


@unhurried
@given(st.text(alphabet="0123456789,uiartfcd-eon%!()\\\n\r", max_size=200))
def test_what_nearly_looks_like_packer_never_raises(output: str) -> None:
    read(output.encode())


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (
            "1795347920,amazon-ebs.w,artifact,0,id,eu-west-1:ami-1%!(PACKER_COMMA)us-east-1:ami-2",
            ArtifactField(1795347920, "amazon-ebs.w", 0, "id", ("eu-west-1:ami-1,us-east-1:ami-2",)),
        ),
        ("1795347920,x,artifact,0,end", ArtifactField(1795347920, "x", 0, "end", ())),
        ("1795347916,,ui,say,\\n==> Wait completed", Say(1795347916, "say", "\n==> Wait completed")),
        ("1795347916,,error-count,1", ErrorCount(1795347916, 1)),
        ("1795347916,grp.null.b,error,it broke", BuildError(1795347916, "grp.null.b", "it broke")),
        ("1795347916,,version-prelease,", VersionField(1795347916, "version-prelease", "")),
        ("1795347916,,error-count,many", Other(1795347916, "", "error-count", ("many",))),
    ],
)
def test_a_line_is_read_as_its_record(line: str, record: Record) -> None:
    assert parse_line(line) == record


@pytest.mark.parametrize(
    "line",
    [
        "",
        "2026/11/22 11:45:20 [INFO] plugin",
        "panic: oh",
        "1795347916",
        "1795347916,x",
        "x,1,ui",
        "9" * 5000 + ",,ui,say,x",
    ],
)
def test_a_line_that_is_no_record_is_kept_as_noise(line: str) -> None:
    assert parse_line(line) == Noise(line)


def test_a_literal_backslash_n_is_read_as_a_line_break() -> None:
    # Packer escapes no backslashes: this is the one thing that cannot be read back.
    assert parse_line(render(Say(1, "say", "C:\\new"))) == Say(1, "say", "C:\new")


def test_a_very_long_line_in_small_pieces_is_one_line() -> None:
    output = b"1,,ui,say," + b"x" * 1_000_000 + b"\n"

    assert read(output, list(range(0, len(output), 997))) == [Say(1, "say", "x" * 1_000_000)]


@pytest.mark.parametrize(
    ("begins", "kept"),
    [
        ("1,,ui,say,", Say(1, "say", "x" * (LONGEST - 10), left_out=17)),
        ("1,web,error,", BuildError(1, "web", "x" * (LONGEST - 12), left_out=17)),
        ("1,web,artifact,0,id,", Noise("1,web,artifact,0,id," + "x" * (LONGEST - 20), left_out=17)),
        ("1,web,new-type,", Noise("1,web,new-type," + "x" * (LONGEST - 15), left_out=17)),
        ("panic: ", Noise("panic: " + "x" * (LONGEST - 7), left_out=17)),
    ],
)
def test_of_an_endless_line_the_beginning_is_kept_and_half_a_record_is_none(begins: str, kept: Line) -> None:
    output = begins.encode() + b"x" * (LONGEST - len(begins) + 17) + b"\n2,,ui,say,next\n"

    assert read(output, list(range(0, len(output), 65_536))) == [kept, Say(2, "say", "next")]


def test_a_line_that_was_cut_off_is_read_when_the_output_ends() -> None:
    assert read(b"1,,ui,say,half a li") == [Say(1, "say", "half a li")]


def test_invalid_utf_8_is_replaced() -> None:
    assert read(b"1,,ui,say,a\xffb\n") == [Say(1, "say", "a\N{REPLACEMENT CHARACTER}b")]
