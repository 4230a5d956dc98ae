"""What a person is told when AWS says no, or says nothing. Real HTTP, real boto3; the words are AWS's own."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import cast

import pytest

from reconciler.model.care import Grants
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import ReconcilerError, Terminal, Transient, UserError
from reconciler.model.lockfile import Artifact
from reconciler.model.observation import Observation
from reconciler.registries.ec2.registry import Ec2Registry
from tests.sources import amis, parameter

pytestmark = pytest.mark.long

HOME, AWAY = "us-east-1", "eu-west-1"
ROLE = "arn:aws:iam::123456789012:role/reconciler"
ARTIFACT = Artifact(kind="ami", builder="amazon-ebs.web", location=HOME, id="ami-00000000000000001")

_SCOPE = re.compile(r"Credential=[^/]+/\d+/(?P<region>[^/]+)/(?P<service>[^/]+)/")
_IMAGES = "<DescribeImagesResponse><requestId>r</requestId><imagesSet>{}</imagesSet></DescribeImagesResponse>"
_EMPTY = _IMAGES.format("")


@dataclass(frozen=True)
class Answer:
    """One answer, an error unless it says otherwise. `html` is what a proxy says in AWS's place."""

    status: int
    code: str
    message: str
    html: bool = False

    def body(self, service: str) -> str:
        if self.status == 200:
            return self.message
        if self.html:
            return f"<!doctype html><title>{self.status}</title><h1>{self.message}"
        if service == "ssm":
            return f'{{"__type": "{self.code}", "message": "{self.message}"}}'
        error = f"<Error><Code>{self.code}</Code><Message>{self.message}</Message></Error>"
        if service == "sts":
            return f"<ErrorResponse>{error}<RequestId>r</RequestId></ErrorResponse>"
        return f"<Response><Errors>{error}</Errors><RequestID>r</RequestID></Response>"


@dataclass
class FaultyAws:
    """An AWS on loopback: `answers` by region or by service, else an empty DescribeImages; `agents` are who asked."""

    url: str
    answers: dict[str, Answer] = field(default_factory=dict)
    agents: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        aws = cast("_Server", self.server).aws
        self.rfile.read(int(self.headers["Content-Length"]))
        scope = _SCOPE.search(self.headers["Authorization"])
        assert scope is not None
        aws.agents.append(self.headers["User-Agent"])
        aws.calls.append(f"{scope['service']} {scope['region']}")
        answer = aws.answers.get(scope["service"]) or aws.answers.get(scope["region"])
        body = (answer.body(scope["service"]) if answer else _EMPTY).encode()
        self.send_response(answer.status if answer else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Server(ThreadingHTTPServer):
    aws: FaultyAws


@contextmanager
def faulty_aws() -> Iterator[FaultyAws]:
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.aws = FaultyAws(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.aws
        server.shutdown()
        thread.join()


THROTTLED = Answer(503, "RequestLimitExceeded", "Request limit exceeded.")
EXPIRED = Answer(400, "RequestExpired", "Request has expired.")
NOT_ENABLED = Answer(401, "AuthFailure", "AWS was not able to validate the provided access credentials")
FORBIDDEN = Answer(
    403,
    "UnauthorizedOperation",
    "You are not authorized to perform this operation. User: arn:aws:iam::123456789012:user/ci is not authorized to "
    "perform: ec2:DescribeImages because no identity-based policy allows the ec2:DescribeImages action. "
    "Encoded authorization failure message: Zm9vYmFy",
)
BROKEN = Answer(500, "InternalError", "An internal error has occurred")
PROXY = Answer(502, "", "Bad Gateway", html=True)
NO_TRUST = Answer(
    403,
    "AccessDenied",
    f"User: arn:aws:iam::123456789012:user/ci is not authorized to perform: sts:AssumeRole on resource: {ROLE}",
)


@pytest.fixture
def aws(aws_environment: pytest.MonkeyPatch) -> Iterator[FaultyAws]:
    with faulty_aws() as server:
        aws_environment.setenv("AWS_ENDPOINT_URL", server.url)
        yield server


def _observe(*regions: str, settings: AwsSettings | None = None) -> Observation:
    return Ec2Registry(settings or AwsSettings(), fleet="acme/images", attempts=1).observe(regions)


def test_cloudtrail_sees_who_asked(aws: FaultyAws) -> None:
    _observe(HOME)

    assert "reconciler/" in aws.agents[0]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (THROTTLED, "RequestLimitExceeded after 1 try"),
        (NOT_ENABLED, "opt-in region not enabled, or credentials not accepted (AuthFailure)"),
        (FORBIDDEN, "not allowed: ec2:DescribeImages (UnauthorizedOperation)"),
        (EXPIRED, "the request, or the credentials, have expired (RequestExpired)"),
        (BROKEN, "An internal error has occurred (InternalError)"),
        (PROXY, "what answered is not AWS"),
    ],
    ids=["throttled", "not enabled", "forbidden", "expired", "broken", "a proxy's page"],
)
def test_one_region_that_can_not_be_read_gives_its_reason_and_the_others_are_read(
    aws: FaultyAws, answer: Answer, reason: str
) -> None:
    aws.answers[AWAY] = answer

    observation = _observe(HOME, AWAY)

    assert observation.unreadable == {AWAY: reason}
    assert observation.refused is None


