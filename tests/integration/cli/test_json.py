"""What verbs print with `--json` is as the schemas in docs/ say."""

from __future__ import annotations

import json

import pytest

from tests.integration.cli.conftest import TEMPLATE, Fleet, conforms


@pytest.fixture
def mixed(fleet: Fleet) -> Fleet:
    """An image that is valid, one on it, one that is not, and a template that nobody declares."""
    fleet.commit(
        {
            "desired/odd/image.yaml": "regoins: []\n",
            "packer/tool.pkr.hcl": TEMPLATE,
            "packer/notes.json": '{"builders": []}',
        }
    )
    return fleet


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("validate",), 1),
        (("status",), 0),
        (("status", "--older-than", "30d"), 0),
        (("graph",), 0),
        (("init",), 0),
        (("plan", "--offline"), 1),
    ],
)
def test_an_answer_is_as_its_schema_says(mixed: Fleet, arguments: tuple[str, ...], code: int) -> None:
    ended = mixed.run(*arguments, "--json")

    assert (ended.returncode, "Traceback" in ended.stderr) == (code, False)
    conforms(json.loads(ended.stdout), f"reconciler {arguments[0]} --json")


def test_settings_that_cannot_be_read_are_an_answer_as_well(fleet: Fleet) -> None:
    fleet.commit({"desired/reconciler.yaml": "regoins: []\n"})

    conforms(fleet.json("validate"), "reconciler validate --json")
