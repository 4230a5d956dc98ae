from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler import __version__
from reconciler.model.errors import Place, Terminal, UserError
from reconciler.model.lockfile import Artifact, Build, Channels, CiRun, Failure, Lockfile, PackerVersions, Reason
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.model.source import Pin, PinnedSource, SourceRequest
from reconciler.model.tree import TreeEntry
from reconciler.state.lockfiles import (
    parse,
    parse_build,
    path_of,
    read_lockfile,
    read_lockfiles,
    render,
    render_build,
)
from tests.sources import amis

WEB = "state/web.lock.json"
UNTIMED = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
"""On a busy machine making examples takes long, which says nothing of the code."""
BUILD = "20261122T101530Z-1a2b3c4"

words = st.text(st.characters(codec="utf-8"), max_size=8)
maybe = st.none() | words
instants = st.just("2026-11-22T10:15:30Z")
names = st.from_regex(r"[a-z0-9](?:[a-z0-9._-]{0,8}[a-z0-9])?", fullmatch=True)
ids = st.builds(
    "{:%Y%m%dT%H%M%SZ}-{:07x}".format,
    st.datetimes(datetime(2000, 1, 1), datetime(2999, 1, 1)),  # noqa: DTZ001 - hypothesis wants naive bounds
    st.integers(0, 16**7 - 1),
)
tables = st.dictionaries(words, words, max_size=3)