@pytest.mark.parametrize(
    ("answer", "what", "hint"),
    [
        (NOT_ENABLED, "AuthFailure", "AWS_ACCESS_KEY_ID"),
        (FORBIDDEN, "not allowed: ec2:DescribeImages", "docs/iam/"),
        (EXPIRED, "have expired", "sign in again"),
    ],
    ids=["bad keys", "forbidden", "expired"],
)
def test_a_cause_shared_by_all_regions_that_a_person_can_hint_is_a_refusal(
    aws: FaultyAws, answer: Answer, what: str, hint: str
) -> None:
    aws.answers = {HOME: answer, AWAY: answer}

    observation = _observe(HOME, AWAY)

    assert set(observation.unreadable) == {HOME, AWAY}
    assert observation.refused is not None
    assert what in observation.refused.what
    assert hint in " ".join(observation.refused.hint)


@pytest.mark.parametrize("answers", [(THROTTLED, THROTTLED), (FORBIDDEN, EXPIRED)], ids=["passing", "different"])
def test_causes_that_pass_or_differ_are_no_refusal(aws: FaultyAws, answers: tuple[Answer, Answer]) -> None:
    aws.answers = dict(zip((HOME, AWAY), answers, strict=True))

    observation = _observe(HOME, AWAY)

    assert set(observation.unreadable) == {HOME, AWAY}
    assert observation.refused is None


def test_throttling_is_tried_eight_times(aws: FaultyAws, monkeypatch: pytest.MonkeyPatch) -> None:
    # Only botocore's waits are taken out: between tries, and of the adaptive rate limiter.
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_, **__: 0)
    monkeypatch.setattr("botocore.retries.adaptive.ClientRateLimiter.on_sending_request", lambda *_, **__: None)
    aws.answers[HOME] = THROTTLED

    observation = Ec2Registry(AwsSettings(), fleet="acme/images").observe([HOME])

    assert observation.unreadable == {HOME: "RequestLimitExceeded after 8 tries"}
    assert len(aws.calls) == 8


