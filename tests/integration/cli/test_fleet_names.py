"""One fleet, however it is cloned: its name comes of the remote until something is recorded, and then of that."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from reconciler.cli.workspace import Workspace
from reconciler.model.plan import PlanOptions
from tests.integration.cli.conftest import TEMPLATE, Fleet

SPELLINGS = [
    "git@github.com:Acme/Images.git",
    "https://github.com/acme/images",
    "ssh://git@ssh.github.com:443/acme/Images",
]


def name_of(fleet: Fleet, url: str) -> str:
    fleet.git("config", "remote.origin.url", url)
    workspace = Workspace(fleet.root)
    return workspace.read(workspace.repository.tree(), PlanOptions()).fleet_name


def record(fleet: Fleet, *names: str, sealed: bool = False) -> None:
    """Commit a statement for each name, each newer than the one before; `sealed` as the payload of an envelope."""
    for number, name in enumerate(names):
        statement = {"predicate": {"buildDefinition": {"internalParameters": {"fleet": name}}}}
        path = f"state/provenance/{'ab'[number % 2]}/2026112{number}T101530Z-1a2b3c4.intoto.json"
        document = {"payload": base64.b64encode(json.dumps(statement).encode()).decode()} if sealed else statement
        fleet.commit({path: json.dumps(document), f"{path}.sig": "signed"})


@pytest.mark.parametrize("url", SPELLINGS)
def test_a_new_fleet_is_called_the_same_in_every_clone(fleet: Fleet, url: str) -> None:
    assert name_of(fleet, url) == "acme/images"


@pytest.mark.parametrize("sealed", [False, True])
@pytest.mark.parametrize("url", SPELLINGS)
def test_a_fleet_that_was_recorded_keeps_its_spelling_in_every_clone(fleet: Fleet, url: str, sealed: bool) -> None:  # noqa: FBT001
    record(fleet, "acme/images", "Acme/Images", sealed=sealed)

    assert name_of(fleet, url) == "Acme/Images"


@pytest.mark.parametrize(
    ("recorded", "url"),
    [
        ("scm/ops/images", "ssh://git@git.example.org:7999/ops/images.git"),
        ("ops/images", "https://git.example.org/scm/ops/images.git"),
        ("Platform%20Team/_git/images", "https://acme.visualstudio.com/Platform%20Team/_git/images"),
        ("v3/acme/platform/images", "https://dev.azure.com/acme/platform/_git/images"),
    ],
)
def test_so_does_one_that_was_named_by_what_its_host_adds(fleet: Fleet, recorded: str, url: str) -> None:
    record(fleet, recorded)

    assert name_of(fleet, url) == recorded


def test_another_repository_with_the_same_state_is_another_fleet(fleet: Fleet) -> None:
    record(fleet, "acme/images")

    assert name_of(fleet, "https://github.com/newcorp/images") == "newcorp/images"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"payload": 1}',
        '{"payload": "e"}',
        '{"payload": "W10="}',
        '{"predicate": {"buildDefinition": {"internalParameters": {"fleet": 1}}}}',
    ],
)
def test_a_fleet_whose_record_says_nothing_is_called_as_its_clone_spells_it(fleet: Fleet, content: str) -> None:
    fleet.commit(
        {
            "state/provenance/a/20261122T101530Z-1a2b3c4.intoto.json": content,
            "state/web.lock.json": '{"builds": [{}], "image": "web"}',
        }
    )

    assert name_of(fleet, SPELLINGS[0]) == "Acme/Images"


def test_a_failure_that_is_recorded_names_no_fleet(fleet: Fleet) -> None:
    fleet.commit({"state/web.lock.json": '{"failure": {"what": "no"}, "image": "web"}'})

    assert name_of(fleet, SPELLINGS[0]) == "acme/images"


def test_a_fleet_in_a_folder_has_the_folder_in_its_name(fleet: Fleet) -> None:
    fleet.commit({"infra/desired/web/web.pkr.hcl": TEMPLATE})
    below = replace(fleet, root=fleet.root / "infra")

    assert name_of(below, SPELLINGS[0]) == "acme/images/infra"
    fleet.commit({"infra/state/web.lock.json": '{"builds": [{}], "image": "web"}'})
    assert name_of(below, SPELLINGS[0]) == "Acme/Images/infra"
    record(below, "Acme/images/infra")
    assert name_of(below, SPELLINGS[1]) == "Acme/images/infra"


def test_a_fleet_that_a_person_named_is_called_so(fleet: Fleet) -> None:
    record(fleet, "acme/images")
    fleet.commit({"desired/reconciler.yaml": "fleet: Ours\ndefaults: { regions: [us-east-1] }\n"})

    assert name_of(fleet, SPELLINGS[0]) == "Ours"
