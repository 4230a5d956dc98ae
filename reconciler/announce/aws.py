"""Clients for SNS and EventBridge, and what their errors mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    ConnectionError,  # noqa: A004 - botocore's own name for it
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
)
from botocore.session import Session

from reconciler import __version__
from reconciler.announce.wording import first_line
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import ReconcilerError, Terminal, Transient

CONFIG = Config(
    retries={"mode": "standard", "total_max_attempts": 3},
    connect_timeout=5,
    read_timeout=10,
    user_agent_extra=f"reconciler/{__version__}",
)
"""Of every client: it gives up after three tries, so that a run is not held up."""

_PASSING = frozenset({
    "InternalError", "InternalException", "InternalFailure", "RequestTimeout", "ServiceUnavailable", "Throttled",
    "ThrottledException", "Throttling", "ThrottlingException", "TooManyRequestsException",
    "KMSThrottling", "KMSThrottlingException", "ConcurrentModificationException",
})  # fmt: skip
_NOT_ALLOWED = frozenset({
    "AccessDenied", "AccessDeniedException", "AuthorizationError", "AuthorizationErrorException",
    "NotAuthorizedForSourceException", "NotAuthorizedForDetailTypeException", "KMSAccessDenied",
    "KMSAccessDeniedException",
})  # fmt: skip
_GONE = frozenset({"NotFound", "NotFoundException", "ResourceNotFoundException"})
_EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "RequestExpired"})
_SIGN_IN = "give the job AWS credentials, or see `aws.profile` and `aws.role` in desired/reconciler.yaml"


def session(settings: AwsSettings) -> boto3.Session:
    """A session of the profile and, if one is set, the role. Raises what botocore raises.

    Made for each announcement: they are few and may be hours apart, and so a role's credentials are never expired and
    no two threads share one. Endpoints (AWS_ENDPOINT_URL), proxies and certificates come from where boto3 looks.
    """
    own = boto3.Session(botocore_session=_never_asking(settings.profile))
    if settings.role is None:
        return own
    region = own.region_name or "us-east-1"
    sts = own.client("sts", region_name=region, config=CONFIG)
    given = sts.assume_role(RoleArn=settings.role, RoleSessionName="reconciler")["Credentials"]
    return boto3.Session(
        aws_access_key_id=given["AccessKeyId"],
        aws_secret_access_key=given["SecretAccessKey"],
        aws_session_token=given["SessionToken"],
        region_name=region,
    )


def _never_asking(profile: str | None) -> Session:
    """A session that never asks for the MFA code of a profile's role: threads make it, at the end of long runs."""

    def refuse(prompt: str) -> str:
        serial = prompt.rpartition(" for ")[2].rstrip(": ")
        why = f"its role asks for an MFA code (mfa_serial = {serial}), and nobody is asked for one by now"
        raise CredentialRetrievalError(provider=f"the profile {made.profile}", error_msg=why)

    made = Session(profile=profile)
    provider = made.get_component("credential_provider").get_provider("assume-role")
    provider._prompter = refuse  # noqa: SLF001 - who is asked can be given to the provider alone, which botocore makes
    return made


@contextmanager
def translated(to: str, *, action: str) -> Iterator[None]:
    """Raise errors of ours in place of botocore's, which stay on as the cause.

    Args:
        to: Who is told: `the topic arn:…`.
        action: The IAM action that it takes: `sns:Publish`.
    """
    try:
        yield
    except ClientError as error:
        told = error.response.get("Error", {})
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        code = str(told.get("Code", "Unknown"))
        refused = "sts:AssumeRole" if error.operation_name == "AssumeRole" else action
        raise refusal(to, code, str(told.get("Message", "")), status=status, action=refused) from error
    except NoCredentialsError as error:
        raise Terminal(f"{to} was not told: no AWS credentials were found", mend=_SIGN_IN) from error
    except (ConnectionError, HTTPClientError) as error:
        raise Transient(
            f"{to} was not told: AWS can't be reached ({type(error).__name__})", mend="the next run tells it again"
        ) from error
    except (BotoCoreError, ValueError) as error:
        # botocore lets a bad AWS_ENDPOINT_URL out as a bare ValueError.
        raise Terminal(f"{to} was not told: {first_line(str(error))}", mend=_SIGN_IN) from error


def refusal(to: str, code: str, message: str, *, status: int, action: str) -> ReconcilerError:
    """The error that stands for an AWS error code. A code nobody knows is Terminal, unless the status is 5xx."""
    what = f"{to} was not told: {first_line(message) or 'no message'} ({code})"
    if code in _PASSING or status >= 500:
        return Transient(what, mend="the next run tells it again")
    if code in _NOT_ALLOWED:
        return Terminal(what, mend=f"allow {action} for the role that runs this, here and in the receiver's policy")
    if code in _GONE:
        return Terminal(what, mend="create it, or correct `announce:` in desired/reconciler.yaml")
    if code in _EXPIRED:
        return Terminal(what, mend="the credentials have expired; sign in again, or give the CI job fresh ones")
    return Terminal(what, mend=f"check `announce:` in desired/reconciler.yaml and the right to {action}")