def test_without_credentials_nothing_is_asked(aws: FaultyAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    observation = _observe(HOME, AWAY)

    assert observation.refused is not None
    assert observation.refused.what == "AWS can't be read: no AWS credentials were found"
    assert "--offline" in observation.refused.hint[1]
    assert observation.unreadable == dict.fromkeys((HOME, AWAY), "no AWS credentials were found")
    assert aws.calls == []


def test_half_a_credential_is_named_so(aws: FaultyAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    refused = _observe(HOME).refused

    assert refused is not None
    assert "not whole" in refused.what


def test_a_profile_that_is_not_there_is_named(aws: FaultyAws) -> None:
    refused = _observe(HOME, settings=AwsSettings(profile="prod")).refused

    assert refused is not None
    assert "prod" in refused.what
    assert "aws.profile" in refused.hint[1]


def test_a_role_that_can_not_be_assumed_is_asked_for_once(aws: FaultyAws) -> None:
    aws.answers["sts"] = NO_TRUST

    observation = _observe(HOME, AWAY, settings=AwsSettings(role=ROLE))

    assert observation.refused is not None
    assert "the role can't be assumed (AccessDenied" in observation.refused.what
    assert ROLE in observation.refused.what
    assert "trust policy" in observation.refused.hint[0]
    assert aws.calls == [f"sts {HOME}"]


def test_an_endpoint_that_is_down_is_passing(aws_environment: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: refused, and nobody else's
        aws_environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")

        observation = _observe(HOME, AWAY)

    assert "can't be reached (EndpointConnectionError)" in observation.unreadable[HOME]
    assert observation.refused is None


def test_a_region_nobody_has_heard_of_is_taken_for_a_slip(aws_environment: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        aws_environment.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{unused.getsockname()[1]}")

        observation = _observe("us-esat-1")

    assert observation.unreadable == {"us-esat-1": 'unknown region name us-esat-1 (did you mean "us-east-1"?)'}


def test_a_region_that_is_no_region_is_refused_before_any_call(aws: FaultyAws) -> None:
    observation = _observe("us east", HOME)

    assert list(observation.unreadable) == ["us east"]
    assert aws.calls == [f"ec2 {HOME}"]


def test_an_endpoint_that_is_no_address_is_the_settings_fault(aws_environment: pytest.MonkeyPatch) -> None:
    aws_environment.setenv("AWS_ENDPOINT_URL", "nonsense")

    refused = _observe(HOME).refused

    assert refused is not None
    assert "Invalid endpoint: nonsense" in refused.what
    assert "AWS_ENDPOINT_URL" in refused.hint[0]


@pytest.mark.parametrize(
    ("answer", "kind"),
    [(THROTTLED, Transient), (BROKEN, Transient), (PROXY, Transient), (FORBIDDEN, Terminal), (EXPIRED, Terminal)],
    ids=["throttled", "broken", "a proxy's page", "forbidden", "expired"],
)
def test_reading_one_artifact_never_takes_a_failed_read_for_absence(
    aws: FaultyAws, answer: Answer, kind: type[ReconcilerError]
) -> None:
    aws.answers[HOME] = answer

    with pytest.raises(kind, match=f"describing {ARTIFACT.id} in {HOME}: "):
        Ec2Registry(AwsSettings(), fleet="acme/images", attempts=1).find(HOME, ARTIFACT.id)


def test_a_refused_copy_says_what_and_whither(aws: FaultyAws) -> None:
    there = f"<item><imageId>{ARTIFACT.id}</imageId><imageState>available</imageState></item>"
    aws.answers[HOME] = Answer(200, "", _IMAGES.format(there))
    aws.answers[AWAY] = Answer(400, "InvalidRequest", "The storage for the ami is not available in the source region.")

    with pytest.raises(Terminal, match=f"copying {ARTIFACT.id} from {HOME} to {AWAY}: The storage for the ami"):
        Ec2Registry(AwsSettings(), fleet="acme/images", attempts=1).copy(
            ARTIFACT, to=AWAY, name="web-1", tags={}, token="one"
        )


def test_a_malformed_source_is_the_person_s_to_mend(aws: FaultyAws) -> None:
    aws.answers[HOME] = Answer(400, "InvalidAMIID.Malformed", 'Invalid id: "ami-12"')

    with pytest.raises(UserError, match="that is not an AMI id"):
        Ec2Registry(AwsSettings(), fleet="acme/images", attempts=1).resolve(amis(id="ami-12"), location=HOME)


def test_whom_aws_does_not_know_is_told_with_the_key_that_names_them(aws: FaultyAws) -> None:
    said = 'Invalid attribute item value "999999999999" for userId item type.'
    aws.answers[HOME] = Answer(400, "InvalidAMIAttributeItemValue", said)

    with pytest.raises(UserError, match="999999999999") as refused:
        Ec2Registry(AwsSettings(), fleet="acme/images", attempts=1).share(
            ARTIFACT, add=Grants.of(["999999999999"]), remove=Grants()
        )
    assert "share_with" in refused.value.hint[0]


def test_a_throttled_parameter_is_passing(aws: FaultyAws) -> None:
    aws.answers["ssm"] = Answer(400, "ThrottlingException", "Rate exceeded")

    with pytest.raises(Transient, match="reading SSM parameter /images/debian"):
        Ec2Registry(AwsSettings(), fleet="acme/images", attempts=1).resolve(parameter("/images/debian"), location=HOME)


def test_importing_the_protocol_loads_no_aws_library(tmp_path: Path) -> None:
    program = (
        "import sys, reconciler.ports.registry;"
        "sys.exit(any(name in sys.modules for name in ('boto3', 'botocore', 'tenacity')))"
    )

    assert subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=False).returncode == 0
