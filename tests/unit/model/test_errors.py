from __future__ import annotations

import pytest

from reconciler.model.errors import Contention, Place, ReconcilerError, Terminal, Transient, UserError, no_image


@pytest.mark.parametrize(("place", "text"), [(Place("a"), "a"), (Place("a", 7), "a:7"), (Place("a", 7, 3), "a:7:3")])
def test_a_place_leaves_out_what_is_not_known(place: Place, text: str) -> None:
    assert str(place) == text


def test_an_error_is_what_where_and_how_to_hint_it() -> None:
    error = UserError(
        'unknown key "regoins"', where=Place("desired/web/image.yaml", 7, 3), hint='did you mean "regions"?'
    )
    assert str(error) == 'desired/web/image.yaml:7:3: unknown key "regoins"\n  did you mean "regions"?'
    assert str(UserError("no", hint=("one", "two"))) == "no\n  one\n  two"


def test_a_path_and_a_message_steer_no_terminal() -> None:
    error = UserError("no\x1b[2J", where=Place("desired/a\nb\u202e/image.yaml", 7), hint=("one\x07", "two"))
    assert str(error) == "desired/a\\nb\\u202e/image.yaml:7: no\\x1b[2J\n  one\\x07\n  two"


@pytest.mark.parametrize(("error", "code"), [(UserError, 1), (Terminal, 1), (Transient, 3), (Contention, 4)])
def test_each_kind_ends_the_process_in_its_own_way(error: type[ReconcilerError], code: int) -> None:
    assert error("no").exit_code == code


def test_of_a_name_that_no_image_has_the_nearest_is_told_or_those_that_there_are() -> None:
    near = no_image("bsae", ["web", "base"], those="recorded")
    assert str(near) == "no image is named 'bsae'\n  did you mean \"base\"?"
    assert no_image("zzz", ["web", "base"], those="declared").hint == ("declared are: base, web",)
    assert no_image("zzz", ["web", "base"], those="recorded", of=["web"]).hint == ("recorded are: web",)
    assert no_image("zzz", [], those="recorded").hint == ("recorded are: none",)
    many = [f"image-{number}" for number in range(1000)]
    assert no_image("zzz", many, those="declared").hint[0].endswith("and 992 more")
