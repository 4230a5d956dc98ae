"""Which build left an artifact: by its id, by what it was converted to, by a part; and where nothing is to be found."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from reconciler.git.repository import Repository
from reconciler.model.errors import UserError
from reconciler.model.lockfile import Artifact, Build, Channels, Conversion, Failure, Leaving, Lockfile
from reconciler.state.lockfiles import path_of, render
from reconciler.steps.ours import Preview
from reconciler.steps.questions import lookup as module
from reconciler.steps.questions.lookup import channels_of, departure, id_in, search
from tests.unit.steps.in_hand import MemoryTree

Make = Callable[..., Any]
DIGEST = "sha256:" + "a" * 64
AMI = "ami-0123456789abcdef0"


def clone(*locks: Lockfile, **files: bytes) -> Repository:
    tree = MemoryTree({**{path_of(one.image): render(one) for one in locks}, **files})
    return cast("Repository", SimpleNamespace(tree=lambda _revision: tree, git=None, shallow=False))


@pytest.mark.parametrize(
    ("asked", "id_"),
    [
        (AMI, AMI),
        (DIGEST, DIGEST),
        (f"registry.example.org/web@{DIGEST}", DIGEST),
        (f"/srv/images/web:{DIGEST}.1", f"{DIGEST}.1"),
        (f"us-east-1:{AMI}", f"us-east-1:{AMI}"),
        (DIGEST[:-1], DIGEST[:-1]),
    ],
)
def test_a_digest_may_stand_behind_its_location(asked: str, id_: str) -> None:
    assert id_in(asked) == id_


class TestLeft:
    """What counts most: an artifact itself, then what it was converted to, then a part of one."""

    ARTIFACT = Artifact(
        kind="disk", builder="qemu.web", location="/srv", id="sha256:1", name="web", parts=("snap-1",),
        conversions=(Conversion(format="vmdk", id="sha256:2", size=1),),
    )  # fmt: skip

    def left(self, build: Build, asked: str) -> tuple[int, bool, str | None]:
        one = module._of(build, [self.ARTIFACT, self.ARTIFACT], asked)
        return len(one.artifacts), one.as_part, one.as_format

    def test_each_is_found_once_and_told_apart(self, built: Make) -> None:
        build = built().lock.builds[0]
        assert self.left(build, "sha256:1") == (1, False, None)
        assert self.left(build, "sha256:2") == (1, False, "vmdk")
        assert self.left(build, "snap-1") == (1, True, None)
        assert self.left(build, "snap-2")[0] == 0

    def test_what_an_attempt_left_is_found_as_well(self, built: Make) -> None:
        build: Build = built().lock.builds[0].model_copy(update={"artifacts": (self.ARTIFACT,)})
        at = "2026-11-23T00:00:00Z"
        failure = Failure(
            build=build.id, key=build.key, at=at, what="not marked", attempts=1, retry_after=at, made=build
        )  # fmt: skip
        ((name, found),) = module._left("sha256:1")(Lockfile(image="web", failure=failure))
        assert (name, found.by) == (build.id, failure)


class TestSearch:
    def look(self, lock: Lockfile) -> list[tuple[str, str]]:
        return [(build.id, build.id) for build in lock.recorded]

    def test_what_stands_in_a_lockfile_today_costs_no_walk_through_history(self, built: Make) -> None:
        lock: Lockfile = built().lock
        (found,) = search(clone(lock), lock.builds[0].id, self.look, revision="HEAD")
        assert (found.image, found.hit, found.past) == ("web", lock.builds[0].id, None)

    def test_without_history_what_is_not_there_is_nowhere(self, built: Make) -> None:
        assert search(clone(built().lock), "ami-nothing", self.look, revision="HEAD", ever=False) == ()

    def test_a_lockfile_that_can_not_be_read_and_has_it_is_no_no(self, built: Make) -> None:
        lock: Lockfile = built().lock
        broken = {path_of("base"): b"<<<<<<< HEAD " + lock.builds[0].id.encode()}

        with pytest.raises(UserError):
            search(clone(**broken), lock.builds[0].id, self.look, revision="HEAD", ever=False)
        (found,) = search(clone(lock, **broken), lock.builds[0].id, self.look, revision="HEAD", ever=False)
        assert found.image == "web", "what is found is an answer, whatever else is broken"


class TestNobodys:
    def error(self, asked: str, *locks: Lockfile, shallow: bool = False) -> UserError:
        repository = clone(*locks)
        cast("SimpleNamespace", repository).shallow = shallow
        return module._nobodys(repository, asked, revision="HEAD")

    def test_an_image_a_build_and_a_source_are_no_artifacts_and_it_is_said_who_knows(self, built: Make) -> None:
        lock: Lockfile = built().lock
        source = lock.builds[0].source
        assert source is not None
        assert source.upstream is not None

        assert self.error("web", lock).hint == ("`reconciler artifact web` names its own",)
        assert self.error(lock.builds[0].id, lock).hint == (f"`reconciler show {lock.builds[0].id}`",)
        assert self.error(source.upstream.id, lock).what.endswith("is not of this fleet: web is built on it")

    def test_the_id_that_was_probably_meant_is_told(self, built: Make) -> None:
        lock: Lockfile = built().lock
        right = lock.builds[0].artifacts[0].id
        wrong = right[:-1] + ("0" if right[-1] != "0" else "1")

        assert self.error(wrong, lock).hint == (f'did you mean "{right}"?',)
        assert self.error("ami-ffffffffffffffff0", lock, shallow=True).hint == (
            "this clone's history is cut off: `git fetch --unshallow` brings the rest",
        )
        assert self.error("x", lock).hint == ("`git pull` and `git fetch --tags` bring what this clone lacks",)


def test_both_channels_may_point_to_a_build(built: Make) -> None:
    lock: Lockfile = built().lock
    build_id = lock.builds[0].id
    assert channels_of(lock, build_id) == ("candidate", "stable")
    assert channels_of(lock.model_copy(update={"channels": Channels(candidate=build_id)}), build_id) == ("candidate",)
    assert channels_of(lock, "20200101T000000Z-0000000") == ()


def test_until_when_it_comes_back_is_unknown_where_nothing_valid_is_declared(built: Make) -> None:
    lock: Lockfile = built().lock
    build = lock.builds[0]
    leaving = Lockfile(image="web", leaving=(Leaving(build=build, deprecated="2026-11-23T00:00:00Z"),))

    found = departure(MemoryTree(), leaving, build.id)

    assert found is not None
    assert (found.deprecated, found.disabled, found.undo) == ("2026-11-23T00:00:00Z", None, None)
    assert departure(MemoryTree(), lock, build.id) is None


@pytest.mark.parametrize(("message", "standing"), [("\nstatus: unchanged\n", "unchanged"), ("", "preview")])
def test_what_tags_alone_name_is_a_previews_or_what_a_refresh_left(
    built: Make, monkeypatch: pytest.MonkeyPatch, message: str, standing: str
) -> None:
    build: Build = built().lock.builds[0]
    artifact = build.artifacts[0]
    tags = {f"image/web/{build.id}": message, f"image/web/{build.id[:-1]}": None, f"verdict/web/{build.id}": message}
    monkeypatch.setattr(module, "_tags_with", lambda *_: tuple(tags))
    monkeypatch.setattr(module, "tag_message", lambda _git, name: tags[name])
    monkeypatch.setattr(module, "find_preview", lambda *_: Preview(build, "tag", "9c0d1e2", ("feature",)))

    (found,) = module._only_tagged(clone(), artifact.id)

    assert (found.image, found.build, found.standing, found.branch) == ("web", build.id, standing, "feature")
    assert (found.kept, found.artifacts) == (False, (artifact,))
    assert list(module._only_tagged(clone(), "ami-another")) == []
