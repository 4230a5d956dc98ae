"""What a build is given of a commit: its bytes, or nothing."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from reconciler.model.errors import UserError
from reconciler.ports.builder import BuildRequest
from tests.integration.loop.world import ON_DEBIAN, World, git, image_files, results, statuses

CONTENT = "the disk\n" * 100
POINTER = (
    "version https://git-lfs.github.com/spec/v1\n"
    f"oid sha256:{hashlib.sha256(CONTENT.encode()).hexdigest()}\nsize {len(CONTENT)}\n"
)


@pytest.fixture
def large(world: World) -> World:
    """`web` has a file in LFS. The server has its content."""
    world.commit({".gitattributes": "*.iso filter=lfs -text\n", "desired/web/disk.iso": POINTER})
    kept = world.origin / "lfs/objects" / POINTER.split("sha256:")[1][:2] / POINTER.split("sha256:")[1][2:4]
    kept.mkdir(parents=True)
    kept.joinpath(POINTER.split("sha256:")[1][:64]).write_text(CONTENT)
    return world


@pytest.mark.long  # it needs git-lfs, which the quick tests do without
def test_an_image_whose_content_is_elsewhere_is_built_of_the_content(
    large: World,
) -> None:
    seen: dict[str, str] = {}
    controller = large.controller()
    # Relative addresses are no way to a server for git-lfs.
    git(controller.root, "remote", "set-url", "origin", large.origin.as_uri())

    def look(request: BuildRequest) -> None:
        seen[request.image.name] = (request.export / "desired/web/disk.iso").read_text()

    controller.builder.during = look
    assert controller.reconcile().exit_code == 0

    assert seen["web"] == CONTENT
    assert seen["tools"] == POINTER, "what an image does not use is not fetched for it"


def test_without_git_lfs_it_is_not_built_and_nothing_is_held_against_it(
    large: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("git", "sh", "env", "git-upload-pack", "git-receive-pack"):
        programs.joinpath(name).symlink_to(Path("/usr/bin") / name)
    monkeypatch.setenv("PATH", str(programs))
    controller = large.controller()

    report = controller.reconcile()

    assert statuses(report) == {"base": "built", "web": "failed", "api": "built", "tools": "built"}
    error = results(report)["web"].error
    assert isinstance(error, UserError)
    assert error.what.startswith("desired/web/disk.iso is kept in Git LFS, and git-lfs is not here")
    assert controller.built.count("web") == 0
    assert "web" not in large.recorded()


def test_an_image_with_another_filter_is_invalid_and_the_others_go_on(world: World) -> None:
    world.commit({".gitattributes": "desired/tools/* filter=git-crypt\n"})
    controller = world.controller()

    planned = controller.plan()
    report = controller.reconcile()

    assert (
        planned["tools"].errors[0].startswith(".gitattributes:1: desired/tools/image.pkr.hcl goes through the filter")
    )
    assert statuses(report) == {"base": "built", "web": "built", "api": "built"}


def give_attributes(world: World, text: str, message: str) -> None:
    """Commit .gitattributes alone: git may look at a file of this second once more, and refuse it as they have it."""
    folder = world.root / "person"
    git(folder, "pull", "--quiet", "--ff-only", "origin", "main")
    (folder / ".gitattributes").write_text(text)
    git(folder, "add", ".gitattributes")
    git(folder, "commit", "--quiet", "--message", message)
    git(folder, "push", "--quiet", "origin", "HEAD:main")


@pytest.mark.thorough
def test_what_attributes_say_changes_neither_the_key_nor_what_is_built(world: World) -> None:
    files = image_files("tools", ON_DEBIAN, setup="echo \uff04(id) '$Id$'")
    world.commit(files)
    seen: list[bytes] = []
    controller = world.controller()
    controller.builder.during = lambda request: seen.append((request.export / "desired/tools/setup.sh").read_bytes())
    controller.reconcile("tools")
    for number, line in enumerate(["text eol=crlf", "ident", "working-tree-encoding=UTF-16", "export-subst"]):
        give_attributes(world, f"desired/tools/setup.sh {line}\n", f"Attributes {number}")
        assert controller.plan("tools")["tools"].sync == "in-sync"
        world.clock.advance(hours=1)
        controller.reconcile("tools", force=("tools",))

    assert set(seen) == {str(files["desired/tools/setup.sh"]).encode()}
    assert len(seen) == 5
