"""EC2 as botocore's Stubber plays it: it checks what is asked and answers in EC2's own shapes. No network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from botocore.stub import Stubber

from reconciler.aws.session import Clients
from reconciler.model.declaration import AwsSettings

REGION = "us-east-1"


@pytest.fixture(scope="session")
def shared_clients() -> Iterator[Clients]:
    """One session for all tests: the first client costs 0.2 s."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in {
            "AWS_ACCESS_KEY_ID": "AKIAFAKE",
            "AWS_SECRET_ACCESS_KEY": "fake",
            "AWS_CONFIG_FILE": "/nonexistent/config",
            "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent/credentials",
        }.items():
            environment.setenv(name, value)
        for name in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
            environment.delenv(name, raising=False)
        clients = Clients(AwsSettings(), attempts=1)
        clients.ec2(REGION)
        yield clients


@pytest.fixture
def clients(shared_clients: Clients) -> Clients:
    return shared_clients


@pytest.fixture
def ec2(clients: Clients) -> Iterator[Stubber]:
    with Stubber(clients.ec2(REGION)) as stub:
        yield stub
        stub.assert_no_pending_responses()
