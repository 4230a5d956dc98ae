from __future__ import annotations

import pytest
from botocore import exceptions
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from reconciler.aws.errors import BY_CODE, BY_EXCEPTION, explain, misspelt, translate, translated
from reconciler.aws.session import MfaCodeNeededError
from reconciler.model.errors import ReconcilerError, Terminal, Transient, UserError


def refused(code: str, message: str = "", *, operation: str = "DescribeImages", status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}},  # type: ignore[typeddict-item] # EC2 sends no more
        operation,
    )


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("RequestLimitExceeded", Transient),
        ("ThrottlingException", Transient),
        ("Unavailable", Transient),
        ("IdempotentParameterMismatch", Transient),
        ("UnauthorizedOperation", Terminal),
        ("ExpiredTokenException", Terminal),
        ("InvalidAMIName.Duplicate", Terminal),
        ("InvalidAMIID.Malformed", UserError),
        ("InvalidParameterValue", UserError),
        ("InvalidParameterCombination", UserError),
        ("InvalidSubnetID.NotFound", UserError),
        ("VcpuLimitExceeded", Transient),
        ("SomethingNew", Terminal),
    ],
)
def test_a_code_has_its_class(code: str, kind: type[ReconcilerError]) -> None:
    assert type(translate(refused(code), doing="copying")) is kind


def test_a_server_s_fault_with_an_unknown_code_is_passing() -> None:
    assert isinstance(translate(refused("SomethingNew", status=503), doing="copying"), Transient)


@pytest.mark.parametrize(
    "error",
    [
        exceptions.EndpointConnectionError(endpoint_url="https://ec2.us-east-1.amazonaws.com/"),
        exceptions.ConnectTimeoutError(endpoint_url="https://ec2.us-east-1.amazonaws.com/"),
        exceptions.ReadTimeoutError(endpoint_url="https://ec2.us-east-1.amazonaws.com/"),
        exceptions.ConnectionClosedError(endpoint_url="https://ec2.us-east-1.amazonaws.com/"),
        exceptions.HTTPClientError(error="broken"),
        exceptions.ProxyConnectionError(proxy_url="http://proxy:3128"),
        exceptions.SSLError(endpoint_url="https://ec2.us-east-1.amazonaws.com/", error=OSError("self-signed")),
        ResponseParserError("<html>"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_network_that_fails_is_passing(error: BotoCoreError) -> None:
    assert isinstance(translate(error, doing="copying"), Transient)


def test_every_exception_in_the_table_is_one_of_botocore_s_or_made_of_one() -> None:
    known = {**vars(exceptions), "ResponseParserError": ResponseParserError, "MfaCodeNeededError": MfaCodeNeededError}

    assert set(BY_EXCEPTION) <= set(known)


def test_every_cause_that_a_credential_has_says_how_to_hint_it() -> None:
    for name, rule in {**BY_CODE, **BY_EXCEPTION}.items():
        assert rule.hint or not rule.shared, name


def test_the_reason_is_one_line_without_aws_s_encoded_kilobyte() -> None:
    error = refused("InvalidRequest", "Nope.\nEncoded authorization failure message: " + "x" * 1000)

    assert explain(error).reason == "Nope (InvalidRequest)"


def test_a_long_message_is_cut() -> None:
    assert len(explain(refused("InvalidRequest", "x" * 5000)).reason) < 250


def test_ec2_s_bare_refusal_names_the_action_that_was_asked_for() -> None:
    error = refused("UnauthorizedOperation", "You are not authorized to perform this operation.")

    assert explain(error).reason == "not allowed: DescribeImages (UnauthorizedOperation)"


def test_the_original_stays_on_as_the_cause() -> None:
    original = refused("InvalidRequest", "Nope.")

    with pytest.raises(Terminal) as caught, translated("copying ami-1 to eu-west-1"):
        raise original

    assert str(caught.value) == "copying ami-1 to eu-west-1: Nope (InvalidRequest)"
    assert caught.value.__cause__ is original


def test_an_error_that_is_not_aws_s_passes_through() -> None:
    with pytest.raises(KeyError), translated("copying"):
        raise KeyError("a bug")


@pytest.mark.parametrize(("typed", "meant"), [("us-esat-1", "us-east-1"), ("eu-west1", "eu-west-1")])
def test_a_misspelt_region_is_named_with_the_nearest(typed: str, meant: str) -> None:
    fault = misspelt(typed, known=lambda: ("eu-west-1", "us-east-1", "us-west-1"))

    assert fault is not None
    assert fault.reason == f'unknown region name {typed} (did you mean "{meant}"?)'


def test_a_known_region_is_not_misspelt() -> None:
    assert misspelt("eu-west-1", known=lambda: ("eu-west-1",)) is None
