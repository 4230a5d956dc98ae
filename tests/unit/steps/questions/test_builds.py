"""What a channel points to, and why not where it points to nothing: in a clone alone."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.git.repository import Repository
from reconciler.model.errors import UserError
from reconciler.model.lockfile import Channels, Failure, Leaving, Lockfile, Revoked
from reconciler.plan.history import LockPast, LockVersion
from reconciler.state.lockfiles import path_of, render
from reconciler.steps.ours import Preview
from reconciler.steps.questions import builds as module
from reconciler.steps.questions.builds import pointed, resolve_names
from tests.unit.steps.in_hand import MemoryTree

Make = Callable[..., Any]
US, EU = "us-east-1", "eu-west-1"


def clone(*locks: Lockfile, **files: bytes) -> Repository:
    tree = MemoryTree({**files, **{path_of(one.image): render(one) for one in locks}})
    return cast("Repository", SimpleNamespace(tree=lambda _revision: tree, head="9c0d1e2", git=None, shallow=False))


@pytest.fixture(autouse=True)
def no_renames(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "name_now", lambda _repository, image, **_: image)


@pytest.fixture
def lock(built: Make, an_image: Make) -> Lockfile:
    found: Lockfile = built(an_image(regions=(US, EU))).lock
    return found


def refused(repository: Repository, image: str = "web", location: str | None = None) -> UserError:
    with pytest.raises(UserError) as error:
        pointed(repository, image, channel="stable", location=location, revision="HEAD")
    return error.value


def test_it_points_to_one_artifact_in_a_location_and_to_each_without_one(lock: Lockfile) -> None:
    every = pointed(clone(lock), "web", channel="stable", location=None, revision="HEAD")
    one = pointed(clone(lock), "web", channel="stable", location=EU, revision="HEAD")

    assert {each.location for each in every.artifacts} == {US, EU}
    assert [each.location for each in one.artifacts] == [EU]
    assert one.build == lock.channels.stable


def test_a_location_where_it_is_not_is_told_with_those_where_it_is(lock: Lockfile) -> None:
    near = refused(clone(lock), location="eu-west-2")
    far = refused(clone(lock), location="mars")

    assert near.hint == (f'did you mean "{EU}"? it is in {EU}, {US}',)
    assert far.hint == (f"it is in {EU}, {US}",)


def test_why_a_channel_points_to_nothing_is_told(lock: Lockfile) -> None:
    build = lock.builds[0]
    nothing = lock.model_copy(update={"channels": Channels()})
    candidate = lock.model_copy(update={"channels": Channels(candidate=build.id)})
    gone = Revoked(at="2026-11-23T00:00:00Z", reason="leaked", phase="stable")
    revoked = nothing.model_copy(
        update={"builds": (build.model_copy(update={"phase": "revoked", "revoked": gone}),)}
    )  # fmt: skip
    at = "2026-11-23T00:00:00Z"
    failure = Failure(build=build.id, key=build.key, at=at, what="it broke", attempts=1, retry_after=at)
    failed = Lockfile(image="web", failure=failure)

    assert f"its candidate {build.id} has not become stable" in refused(clone(candidate)).what
    assert refused(clone(revoked)).hint == (f"{build.id} is revoked: leaked",)
    assert refused(clone(failed)).hint == ("the last attempt failed: `reconciler status web`",)
    assert refused(clone(nothing)).hint == ("`reconciler history web` shows what there was",)


def test_an_image_that_was_never_built_is_told_from_one_that_is_none(lock: Lockfile) -> None:
    repository = clone(lock, **{"desired/api/api.pkr.hcl": b""})

    assert refused(repository, "api").what == "nothing is built of api yet"
    assert refused(repository, "wbe").hint == ('did you mean "web"?',)
    assert refused(repository, "zzz").hint == ("recorded are: web",)


def test_an_image_that_is_called_otherwise_now_is_named(lock: Lockfile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "name_now", lambda *_, **__: "web")
    error = refused(clone(lock), "www")
    assert (error.what, error.hint) == ("www is called web now", ("`reconciler artifact web`",))


@pytest.mark.parametrize(
    ("word", "is_one"),
    [
        ("20261122T101530Z-1a2b3c4", True),
        ("2026", True),
        ("1a2b3c4", True),
        ("sha256:1a2b", True),
        ("1a2b3c4…", True),
        ("ami-0123456789abcdef0", True),
        ("web", False),
        ("web-server", False),
        ("stable", False),
    ],
)
def test_only_what_may_be_an_id_is_worth_a_search_of_all_history(word: str, *, is_one: bool) -> None:
    assert module._is_an_id(word) is is_one


class TestNames:
    """An artifact's id stands for its build, wherever a build is asked for."""

    def holders(self, monkeypatch: pytest.MonkeyPatch, **known: tuple[str, str]) -> list[str]:
        asked: list[str] = []

        def found(_repository: object, word: str, **_: object) -> list[SimpleNamespace]:
            asked.append(word)
            image, build = known.get(word.replace("-", "_"), (None, None))
            return [SimpleNamespace(image=image, build=build)] if image is not None else []

        monkeypatch.setattr(module, "holders", found)
        return asked

    def test_it_names_its_image_as_well(self, lock: Lockfile, monkeypatch: pytest.MonkeyPatch) -> None:
        self.holders(monkeypatch, ami_01234567=("web", "b1"), ami_89abcdef=("web", "b2"))
        repository = clone(lock)

        assert resolve_names(repository, ["ami-01234567"], revision="HEAD") == ("web", ("b1",))
        assert resolve_names(repository, ["web", "ami-01234567"], revision="HEAD") == ("web", ("b1",))
        assert resolve_names(repository, ["ami-01234567", "ami-89abcdef"], revision="HEAD") == ("web", ("b1", "b2"))

    def test_that_of_another_image_is_refused(self, lock: Lockfile, monkeypatch: pytest.MonkeyPatch) -> None:
        self.holders(monkeypatch, ami_01234567=("db", "b1"))
        with pytest.raises(UserError, match="ami-01234567 is of db, and not of web"):
            resolve_names(clone(lock), ["web", "ami-01234567"], revision="HEAD")

    def test_what_is_no_such_id_stays_and_costs_no_search(
        self, lock: Lockfile, monkeypatch: pytest.MonkeyPatch
    ) -> None:  # fmt: skip
        asked = self.holders(monkeypatch)
        words = ["web", "stable", "2026", "20261122T101530Z-1a2b3c4"]

        assert resolve_names(clone(lock), words, revision="HEAD") == ("web", tuple(words[1:]))
        assert asked == []
        key = lock.builds[0].key.removeprefix("sha256:")[:12]
        assert resolve_names(clone(lock), ["web", key], revision="HEAD") == ("web", (key,))
        assert asked == [], "it begins the key of a build that is recorded today"


