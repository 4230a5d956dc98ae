"""Whatever a branch author and a tagger do, with `git.sign` nothing becomes stable but what honest runs stand for.

Nor does `verify` call proven what rests on hearsay.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import settings

from tests.integration.loop.hostile import EMPTIED, SUITE, Town
from tests.integration.loop.hostile_game import Hostile, play, play_these
from tests.integration.loop.world import EU

pytestmark = pytest.mark.long

Move = Callable[[Hostile], None]


def previewed(deed: str, *, suite: str = SUITE) -> Move:
    """A change of base is previewed, something is done to that, and it is merged."""

    def move(game: Hostile) -> None:
        game.a_change_is_previewed_and_merged_and_the_tagger_steps_in(image="base", suite=suite, deed=deed)

    return move


def lets_a_lockfile_pass(game: Hostile, *, forged: bool) -> None:
    """A reviewer does, for web in one region."""
    game.a_reviewer_lets_a_lockfile_pass_that_names_what_is_others(image="web", region=EU, forged=forged)


def forges_the_record_of_a_preview(game: Hostile) -> None:
    """The tagger does, of a branch that nobody merges; and an auditor asks for it, before that and after."""
    game.author_pushes_a_branch_that_is_previewed(branch="feature/more", image="web", setup="echo one\n", suite=SUITE)
    game.auditor.look_at_main()
    game.tagger_forges_a_record(which=0, signed=False)
    game.auditor.look_at_main()


def writes_state(game: Hostile, *, attested: bool) -> None:
    """The author does, on a branch, for web."""
    game.author_writes_state_on_a_branch(image="web", attested=attested, signed=True)


GAMES: Mapping[str, tuple[Move, ...]] = MappingProxyType({
    "an emptied suite is run first": (previewed("nothing", suite=EMPTIED),),
    "a record is forged": (previewed("forges its record"),),
    "a forged record is signed with another key": (previewed("signs a forged record"),),
    "a good tag is put under another name": (previewed("puts another good tag there"),),
    "another artifact stands in": (previewed("stands in"),),
    "another artifact stands in elsewhere": (previewed("stands in elsewhere"),),
    "another account's artifact stands in": (previewed("shares"),),
    "a lockfile that names what is another's is merged": (lambda game: lets_a_lockfile_pass(game, forged=False),),
    "so it is, and a record that says so": (lambda game: lets_a_lockfile_pass(game, forged=True),),
    "a preview's record is forged": (forges_the_record_of_a_preview,),
    "a branch writes state beside an honest statement": (lambda game: writes_state(game, attested=True),),
    "a branch writes state without a statement": (lambda game: writes_state(game, attested=False),),
})  # fmt: skip
PROPOSED: Mapping[str, tuple[Move, ...]] = MappingProxyType({
    "a proposal is pushed under our name": (
        lambda game: game.author_proposes_state_under_our_name(image="web", of="base", amends=False, squash=True),
    ),
    "an honest proposal is amended": (
        lambda game: game.author_proposes_state_under_our_name(image="web", of="base", amends=True, squash=False),
    ),
    "a record is forged": GAMES["a record is forged"],
    "a branch writes state beside an honest statement": GAMES["a branch writes state beside an honest statement"],
})  # fmt: skip


@pytest.fixture(scope="module")
def town(own_home: None, tmp_path_factory: pytest.TempPathFactory) -> Town:
    return Town.begin(tmp_path_factory.mktemp("town") / "town")


@pytest.fixture(scope="module")
def proposing(own_home: None, tmp_path_factory: pytest.TempPathFactory) -> Town:
    return Town.begin(tmp_path_factory.mktemp("proposing") / "town", proposes=True)


@pytest.mark.parametrize("moves", GAMES.values(), ids=GAMES)
def test_what_was_tried_once_is_held(town: Town, tmp_path: Path, moves: tuple[Move, ...]) -> None:
    play_these(town, tmp_path, *moves)


@pytest.mark.parametrize("moves", PROPOSED.values(), ids=PROPOSED)
def test_what_was_tried_once_is_held_where_state_is_proposed(
    proposing: Town, tmp_path: Path, moves: tuple[Move, ...]
) -> None:
    play_these(proposing, tmp_path, *moves)


def test_whatever_they_do_nothing_becomes_stable_that_honest_runs_do_not_stand_for(town: Town, tmp_path: Path) -> None:
    play(town, tmp_path, settings(max_examples=6, stateful_step_count=7, derandomize=True))


def test_so_it_is_where_state_is_proposed(proposing: Town, tmp_path: Path) -> None:
    play(proposing, tmp_path, settings(max_examples=4, stateful_step_count=6, derandomize=True))


def test_the_soak_plays_on_a_machine_that_is_no_ci_and_slow() -> None:
    """There hypothesis has a limit of its own to what a game may take."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    command = [sys.executable, "-m", "tests.soak.hostile", "1", "2", "3"]

    played = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    assert played.returncode == 0, played.stderr
    assert "verify proved no hearsay" in played.stdout
