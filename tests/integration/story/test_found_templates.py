"""Templates as public repositories have them are built, smoke-tested and recorded without a touch."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from reconciler.model.constraint import Version, parse_version
from tests.corpus.repositories import CorpusImage, CorpusRepository, repositories
from tests.packers import installed_packers

if TYPE_CHECKING:
    from tests.integration.story.conftest import Checkout, Ended, NewFleet

pytestmark = [pytest.mark.sandbox, pytest.mark.packer, pytest.mark.long]

_AT_ONCE = 3
_PACKERS = [packer.version for packer in installed_packers()]
_BUILT = [(found, image) for found in repositories() for image in found.images if image.builds is None]


@dataclass(frozen=True)
class Outcome:
    """A repository after one run, and what that said."""

    checkout: Checkout
    ended: Ended

    def recorded(self) -> set[str]:
        """The images that it built."""
        return {name.removesuffix(".lock.json") for name in self.checkout.lockfiles()}


def version_of(packer: str | None) -> Version:
    version = parse_version(packer or "")
    assert version is not None
    return version


@pytest.fixture(scope="module")
def outcomes(
    packer_on_path: str | None, new_fleet: NewFleet, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, Outcome]:
    """Every repository of which this Packer is to build an image, after `reconcile` of these, by name."""
    version = version_of(packer_on_path)

    def run(found: CorpusRepository) -> Outcome:
        checkout = new_fleet(tmp_path_factory.mktemp(found.name), "empty")
        found.copy_to(checkout.path)
        checkout.publish("Begin")
        checkout.git("remote", "set-head", "origin", "main")
        return Outcome(checkout, checkout.reconciler("reconcile", *wanted[found.name], environment=programs))

    wanted: dict[str, list[str]] = {}
    for found, image in _BUILT:
        if image.is_built_on(version, _PACKERS):
            wanted.setdefault(found.name, []).append(image.name)
    with TemporaryDirectory() as sockets, ThreadPoolExecutor(_AT_ONCE) as pool:
        # Ansible is installed beside our Python. Its sockets take no path that is as long as a test's.
        programs = {
            "PATH": os.pathsep.join((os.environ["PATH"], str(Path(sys.executable).parent))),
            "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets,
        }
        chosen = [found for found in repositories() if found.name in wanted]
        return {found.name: ended for found, ended in zip(chosen, pool.map(run, chosen), strict=True)}


@pytest.mark.parametrize(("found", "image"), _BUILT, ids=lambda one: one.name)
def test_it_is_built_and_passes_the_smoke_test_as_it_was_found(
    outcomes: Mapping[str, Outcome], packer_on_path: str, found: CorpusRepository, image: CorpusImage
) -> None:
    outcome = outcomes.get(found.name)
    if not image.is_built_on(version_of(packer_on_path), _PACKERS):
        assert outcome is None or image.name not in outcome.recorded()
        return

    assert outcome is not None
    said = outcome.ended.out + outcome.ended.err
    assert outcome.ended.code == 0, said
    (build,) = outcome.checkout.lockfile(image.name)["builds"]
    assert build["smoke_test"]["status"] == "passed", said