def tuples(of: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(of, max_size=2).map(tuple)


upstreams = st.builds(
    lambda word, at, facts: {word: {at: "somewhere", **facts}},
    st.sampled_from(["ami", "oci", "disk"]),
    st.sampled_from(["region", "repository", "url"]),
    st.fixed_dictionaries({"id": words}, optional={"name": words, "owner": words, "created": instants}),
)
pins = upstreams.map(Pin.model_validate) | st.builds(Pin, artifacts=st.none() | tables, image=maybe)
requests = st.builds(SourceRequest, image=words, channel=st.sampled_from([None, "candidate", "stable"])) | st.builds(
    amis,
    name=names, owners=st.lists(words, min_size=1, max_size=2).map(tuple),
    filters=st.dictionaries(words, tuples(words), max_size=2),
)  # fmt: skip
reasons = st.builds(Reason, code=st.just("new"), was=maybe, files=st.none() | tuples(words))
builds = st.builds(
    Build,
    id=ids,
    key=words,
    components=tables,
    files=st.none() | tables,
    commit=words,
    reasons=tuples(reasons),
    started=st.none() | instants,
    seconds=st.none() | st.integers(0, 10**9),
    packer=st.none() | st.builds(PackerVersions, version=words, plugins=tables),
    source=st.none() | pins,
    artifacts=tuples(
        st.builds(Artifact, kind=words, builder=words, location=words, id=words, name=maybe, snapshots=tuples(words))
    ),
    smoke_test=st.none() | st.builds(SmokeTestResult, status=st.just("failed"), tests=st.just(7), seconds=st.just(1)),
    phase=st.sampled_from(["preliminary", "stable"]),
    ci=st.none() | st.builds(CiRun, provider=words, url=words),
)  # fmt: skip


@st.composite
def lockfiles(draw: st.DrawFn) -> Lockfile:
    recorded = draw(st.lists(builds, max_size=3, unique_by=lambda build: build.id))
    pointers = st.sampled_from([None, *(build.id for build in recorded)])
    return Lockfile(
        image=draw(names),
        source=draw(st.none() | st.builds(PinnedSource, requested=requests, pinned=pins)),
        builds=tuple(recorded),
        channels=Channels(candidate=draw(pointers), stable=draw(pointers)),
        failure=draw(
            st.none()
            | st.builds(
                Failure, build=ids, key=words, attempts=st.integers(1, 9), at=instants, retry_after=instants, what=words
            )
        ),
    )


@UNTIMED
@given(lockfiles())
def test_what_is_written_is_read_back_and_written_the_same(lockfile: Lockfile) -> None:
    content = render(lockfile)

    assert parse(content, path_of(lockfile.image)) == lockfile
    assert render(parse(content, path_of(lockfile.image))) == content


@UNTIMED
@given(builds)
def test_a_build_record_is_the_same_object_as_in_the_lockfile(build: Build) -> None:
    lockfile = Lockfile(image="web", builds=(build,))

    assert parse_build(render_build(build), Place("tag")) == build
    assert json.loads(render_build(build)) == json.loads(render(lockfile))["builds"][0]


def test_the_canonical_form_is_sorted_spaced_and_leaves_out_what_is_empty() -> None:
    lockfile = Lockfile(
        image="web", source=PinnedSource(requested=SourceRequest(image="bäse"), pinned=Pin(image="bäse"))
    )

    assert render(lockfile).decode() == (
        "{\n"
        '  "$schema": "../docs/schema/lockfile-1.json",\n'
        '  "image": "web",\n'
        '  "schema": 1,\n'
        '  "source": {\n'
        '    "pinned": {\n'
        '      "image": "bäse"\n'
        "    },\n"
        '    "requested": {\n'
        '      "image": "bäse"\n'
        "    }\n"
        "  }\n"
        "}\n"
    )


def test_a_valid_lockfile_that_is_not_canonical_is_read() -> None:
    assert parse(b'{"schema":1,"image":"web"}', WEB) == Lockfile(image="web")


CANONICAL = render(
    Lockfile(
        image="web",
        builds=(Build(id=BUILD, key="k", components={}, commit="c", artifacts=(), phase="stable"),),
        channels=Channels(stable=BUILD),
    )
).decode()

FAULTS = {
    "conflict": (
        CANONICAL.replace('  "image"', '<<<<<<< HEAD\n  "image"'),
        "state/web.lock.json:16:1: a merge conflict was left here (<<<<<<<)",
    ),
    "truncated": (CANONICAL[:57], "state/web.lock.json:3:9: the file ends in the middle"),
    "cut off in a list": (CANONICAL[:75], "state/web.lock.json:4:6: the file ends in the middle"),
    "empty": ("", "state/web.lock.json:1:1: the file is empty"),
    "comma": (
        CANONICAL.replace('"web",', '"web"'),
        "state/web.lock.json:17:3: not valid JSON: Expecting ',' delimiter",
    ),
    "line break in a text": (
        CANONICAL.replace('"c"', '"c\n"'),
        "state/web.lock.json:6:19: not valid JSON: a line break or control character inside of a text",
    ),
    "number without end": (
        CANONICAL.replace('"schema": 1', f'"schema": {"1" * 10_000}'),
        "state/web.lock.json:17:4314: not valid JSON: number out of range",
    ),
    "half a character": (
        CANONICAL.replace('"c"', r'"\ud800"'),
        "state/web.lock.json:6:24: not valid JSON: unexpected end of hex escape",
    ),
    "no schema": (
        CANONICAL.replace(',\n  "schema": 1', ""),
        'state/web.lock.json:1:1: the lockfile lacks the key "schema"',
    ),
    "newer": (
        CANONICAL.replace('"schema": 1', '"new": 1,\n  "schema": 2'),
        "state/web.lock.json:18:3: written by a newer reconciler: schema 2, and this one knows 1",
    ),
    "unknown": (
        CANONICAL.replace('"phase"', '"phases"'),
        'state/web.lock.json:10:7: written by a newer reconciler: unknown key "phases"',
    ),
    "new": (
        CANONICAL.replace('"phase"', '"new": 1, "phase"'),
        'state/web.lock.json:10:7: written by a newer reconciler, or by hand: unknown key "new"',
    ),
    "missing": (
        CANONICAL.replace('      "key": "k",\n', ""),
        'state/web.lock.json:4:5: builds.0 lacks the key "key"',
    ),
    "twice": (
        CANONICAL.replace('  "schema"', '  "image": "api",\n  "schema"'),
        'state/web.lock.json:17:3: the key "image" is given twice',
    ),
    "pointer": (
        CANONICAL.replace(f'"stable": "{BUILD}"', '"stable": "x"'),
        "state/web.lock.json:1:1: channel stable points to x, which is not among the builds",
    ),
    "text for a number": (
        CANONICAL.replace('"commit": "c"', '"commit": "c",\n      "seconds": "soon"'),
        "state/web.lock.json:7:7: seconds: input should be a valid integer, unable to parse string as an integer",
    ),
    "longer than anybody can wait": (
        CANONICAL.replace('"commit": "c"', '"commit": "c",\n      "seconds": 1000000000000000000'),
        "state/web.lock.json:7:7: seconds: input should be less than or equal to 1000000000",
    ),
    "begun when nobody lives": (
        CANONICAL.replace('"commit": "c"', '"commit": "c",\n      "started": "9999-12-31T23:59:59Z"'),
        "state/web.lock.json:7:7: 9999-12-31T23:59:59Z is in no year from 1000 to 2999",
    ),
    "list": ("[]", "state/web.lock.json:1:1: the lockfile: input should be an object"),
    "other image": (
        CANONICAL.replace('"web"', '"api"'),
        'state/web.lock.json:16:3: the lockfile of "api" has the name of another image',
    ),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_lockfile_is_refused_with_the_place_and_a_way_out(fault: str) -> None:
    text, message = FAULTS[fault]

    with pytest.raises(UserError) as raised:
        parse(text.encode(), WEB)

    assert str(raised.value).splitlines()[0] == message
    assert raised.value.hint


LATER: dict[str, tuple[Callable[[dict[str, Any]], None], str]] = {
    "key": (lambda lock: lock["builds"][0].update(waves=[]), 'unknown key "waves"'),
    "part": (lambda lock: lock.update(delivery={"to": "x"}), 'unknown key "delivery"'),
    "phase": (lambda lock: lock["builds"][0].update(phase="archived"), "phase: input should be "),
    "schema": (lambda lock: lock.update(schema=2), "schema 2, and this one knows 1"),
}


@pytest.mark.parametrize("change", LATER)
def test_what_a_later_version_wrote_asks_for_that_version_and_never_for_an_older_lockfile(change: str) -> None:
    lock = json.loads(CANONICAL)
    edit, said = LATER[change]
    edit(lock)

    with pytest.raises(UserError, match="written by a newer reconciler: ") as raised:
        parse(f"{json.dumps(lock, sort_keys=True, indent=2)}\n".encode(), WEB)

    assert said in raised.value.what
    assert raised.value.hint[0].startswith(f"update reconciler, which is {__version__} here")
    assert "checkout" not in str(raised.value)


def test_bytes_that_are_not_utf8_are_refused_with_the_line() -> None:
    with pytest.raises(UserError, match=r"state/web\.lock\.json:2: not UTF-8"):
        parse(b'{\n"image": "\xff"}', WEB)


def test_nesting_without_end_is_refused() -> None:
    with pytest.raises(UserError, match=r"nested too deeply"):
        parse(b"[" * 100_000, WEB)


@pytest.mark.parametrize("depth", range(860, 1000, 5))
def test_nesting_as_deep_as_python_can_follow_is_refused(depth: int) -> None:
    with pytest.raises(UserError):
        parse(b'{"schema": 1, "image": "web", "new": %b}' % (b"[" * depth + b"]" * depth), WEB)


def test_a_record_that_is_none_is_terminal() -> None:
    with pytest.raises(Terminal, match="image/web/1: not a build record"):
        parse_build(b"{}", Place("image/web/1"))


@dataclass(frozen=True)
class FolderTree:
    """A tree whose blobs have their path for an id."""

    contents: Mapping[str, bytes]
    mode: str = "100644"
    oid: str = "tree"
    below: str = ""

    @property
    def entries(self) -> Mapping[str, TreeEntry]:
        return {path: TreeEntry(path, self.mode, path) for path in self.contents}

    def read(self, oids: Iterable[str], *, most: int | None = None) -> Mapping[str, bytes]:
        return {oid: self.contents[oid] for oid in oids if most is None or len(self.contents[oid]) <= most}


def test_one_bad_lockfile_does_not_hide_the_others() -> None:
    tree = FolderTree({
        "state/README.md": b"#",
        "state/old/web.lock.json": b"?",
        "state/api.lock.json": b"{",
        "state/We b.lock.json": b"{}",
        WEB: CANONICAL.encode(),
    })  # fmt: skip

    found, problems = read_lockfiles(tree)

    assert list(found) == ["web"]
    assert sorted(problems) == ["We b", "api"]
    assert read_lockfile(tree, "web") == found["web"]
    assert read_lockfile(tree, "none") is None


def test_a_lockfile_that_is_a_link_is_refused() -> None:
    _, problems = read_lockfiles(FolderTree({WEB: b"../secret"}, mode="120000"))

    assert "not a regular file" in str(problems["web"])
