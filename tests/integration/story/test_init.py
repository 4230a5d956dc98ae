"""A repository that has Packer templates and nothing else: declared by `init`, and built without a touch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.adopting.shapes import SHAPES

if TYPE_CHECKING:
    from tests.integration.story.conftest import Checkout, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]


@pytest.fixture(scope="module", params=list(SHAPES))
def adopted(new_fleet: NewFleet, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """One of three repositories, with what `init` wrote, committed and pushed."""
    checkout = new_fleet(tmp_path_factory.mktemp(f"init-{request.param}"), "empty")
    SHAPES[request.param].lay_out(checkout.path)
    checkout.publish("Begin")
    checkout.git("remote", "set-head", "origin", "main")
    written = checkout.reconciler("init", "--write")
    assert written.code == 0, written.err
    checkout.publish("Declare the images")
    return checkout


def test_its_images_are_built_tested_and_stable(adopted: Checkout) -> None:
    built = adopted.reconciler("reconcile")

    assert built.code == 0, built.out + built.err
    for lockfile in adopted.lockfiles():
        lock = adopted.lockfile(lockfile.removesuffix(".lock.json"))
        (build,) = lock["builds"]
        assert (build["phase"], build["smoke_test"]["status"]) == ("stable", "passed")
        assert {one["code"] for one in build["smoke_test"]["findings"]} >= {"packer-key"}
    assert len(adopted.lockfiles()) == 2
    assert adopted.reconciler("plan", "--detailed-exitcode").code == 0
    first = adopted.git("rev-list", "--max-parents=0", "HEAD")
    changed = adopted.git("diff", "--name-only", first, "HEAD").splitlines()
    assert all(path.startswith(("desired/", "state/")) for path in changed)
