"""The `announce:` part of desired/reconciler.yaml."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from reconciler.desired.declared import read_settings
from reconciler.model.errors import UserError
from reconciler.model.receivers import CircleCISettings, EventBridgeSettings, SnsSettings, WebhookSettings

DEFINITION = "2338d0ae-5541-4bbf-88a2-55e9f7281f80"
WHOLE = f"""
announce:
  github: {{statuses: true, comment: false, dispatch: acme/image-validation, event_type: image-candidate}}
  circleci: {{project: gh/acme/image-validation, definition: {DEFINITION}, branch: main, parameters: {{suite: full}}}}
  webhook: {{url: "https://hooks.example.org/images", secret_env: HOOK_SECRET}}
  sns: {{topic: "arn:aws:sns:eu-west-1:123456789012:images"}}
  eventbridge: {{bus: default, region: us-east-1, source: reconciler}}
"""


def test_every_receiver_is_read() -> None:
    announce = read_settings(WHOLE.encode()).settings.announce

    assert announce.github is not None
    assert announce.github.dispatch == "acme/image-validation"
    assert not announce.github.comment
    assert announce.circleci == CircleCISettings(
        project="gh/acme/image-validation", definition=DEFINITION, parameters={"suite": "full"}
    )
    assert announce.webhook == WebhookSettings(url="https://hooks.example.org/images", secret_env="HOOK_SECRET")
    assert announce.sns == SnsSettings(topic="arn:aws:sns:eu-west-1:123456789012:images")
    assert announce.eventbridge == EventBridgeSettings(region="us-east-1")


def test_nobody_is_told_unless_it_is_asked_for() -> None:
    announce = read_settings(b"").settings.announce

    assert set(announce.model_dump().values()) == {None}


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("webhook: {url: 'http://hooks.example.org'}", "reached by https://"),
        ("webhook: {url: 'ftp://127.0.0.1'}", "reached by https://"),
        ("webhook: {url: 'https://user:word@hooks.example.org'}", "no user and no password"),
        ("webhook: {ulr: 'https://hooks.example.org'}", 'did you mean "url"'),
        ("webhook: {url: 'https://hooks.example.org', secret_env: 's3cret!'}", "secret_env"),
        ("github: {dispatch: image-validation}", "dispatch"),
        ("circleci: {project: image-validation, definition: " + DEFINITION + "}", "project"),
        ("circleci: {project: gh/a/b, definition: main}", "definition"),
        ("circleci: {project: gh/a/b, definition: " + DEFINITION + ", parameters: {image: x}}", "filled from the"),
        ("sns: {topic: images}", "topic"),
        ("eventbridge: {bus: default}", "region"),
        ("eventbridge: {region: us-east-1, source: aws.ec2}", "AWS's own services"),
    ],
)
def test_a_mistake_is_told_with_its_place(line: str, complaint: str) -> None:
    with pytest.raises(UserError) as caught:
        read_settings(f"announce:\n  {line}\n".encode())

    assert str(caught.value).startswith("desired/reconciler.yaml:2:")
    assert complaint in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1:8080", "localhost", "[::1]:8080", "127.9.9.9"])
def test_this_machine_is_reached_without_tls(host: str) -> None:
    assert WebhookSettings(url=f"http://{host}/hook").url == f"http://{host}/hook"


@pytest.mark.parametrize("url", ["http://127.0.0.1.example.org", "http://localhost.example.org", "http://", "https://"])
def test_what_only_looks_like_this_machine_is_not(url: str) -> None:
    with pytest.raises(ValidationError):
        WebhookSettings(url=url)


def test_a_parameter_that_circleci_would_refuse_is_refused_here() -> None:
    with pytest.raises(ValidationError, match="512 characters"):
        CircleCISettings(project="gh/a/b", definition=DEFINITION, parameters={"suite": "x" * 513})
