from __future__ import annotations

import subprocess
import sys

from reconciler.announce.assembly import announcers
from reconciler.model.receivers import (
    AnnounceSettings,
    CircleCISettings,
    EventBridgeSettings,
    GitHubSettings,
    SnsSettings,
    WebhookSettings,
)

EVERYBODY = AnnounceSettings(
    github=GitHubSettings(dispatch="acme/image-validation"),
    circleci=CircleCISettings(project="gh/a/b", definition="2338d0ae-5541-4bbf-88a2-55e9f7281f80"),
    webhook=WebhookSettings(url="https://hooks.example.org"),
    sns=SnsSettings(topic="arn:aws:sns:eu-west-1:123456789012:images"),
    eventbridge=EventBridgeSettings(region="us-east-1"),
)


def test_everybody_who_is_asked_for_is_there_and_no_token_is_looked_for_yet() -> None:
    asked = announcers(EVERYBODY, {})

    assert [announcer.name for announcer in asked] == ["github", "circleci", "webhook", "sns", "eventbridge"]


def test_nobody_is_there_by_default() -> None:
    assert announcers(AnnounceSettings(), {}) == ()


def test_a_github_without_a_repository_to_dispatch_to_is_no_announcer() -> None:
    assert announcers(AnnounceSettings(github=GitHubSettings()), {}) == ()


def test_no_library_is_loaded_for_an_announcer_that_nobody_asked_for() -> None:
    program = (
        "import sys; from reconciler.announce.assembly import announcers;"
        "from reconciler.model.receivers import AnnounceSettings; announcers(AnnounceSettings(), {});"
        "print(sorted({'boto3', 'github', 'requests', 'tenacity'} & sys.modules.keys()))"
    )

    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout

    assert loaded.strip() == "[]"
