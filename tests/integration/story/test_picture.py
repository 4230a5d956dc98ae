"""The picture in the README shows the demo as it is told, and nothing of the machine that it was made on."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from reconciler.cli.demo import PICTURED, STORY
from tests.integration.story.picture import PICTURE, ROOT, commands_in, drawn, script

PRINTED = """\
\x1b[1m
Two images are declared, base and web on top of it. Nothing is built yet:\x1b[0m
\x1b[2m$ reconciler plan --detailed-exitcode\x1b[0m
2 of 2 images drifted: base (new), web (new)
\x1b[1m
The repository now says what exists, and from what:\x1b[0m
\x1b[2m$ git log\x1b[0m
\x1b[1m
Run it again: nothing to do, nothing committed.\x1b[0m
\x1b[2m$ reconciler reconcile\x1b[0m
2 images in sync: nothing to do.
"""


def told(picture: str) -> list[str]:
    """The commands that a picture shows, without blanks."""
    lines = commands_in(picture)
    prompts = [at for at, line in enumerate(lines) if line.startswith("$")]
    return ["".join(lines[at : at + 2]) for at in prompts]


def test_the_picture_shows_the_commands_of_the_demo_in_its_order() -> None:
    """Or `make picture` has to be run again."""
    shown = told(PICTURE.read_text())

    expected = ["$" + "".join(command.split()) for command in script(*PICTURED).commands]
    assert len(shown) == len(expected)
    assert all(line.startswith(command) for line, command in zip(shown, expected, strict=True)), (shown, expected)


def test_the_picture_shows_what_the_demo_says_there() -> None:
    shown = "".join(commands_in(PICTURE.read_text()))
    places = [shown.find("".join(sentence.split())) for sentence in script(*PICTURED).said]

    assert -1 not in places
    assert places == sorted(places)


def test_nothing_of_a_machine_is_in_it() -> None:
    text = PICTURE.read_text()

    assert not re.search(r"/(tmp|root|home|work|Users|var)/|Traceback|error:", text)
    assert not re.search(r"""(?:url\(["']?|href=["'])(?!\#)""", text), "nothing is fetched for it"
    assert ET.fromstring(text).tag.endswith("svg")  # noqa: S314 - we wrote it


def test_the_readme_shows_it_and_says_in_words_what_it_shows() -> None:
    assert re.search(r"!\[[^\]]{40,}\]\(docs/demo\.svg\)", (ROOT / "README.md").read_text())


def test_every_scene_says_something_first_and_the_pictured_ones_are_told() -> None:
    assert set(PICTURED) <= set(STORY)
    assert all(script(scene).said for scene in STORY)
    assert [scene for scene in STORY if scene in PICTURED] == list(PICTURED), "in the story's order"


def test_only_the_pictured_scenes_are_drawn() -> None:
    picture = drawn(PRINTED.replace("\n", "\r\n"))

    assert told(picture) == [
        "$reconcilerplan--detailed-exitcode2of2imagesdrifted:base(new),web(new)",
        "$reconcilerreconcile2imagesinsync:nothingtodo.",
    ]
    assert commands_in(picture)[0].startswith("Twoimagesaredeclared"), "it begins without an empty line"
