"""What a run did, row by row."""

from __future__ import annotations

from reconciler.cli.reconcile import _lines
from reconciler.model.lockfile import Lockfile
from reconciler.steps.run import Deed, Result

LOCK = Lockfile(image="web")
COPIED = Deed("copied", "to ap-southeast-1 ami-0abc")
RETIRED = Deed("retired", "2 artifacts in 1 location: us-east-1 ami-1 ami-2")


def test_what_was_changed_is_said_by_what_was_done() -> None:
    changed = Result("web", "changed", LOCK, did=(COPIED, RETIRED))
    assert list(_lines(changed, 6)) == [
        "web     copied      to ap-southeast-1 ami-0abc",
        "web     retired     2 artifacts in 1 location: us-east-1 ami-1 ami-2",
    ]


def test_what_was_done_beside_a_build_has_rows_of_its_own() -> None:
    failed = Result("web", "failed", LOCK, why="no room", did=(RETIRED,))
    assert list(_lines(failed, 3)) == [
        "web  failed      no room",
        "web  retired     2 artifacts in 1 location: us-east-1 ami-1 ami-2",
    ]


def test_a_change_that_nothing_is_to_be_said_of_is_still_a_row() -> None:
    assert list(_lines(Result("web", "changed", LOCK), 3)) == ["web  changed     "]
