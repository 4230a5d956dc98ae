"""CircleCI as its API v2 reference describes `pipeline/run`, on loopback."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from reconciler.announce.access import RetryPolicy
from reconciler.announce.receivers import CircleCI
from reconciler.model.announcement import Announcement
from reconciler.model.errors import Terminal, Transient
from reconciler.model.lockfile import Artifact, Build
from reconciler.model.receivers import CIRCLECI_PARAMETERS, CircleCISettings

if TYPE_CHECKING:
    from tests.integration.announce.conftest import Announce, Receiver

DEFINITION = "2338d0ae-5541-4bbf-88a2-55e9f7281f80"
SETTINGS = CircleCISettings(project="gh/acme/image-validation", definition=DEFINITION, parameters={"suite": "full"})
TOKEN = "CCIPAT_secret"


def circleci(receiver: Receiver, policy: RetryPolicy, **environment: str) -> CircleCI:
    environment = {"CIRCLE_TOKEN": TOKEN, "CIRCLECI_CLI_HOST": receiver.url, **environment}
    return CircleCI(SETTINGS, environment, policy=policy)


def test_a_pipeline_runs_with_what_a_validation_needs(
    receiver: Receiver, policy: RetryPolicy, news: Announcement
) -> None:
    receiver.answers(201)

    circleci(receiver, policy).announce(news)

    (got,) = receiver.received
    assert got.path == "/api/v2/project/gh/acme/image-validation/pipeline/run"
    assert got.headers["circle-token"] == TOKEN
    assert json.loads(got.body) == {
        "definition_id": DEFINITION,
        "config": {"branch": "main"},
        "checkout": {"branch": "main"},
        "parameters": {
            "suite": "full",
            "announcement_id": news.id,
            "artifacts": "us-east-1=ami-0,cn-north-1=ami-1",
            "branch": "main",
            "build": "20261122T101530Z-1a2b3c4",
            "commit": "9c0d1e2f" * 5,
            "event": "candidate",
            "image": "web",
            "lockfile": "state/web.lock.json",
            "repository": "acme/images",
        },
    }


def test_every_parameter_fits_and_is_one_that_settings_know(
    receiver: Receiver, policy: RetryPolicy, build: Build, announced: Announce
) -> None:
    many = tuple(
        Artifact(kind="ami", builder="b", location=f"ap-southeast-{number}", id=f"ami-{number:017x}")
        for number in range(30)
    )

    circleci(receiver, policy).announce(announced(build.model_copy(update={"artifacts": many})))

    sent = json.loads(receiver.received[0].body)["parameters"]
    assert max(len(value) for value in sent.values()) <= 512
    assert sent["artifacts"].endswith(f"ami-{12:017x},…")
    assert sent.keys() - {"suite"} == set(CIRCLECI_PARAMETERS)


@pytest.mark.parametrize(
    ("status", "hint"),
    [(400, "declares these parameters"), (401, "personal API token"), (403, "right to run"), (404, "definition")],
)
def test_a_refusal_says_what_to_look_at(
    status: int, hint: str, receiver: Receiver, policy: RetryPolicy, news: Announcement
) -> None:
    receiver.answers(status)

    with pytest.raises(Terminal) as caught:
        circleci(receiver, policy).announce(news)

    assert hint in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_a_broken_circleci_is_tried_again_and_left_to_the_next_run(
    receiver: Receiver, policy: RetryPolicy, news: Announcement
) -> None:
    receiver.answers(500)

    with pytest.raises(Transient, match="CircleCI project gh/acme/image-validation was not told after 3 tries"):
        circleci(receiver, policy).announce(news)


def test_without_a_token_nothing_is_asked(receiver: Receiver, policy: RetryPolicy, news: Announcement) -> None:
    with pytest.raises(Terminal, match="CIRCLE_TOKEN is not set"):
        circleci(receiver, policy, CIRCLE_TOKEN="").announce(news)

    assert receiver.received == []


def test_the_token_does_not_travel_in_the_clear(receiver: Receiver, policy: RetryPolicy, news: Announcement) -> None:
    with pytest.raises(Terminal, match="no https:// address"):
        circleci(receiver, policy, CIRCLECI_CLI_HOST="http://circleci.example.org").announce(news)
