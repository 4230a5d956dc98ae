"""Marks that an earlier run read: a HEAD for each where nothing changed, and nothing believed of what is kept."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from reconciler.model.observation import Observation
from reconciler.registries.oci.kept_marks import KeptMarks, cache_folder
from reconciler.registries.oci.marks import tag_of
from reconciler.registries.oci.registry import OciRegistry
from tests import containers
from tests.integration.registries.test_container_faults import Played, Reply, behind
from tests.integration.registries.test_tags import FLEET, Kept

pytestmark = pytest.mark.containers


class Watched:
    """A registry with three images, and who counts what it is asked."""

    def __init__(self, kept: Kept, played: Played, folder: Path) -> None:
        self.kept, self.played, self.folder = kept, played, folder
        self.digests = [kept.push(content) for content in ("one", "two", "three")]
        self.location = f"{played.host}/acme/web"
        played.answers = behind(kept.location, {})

    def observe(self) -> tuple[Observation, Mapping[str, int]]:
        """What another run sees, and how often it asks for manifests by which method."""
        self.played.asked.clear()
        seen = OciRegistry(self.kept.client, fleet=FLEET, kept=KeptMarks(self.folder)).observe([self.location])
        return seen, Counter(one.partition(" ")[0] for one in self.played.asked if "/manifests/" in one)

    def mark(self, number: int, tags: Mapping[str, str]) -> None:
        """Mark one of them, on another machine."""
        registry = OciRegistry(self.kept.client, fleet=FLEET)
        seen = registry.find(self.kept.location, self.digests[number])
        assert seen is not None
        registry.tag(seen, tags)

    @property
    def file(self) -> Path:
        (found,) = self.folder.iterdir()
        return found


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    containers.refuse_without_registry()
    played = Played()
    with containers.registry(tmp_path) as host:
        yield Watched(Kept.of(host), played, tmp_path / "cache" / "marks")
    played.end()


def test_what_has_not_changed_costs_a_head_and_what_has_one_request_more(watched: Watched) -> None:
    first, asked = watched.observe()
    assert asked == {"GET": 3}
    again, asked = watched.observe()
    assert (again, asked) == (first, {"HEAD": 3})
    assert watched.folder.stat().st_mode & 0o077 == 0

    watched.mark(1, {"reconciler:phase": "stable"})
    changed, asked = watched.observe()

    assert asked == {"HEAD": 3, "GET": 1}
    assert {one.id: one.own("phase") for one in changed.artifacts}[watched.digests[1]] == "stable"
    assert watched.observe()[1] == {"HEAD": 3}


def test_what_is_new_or_gone_is_seen(watched: Watched) -> None:
    watched.observe()
    new = watched.kept.push("four")
    gone = watched.digests[0]
    watched.kept.client.delete_manifest(watched.kept.at.by(gone))
    marks = watched.kept.client.digest(watched.kept.at.by(tag_of(gone)))
    assert marks is not None
    watched.kept.client.delete_manifest(watched.kept.at.by(marks))

    seen, _ = watched.observe()

    assert {one.id for one in seen.artifacts} == {*watched.digests[1:], new}
    assert tag_of(gone) not in watched.file.read_text()


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"a": 1}', "\x00", "FORGED", "EXCHANGED", "\ud800"],
)
def test_what_is_kept_is_believed_of_no_more_than_its_bytes(watched: Watched, content: str) -> None:
    first, _ = watched.observe()
    kept = json.loads(watched.file.read_text())
    if content == "FORGED":
        content = json.dumps({tag: text.replace("2026-11-22", "2020-11-22") for tag, text in kept.items()})
    elif content == "EXCHANGED":
        content = json.dumps(dict(zip(kept, reversed(kept.values()), strict=True)))
    watched.file.write_bytes(content.encode(errors="surrogatepass"))

    assert watched.observe()[0] == first


def test_marks_that_are_kept_count_as_those_that_are_received(
    watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    watched.observe()
    of_heads = 3 * 1000
    watched.mark(0, {"note": "x" * 20_000})
    watched.observe()
    monkeypatch.setattr("reconciler.registries.oci.registry._MOST_OF_MARKS", 20_000 + of_heads)

    seen, asked = watched.observe()

    assert asked == {"HEAD": 3}
    assert "is of more than 23,000 bytes" in seen.unreadable[watched.location]


def test_of_what_could_not_be_read_whole_nothing_is_kept(watched: Watched) -> None:
    first, _ = watched.observe()
    before = watched.file.read_text()
    watched.mark(0, {"reconciler:phase": "stable"})
    watched.played.answers = behind(watched.kept.location, {watched.digests[2][7:]: Reply(403)})
    assert list(watched.observe()[0].unreadable) == [watched.location]

    assert watched.file.read_text() == before
    watched.played.answers = behind(watched.kept.location, {})
    assert len(watched.observe()[0].artifacts) == len(first.artifacts)


def test_where_nothing_can_be_kept_all_is_read_anew(watched: Watched) -> None:
    watched.folder.parent.write_text("no folder")
    for _ in range(2):
        seen, asked = watched.observe()
        assert (len(seen.artifacts), asked) == (3, {"GET": 3})


@pytest.mark.parametrize(
    ("environment", "folder"),
    [
        ({"HOME": "/home/ada"}, "/home/ada/.cache/reconciler/marks"),
        ({"HOME": "/home/ada", "XDG_CACHE_HOME": "/var/cache/ada"}, "/var/cache/ada/reconciler/marks"),
        ({"HOME": "/home/ada", "XDG_CACHE_HOME": "cache"}, "/home/ada/.cache/reconciler/marks"),
        ({}, None), ({"HOME": "here"}, None),
    ],
)  # fmt: skip
def test_they_are_kept_in_the_user_s_cache(environment: Mapping[str, str], folder: str | None) -> None:
    assert cache_folder(environment) == (Path(folder) if folder is not None else None)
