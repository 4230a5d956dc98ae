from __future__ import annotations

import pytest

from reconciler.plan.proof.evidence import Required, Setting, required_before


def before_last(*settings: Setting, trusted: str = "") -> Required:
    """What is required of the last commit; `trusted` is the commit that is well signed."""
    return required_before(settings, trusted=lambda commit: commit == trusted)[settings[-1].commit]


ON, AFTER = Setting("on", (), True), Setting("after", ("off",), False)


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        (Setting("off", ("on",), False), Required(required=True, ended_by="off")),
        (Setting("off", ("on",), None), Required(required=True)),
        (Setting("off", ("on",), True), Required(required=True)),
    ],
)
def test_nobody_ends_it_without_a_signature(ended: Setting, expected: Required) -> None:
    assert before_last(ON, ended, AFTER) == expected


def test_who_signs_may_end_it() -> None:
    assert not before_last(ON, Setting("off", ("on",), False), AFTER, trusted="off").required


def test_a_signature_above_a_forged_end_is_no_end() -> None:
    forged, signed = Setting("off", ("on",), False), Setting("signed", ("off",), False)

    assert before_last(ON, forged, signed, Setting("after", ("signed",), False), trusted="signed").ended_by == "off"


def test_settings_that_were_broken_first_do_not_help() -> None:
    broken = Setting("broken", ("on",), None)

    assert before_last(ON, broken, Setting("off", ("broken",), False), AFTER).ended_by == "off"


def test_a_merge_with_an_older_branch_ends_nothing() -> None:
    first = Setting("first", (), False)
    on = Setting("on", ("first",), True)
    for parents in (("on", "first"), ("first", "on")):
        merge = Setting("merge", parents, False)

        assert before_last(first, on, merge, Setting("after", ("merge",), False)).ended_by == "merge"


def test_to_turn_it_on_again_fixes_it() -> None:
    off, on = Setting("off", ("on",), False), Setting("again", ("off",), True)

    assert before_last(ON, off, on, Setting("after", ("again",), True)) == Required(required=True)


def test_a_commit_is_judged_by_those_before_it_and_the_first_by_itself() -> None:
    off = Setting("off", (), False)

    assert not before_last(off, Setting("on", ("off",), True)).required
    assert before_last(ON).required
    assert before_last(Setting("cut-off", ("not here",), True)).required
