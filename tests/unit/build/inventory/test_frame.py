from __future__ import annotations

import pytest

from reconciler.build.inventory.sections import Section, sections
from reconciler.model.errors import Transient

TWO = b"reconciler-inventory 1\nsection a 0 5 0\none\n\nsection b 2 0 4\nlostend\n"


def test_sections_are_taken_apart_by_their_lengths() -> None:
    assert sections(TWO) == {"a": Section(0, b"one\n\n", b""), "b": Section(2, b"", b"lost")}


def test_a_section_that_holds_a_frame_is_a_section() -> None:
    tricky = b"section b 0 3 0\nend\n"

    found = sections(b"reconciler-inventory 1\nsection a 0 %d 0\n%send\n" % (len(tricky), tricky))

    assert found == {"a": Section(0, tricky, b"")}


def test_what_a_login_shell_prints_before_and_after_is_left_alone() -> None:
    assert sections(b"Welcome!\nsection a 0 1 0\n" + TWO + b"logout\n") == sections(TWO)


@pytest.mark.parametrize("length", range(len(TWO)))
def test_output_that_was_cut_off_anywhere_is_no_inventory(length: int) -> None:
    with pytest.raises(Transient, match=r"cut off|printed no inventory"):
        sections(TWO[:length])


def test_a_message_is_one_line_without_anything_that_steers_a_terminal() -> None:
    section = Section(2, b"", b"\nerror: \x1b[31mlocked\nmore\n")

    assert section.message == r"error: \x1b[31mlocked"
    assert Section(127, b"", b"").message == "ended with 127"