def test_how_far_a_build_has_gone_that_goes_is_told_as_its_lockfile_has_it_now(
    lock: Lockfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = lock.builds[0]
    goes = Leaving(build=build, deprecated="2026-11-23T00:00:00Z")
    now = lock.model_copy(update={"builds": (), "channels": Channels(), "leaving": (goes,)})
    versions = tuple(
        LockVersion(f"c{number}", "2026-11-22T10:15:30Z", "a <a@b>", "", {}, one)
        for number, one in ((2, now), (1, lock))
    )
    monkeypatch.setattr(module, "pull_requests", lambda *_: SimpleNamespace(of=lambda *_: None))

    answer = module._answer(clone(now), LockPast(versions), build.id, revision="HEAD")

    assert answer.leaving is not None
    assert (answer.kept, answer.leaving.deprecated) == (True, goes.deprecated)


@pytest.mark.parametrize(("word", "searched"), [("deadbeef", True), ("1a2b3c4", False)])
def test_a_build_is_looked_for_in_tags_by_an_artifacts_id_alone(
    lock: Lockfile, monkeypatch: pytest.MonkeyPatch, word: str, *, searched: bool
) -> None:
    asked: list[str] = []

    def holders(_repository: object, named: str, **_: object) -> tuple[()]:
        asked.append(named)
        return ()

    monkeypatch.setattr(module, "search", lambda *_, **__: ())
    monkeypatch.setattr(module, "holders", holders)
    repository = cast("Any", clone(lock))
    repository.tags = lambda _below: ()

    with pytest.raises(UserError):
        module._by_itself(repository, word, revision="HEAD")

    assert asked == ([word] if searched else [])


def test_a_preview_that_a_tag_names_is_looked_for_no_further(lock: Lockfile, monkeypatch: pytest.MonkeyPatch) -> None:
    preview = Preview(lock.builds[0], "tag", "9c0d1e2", ("feature",))
    monkeypatch.setattr(module, "search", lambda *_, **__: ())
    monkeypatch.setattr(module, "holders", lambda *_, **__: ())
    monkeypatch.setattr(module, "find_preview", lambda *_: preview)
    repository = cast("Any", clone(lock))
    repository.tags = lambda _below: (SimpleNamespace(name="image/web/20261122T101530Z-1a2b3c4"),)

    answer = module._by_itself(repository, "20261122", revision="HEAD")

    assert (answer.image, answer.build, answer.preview) == ("web", preview.build, True)
