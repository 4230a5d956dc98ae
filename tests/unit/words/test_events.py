"""Events as they are told in a pipe and above the bars."""

from __future__ import annotations

from reconciler.model.events import Failed, Published, Retired, Skipped
from reconciler.words.events import Wording, describe


def test_what_a_build_printed_steers_no_terminal() -> None:
    event = Failed(image="web", what="build failed\n  and why", of="build", tail=("\x1b]0;title\x07E: no\tpackage",))
    assert describe(event) == (
        "build failed",
        "  and why",
        "  last lines of the build:",
        "    \\x1b]0;title\\x07E: no package",
    )


def test_a_hint_is_given_once_in_a_run() -> None:
    wording = Wording()
    told = [
        wording(Failed(image=name, what=f"{name} is refused\n  set `git.push`\n  see {name}")) for name in ("a", "b")
    ]
    told.append(wording(Skipped(image="c", why="its parent failed")))

    assert told == [
        ("a is refused", "  set `git.push`", "  see a"),
        ("b is refused", "  see b"),
        ("skipped: its parent failed",),
    ]


def test_a_name_that_is_taken_back_does_not_read_as_one_that_is_published() -> None:
    place = ("site", "registry.example.org/acme/site", "stable")
    assert describe(Published(*place, "sha256:1")) == ("published registry.example.org/acme/site stable: sha256:1",)
    assert describe(Published(*place, None)) == ("withdrew registry.example.org/acme/site stable: it is deleted",)


def test_what_goes_with_what_is_retired_is_told() -> None:
    gone = Retired(image="app", location="/srv/images", artifact="sha256:1", formats=("raw", "vmdk"))
    assert describe(gone) == ("retired /srv/images sha256:1 (and as raw and vmdk)",)
