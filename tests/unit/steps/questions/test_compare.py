"""What is inside a build, by the SBOM that stands at a commit: as it was recorded, or not at all."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.git.past import Version
from reconciler.git.repository import Repository
from reconciler.model.errors import Place, UserError
from reconciler.model.inventory import Inventory, OperatingSystem
from reconciler.model.lockfile import Build, Channels, Failure, InventoryRecord, Lockfile
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.state.lockfiles import path_of, render
from reconciler.state.sbom import below_state, render_sbom
from reconciler.steps.ours import Preview
from reconciler.steps.questions import compare as module
from reconciler.steps.questions.compare import _Builds, _only_failed, _pair_with_preview, _sharing, inside, past_of
from tests.unit.steps.in_hand import MemoryTree

Make = Callable[..., Any]
DEBIAN = Inventory(
    OperatingSystem("debian", "12", "Debian 12"), "6.1.0", packages=(), services=(), ports=(), users=(), suid=()
)  # fmt: skip


@pytest.fixture
def build(built: Make) -> Build:
    one: Build = built().lock.builds[0]
    record = InventoryRecord(os="Debian 12", kernel="6.1.0", sbom=below_state("web", one.id), digest=DEBIAN.digest)
    return one.model_copy(update={"inventory": record})


def read(build: Build, content: bytes | None) -> Inventory:
    path = f"state/{below_state('web', build.id)}"
    tree = MemoryTree({path: content} if content is not None else {})
    return inside(lambda _commit: tree, "web", build, commit="9c0d1e2" + "0" * 33)


def test_what_was_recorded_is_read(build: Build) -> None:
    assert read(build, render_sbom("web", build.id, DEBIAN)) == DEBIAN


def test_one_that_is_missing_or_another_is_told_with_its_place(build: Build) -> None:
    place = Place(f"state/{below_state('web', build.id)}")
    other = render_sbom("web", build.id, Inventory(**{**DEBIAN.__dict__, "kernel": "6.12.0"}))

    for content, what in ((None, "is missing in 9c0d1e2"), (other, "is not the one that was recorded")):
        with pytest.raises(UserError, match=what) as error:
            read(build, content)
        assert error.value.where == place


@pytest.mark.parametrize(
    ("tested", "why"),
    [
        (None, "it was never booted, or by a reconciler that took no inventory"),
        (SmokeTestResult(status="skipped", why="smoke_test.boot is false"), "smoke_test.boot is false"),
        (SmokeTestResult(status="passed"), "its smoke test passed, and nothing could be read"),
    ],
)
def test_why_nobody_looked_into_it_is_told(build: Build, tested: SmokeTestResult | None, why: str) -> None:
    unseen = build.model_copy(update={"inventory": None, "smoke_test": tested})
    with pytest.raises(UserError) as error:
        read(unseen, None)
    assert error.value.what == f"what is inside {build.id} of web was not recorded: {why}"


class TestPreview:
    def paired(self, build: Build, *asked: str, candidate: bool = True) -> tuple[str, str]:
        previewed = build.model_copy(update={"id": "20261130T101530Z-1a2b3c4"})
        known = _Builds((build,), Channels(candidate=build.id if candidate else None), {})
        previews = {"20261130": Preview(previewed, "tag", "9c0d1e2", ("feature",))}
        old, new = _pair_with_preview("web", known, asked, previews=previews)
        return old.id, new.id

    def test_alone_it_is_held_against_what_its_merge_would_replace(self, build: Build) -> None:
        assert self.paired(build, "20261130") == (build.id, "20261130T101530Z-1a2b3c4")
        assert self.paired(build, "20261130", build.id) == ("20261130T101530Z-1a2b3c4", build.id)

    def test_without_a_candidate_there_is_nothing_to_hold_it_against(self, build: Build) -> None:
        with pytest.raises(UserError, match="20261130 is a preview of branch feature, and web has no candidate"):
            self.paired(build, "20261130", candidate=False)


def test_a_name_that_shares_a_build_is_a_former_one_whatever_git_guesses(built: Make) -> None:
    lock: Lockfile = built().lock
    files = {
        path_of("old"): render(lock.model_copy(update={"image": "old"})),
        path_of("empty"): render(Lockfile(image="empty")),
        path_of("broken"): b"<<<<<<< HEAD\n",
        "state/sbom/old/1.cdx.json": b"{}",
    }
    assert list(_sharing(lock, MemoryTree(files), sorted(files))) == ["old"]


@pytest.mark.parametrize("tested", [True, False])
def test_an_attempt_that_was_rejected_is_told_from_one_that_failed(build: Build, *, tested: bool) -> None:
    at = "2026-11-23T00:00:00Z"
    failure = Failure(
        build=build.id, key=build.key, at=at, what="no\x1b[2Jnginx", attempts=1, retry_after=at,
        smoke_test=SmokeTestResult(status="failed") if tested else None,
    )  # fmt: skip
    became = "was built and rejected" if tested else "failed"
    assert _only_failed("web", failure).what == f"web has no build to compare: {build.id} {became}: no\\x1b[2Jnginx"


class TestPast:
    """Versions of a lockfile, and of those before it was called so, by a git that is told what to find."""

    def past(
        self, monkeypatch: pytest.MonkeyPatch, *contents: bytes, shallow: bool, parents: tuple[str, ...] = ()
    ) -> list[tuple[str, bool]]:
        at = datetime(2026, 11, 22, tzinfo=UTC)
        found = [
            Version(
                f"c{number}", (f"c{number - 1}",) if number > 1 else parents, at, "a <a@b>", "", path_of("web"), one
            )
            for number, one in enumerate(contents, start=1)
        ]
        monkeypatch.setattr(module, "versions", lambda *_, **__: tuple(reversed(found)))
        monkeypatch.setattr(module, "resolve_commit", lambda _git, revision: revision)
        monkeypatch.setattr(module, "removed_in", lambda *_, **__: ())
        clone = SimpleNamespace(git=None, shallow=shallow, tree=lambda _: MemoryTree({path_of("web"): contents[-1]}))
        versions = past_of(cast("Repository", clone), "web", revision="c2").versions
        return [(one.commit, one.cut_off) for one in versions]

    def test_only_where_the_oldest_is_the_clones_first_commit_there_may_be_an_older_one(
        self, built: Make, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole, broken = render(built().lock), b"<<<<<<< HEAD\n"

        assert self.past(monkeypatch, whole, whole, shallow=True) == [("c2", False), ("c1", True)]
        assert self.past(monkeypatch, whole, whole, shallow=False) == [("c2", False), ("c1", False)]
        assert self.past(monkeypatch, whole, whole, shallow=True, parents=("c0",)) == [("c2", False), ("c1", False)]
        assert self.past(monkeypatch, broken, whole, shallow=True) == [("c2", False)]


def test_a_name_leads_to_what_it_was_renamed_to_last_also_where_that_goes_in_a_circle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    renames = {"a": "b", "b": "c", "x": "y", "y": "x"}
    monkeypatch.setattr(module, "_renamed_to", lambda _repository, name, **_: renames.get(name))
    clone = cast("Repository", SimpleNamespace())

    assert [module.name_now(clone, name, revision="HEAD") for name in ("a", "c", "x", "No name")] == [
        "c", "c", "y", "No name",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("content", "parents", "renamed"), [(None, ("c0",), "www"), (b"{}", ("c0",), None), (None, (), None)]
)
def test_an_image_was_renamed_where_its_lockfile_went_and_another_came_with_its_builds(
    built: Make, monkeypatch: pytest.MonkeyPatch, content: bytes | None, parents: tuple[str, ...], renamed: str | None
) -> None:
    lock: Lockfile = built().lock
    trees = {
        "c0": MemoryTree({path_of("web"): render(lock)}),
        "c1": MemoryTree({path_of("www"): render(lock.model_copy(update={"image": "www"}))}),
    }
    last = Version("c1", parents, datetime(2026, 11, 22, tzinfo=UTC), "a <a@b>", "", path_of("web"), content)
    monkeypatch.setattr(module, "versions", lambda *_, **__: (last,))
    monkeypatch.setattr(module, "added_in", lambda *_, **__: [path_of("www")])
    clone = cast("Repository", SimpleNamespace(git=None, tree=trees.__getitem__))

    assert module._renamed_to(clone, "web", revision="HEAD") == renamed
    monkeypatch.setattr(module, "versions", lambda *_, **__: ())
    assert module._renamed_to(clone, "web", revision="HEAD") is None


def test_of_an_image_that_only_failed_that_is_told_where_its_builds_are_to_be_compared(build: Build) -> None:
    at = "2026-11-23T00:00:00Z"
    failure = Failure(build=build.id, key=build.key, at=at, what="no nginx", attempts=1, retry_after=at)
    tree = MemoryTree({path_of("web"): render(Lockfile(image="web", failure=failure))})
    clone = cast("Repository", SimpleNamespace(head="9c0d1e2", tree=lambda _: tree))

    with pytest.raises(UserError, match=r"web has no build to compare: .* failed: no nginx"):
        module.compare(clone, "web", [])
