"""AWS's errors, and what they mean here: whose fault, whether to try again, and how to fix it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from reconciler.model.errors import NoCredentials, ReconcilerError, Terminal, Transient, UserError
from reconciler.model.text import counted, cut, did_you_mean, one_line

# What AWS's error codes mean here: whose fault, whether to try again, and how to fix it.
#
# Codes as in the EC2 API reference (Error codes for the Amazon EC2 API), the SSM and STS references, and
# `botocore.exceptions`. A code that is not listed is Terminal: an error nobody knows is not one to retry.


@dataclass(frozen=True)
class Rule:
    """How one kind of error is taken.

    Attributes:
        error: The class it becomes.
        says: What happened, in a few words; empty: AWS's own message is told.
        hint: What to do about it.
        shared: The cause lies with the credentials, so it is likely the same in every region.
    """

    error: type[ReconcilerError]
    says: str = ""
    hint: tuple[str, ...] = ()
    shared: bool = False


_SIGN_IN_AGAIN = ("sign in again, or give the CI job fresh credentials, and run once more",)
_ALLOW = (
    "allow it for the role that runs this; docs/iam/ has the policies",
    "if a service control policy of the organization forbids it, ask who runs that",
)
_CHECK_KEYS = (
    "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or the profile they come from",
    "if the credentials are good, the region may not be enabled for this account",
)

THROTTLED = Rule(Transient)
EXPIRED = Rule(Terminal, "the credentials have expired", _SIGN_IN_AGAIN, shared=True)
NOT_ALLOWED = Rule(Terminal, "not allowed", _ALLOW, shared=True)
BAD_KEYS = Rule(Terminal, "AWS does not accept the credentials", _CHECK_KEYS, shared=True)
NO_KEYS = Rule(
    NoCredentials,
    "no AWS credentials were found",
    (
        "set AWS_PROFILE, or `aws.profile` in desired/reconciler.yaml, or give the CI job a role (OIDC)",
        "to plan without AWS: `reconciler plan --offline`",
    ),
    shared=True,
)
NO_ROLE = Rule(
    Terminal,
    "the role can't be assumed",
    (
        "check `aws.role` in desired/reconciler.yaml, and that the role's trust policy names who you are now",
        "`aws sts get-caller-identity` says who that is",
    ),
    shared=True,
)
UNREACHABLE = Rule(Transient)
BROKEN_SERVER = Rule(Transient)

THROTTLES = frozenset({
    "BandwidthLimitExceeded", "EC2ThrottledException", "KMSThrottling", "KMSThrottlingException",
    "LimitExceededException", "PriorRequestNotComplete",
    "RequestLimitExceeded", "RequestThrottled", "RequestThrottledException", "SlowDown", "ThrottledException",
    "Throttling", "ThrottlingException", "TooManyRequestsException",
})  # fmt: skip

BY_CODE: dict[str, Rule] = {
    **dict.fromkeys(THROTTLES, THROTTLED),
    **dict.fromkeys(("ExpiredToken", "ExpiredTokenException"), EXPIRED),
    # EC2 says so of expired temporary credentials and of a clock that is off.
    "RequestExpired": Rule(
        Terminal,
        "the request, or the credentials, have expired",
        (*_SIGN_IN_AGAIN, "check this machine's clock"),
        shared=True,
    ),
    **dict.fromkeys(("UnauthorizedOperation", "AccessDenied", "AccessDeniedException", "Client.UnauthorizedOperation",
                     "AuthorizationError", "AuthorizationErrorException", "KMSAccessDenied",
                     "KMSAccessDeniedException", "NotAuthorizedForDetailTypeException",
                     "NotAuthorizedForSourceException"), NOT_ALLOWED),
    **dict.fromkeys(("AuthFailure", "IncompleteSignature", "InvalidAccessKeyId", "InvalidClientTokenId",
                     "InvalidSecurity", "InvalidSignatureException", "MissingAuthenticationToken",
                     "SignatureDoesNotMatch", "UnrecognizedClientException"), BAD_KEYS),
    **dict.fromkeys(("OptInRequired", "Blocked", "PendingVerification", "SubscriptionRequiredException"),
                    Rule(Terminal, hint=("AWS holds the account back; its console or support says why",), shared=True)),
    **dict.fromkeys(("InternalError", "InternalException", "InternalFailure", "InternalServerError",
                     "ServiceUnavailable", "Unavailable", "RequestTimeout", "RequestTimeoutException",
                     "ConcurrentModificationException"), BROKEN_SERVER),
    "InsufficientInstanceCapacity": Rule(Transient),
    **dict.fromkeys(("InstanceLimitExceeded", "MaxIOPSLimitExceeded", "SecurityGroupLimitExceeded",
                     "VcpuLimitExceeded", "VolumeLimitExceeded"),
                    Rule(Transient, hint=("end what nobody needs, or ask AWS for a higher quota",))),
    "TooManyUpdates": Rule(Transient),
    # EC2 Auto Scaling's: another change of the same group is under way.
    "ResourceContention": Rule(Transient),
    "IrreversibleInstanceRefresh": Rule(
        Terminal, hint=("AWS turns back to a numbered version with an AMI's id alone; begin a refresh to the other",)),
    # SSM's: the oldest of its 100 versions would go, and doesn't where somebody put a label on it.
    "ParameterMaxVersionLimitExceeded": Rule(
        Terminal, "its oldest version has a label, so that there is no room for another", (
            "`aws ssm get-parameter-history --name NAME` shows the labels; take that one off, or move it:",
            "`aws ssm unlabel-parameter-version --name NAME --parameter-version OLDEST --labels LABEL`")),
    "ParameterAlreadyExists": Rule(Transient, "somebody made it meanwhile"),
    "ParameterLimitExceeded": Rule(Terminal, hint=("delete parameters that nobody needs, or ask AWS for more",)),
    "ResourceLimitExceeded": Rule(Transient, hint=("wait for copies under way to end, or ask AWS for a higher quota",)),
    "InvalidAMIID.Malformed": Rule(UserError, "that is not an AMI id", ("an AMI id is ami- and 8 or 17 hex digits",)),
    # Of an item that is added to an image's attribute, such as an account that may launch it (EC2's error codes).
    "InvalidAMIAttributeItemValue": Rule(
        UserError, hint=("of an account, an organization or a unit: AWS knows none such; check `share_with`",)),
    "InvalidAMIName.Duplicate": Rule(Terminal, hint=("the name is another AMI's; deregister that one or let it be",)),
    "IdempotentParameterMismatch": Rule(
        Transient,
        "this was begun before with other arguments",
        ("the next run sees what was begun and goes on with it",),
    ),
    "OperationNotPermitted": Rule(
        Terminal, hint=("if the AMI has deregistration protection: `aws ec2 disable-image-deregistration-protection`",)
    ),
    "NoSuchBucket": Rule(
        Terminal, "there is no such bucket", ("check its name and the account; nothing here makes one",)
    ),
    # Of S3 itself none ends; of others that speak its protocol they do (MinIO, Ceph).
    **dict.fromkeys(("InsufficientStorage", "QuotaExceeded", "XMinioStorageFull"),
                    Rule(Transient, "there is no room left", ("remove what nobody needs there, or give it more",))),
    "InvalidParameterValue": Rule(UserError),
    "InvalidParameter": Rule(UserError),
    # An instance type that does not fit the image, or that the account's plan does not include.
    "InvalidParameterCombination": Rule(
        UserError, hint=("if the instance type is what does not fit: name others in `smoke_test.instance_type`",)),
    **dict.fromkeys(("InvalidSubnetID.NotFound", "InvalidSubnetId.NotFound", "InvalidSubnetID.Malformed"),
                    Rule(UserError, hint=("`smoke_test.subnets` in image.yaml names subnets of the build's region",))),
    "FilterLimitExceeded": Rule(UserError, hint=("give fewer values under `filters:`",)),
}  # fmt: skip

BY_EXCEPTION: dict[str, Rule] = {
    # Names, not classes, so that this table needs no botocore; the first of an error's classes that stands here counts.
    "NoCredentialsError": NO_KEYS,
    "PartialCredentialsError": Rule(Terminal, "the AWS credentials are not whole", _CHECK_KEYS[:1], shared=True),
    "CredentialRetrievalError": Rule(
        Terminal,
        hint=(*_SIGN_IN_AGAIN, "if its token's file is empty or missing, the CI job was given no OIDC token"),
        shared=True,
    ),
    "TokenRetrievalError": Rule(Terminal, hint=("run `aws sso login` for this profile",), shared=True),
    "SSOError": Rule(Terminal, hint=("run `aws sso login` for this profile",), shared=True),
    "LoginError": Rule(Terminal, hint=("run `aws login` for this profile",), shared=True),
    "ProfileNotFound": Rule(
        Terminal, hint=("`aws configure list-profiles` lists the profiles of this machine",
                        "set `aws.profile` in desired/reconciler.yaml, or AWS_PROFILE, to one of them"), shared=True),
    "ConfigNotFound": Rule(Terminal, hint=("AWS_CONFIG_FILE names the file",), shared=True),
    "ConfigParseError": Rule(Terminal, hint=("fix the file; AWS_CONFIG_FILE names it",), shared=True),
    "InvalidConfigError": Rule(
        Terminal, hint=("see AWS_ENDPOINT_URL, AWS_CA_BUNDLE and the profile in ~/.aws/config",), shared=True),
    "MfaCodeNeededError": Rule(
        Terminal, hint=("give it credentials that need no code: a role by OIDC, or a profile without mfa_serial",
                        "or sign in at a terminal, and export what `aws configure export-credentials` prints"),
        shared=True),
    "RefreshWithMFAUnsupportedError": Rule(Terminal, "the credentials have expired", _SIGN_IN_AGAIN, shared=True),
    "InvalidRegionError": Rule(UserError, hint=("region names look like eu-west-1",)),
    "ParamValidationError": Rule(UserError),
    "SSLError": Rule(
        Transient, hint=("behind a proxy with a certificate of its own: set AWS_CA_BUNDLE to its authority",),
        shared=True),
    "ProxyConnectionError": Rule(Transient, hint=("check HTTPS_PROXY and NO_PROXY",)),
    "ConnectionError": UNREACHABLE,  # botocore's, the base of EndpointConnectionError and the timeouts
    "HTTPClientError": UNREACHABLE,
    "ResponseParserError": Rule(
        Transient, "what answered is not AWS", ("check HTTPS_PROXY and AWS_ENDPOINT_URL; a proxy may have answered",)),
    "IncompleteReadError": BROKEN_SERVER,
}  # fmt: skip

OTHER = Rule(Terminal)


# From what botocore raises to the one tree of errors, by this table.

AwsError = (ClientError, BotoCoreError, ResponseParserError)
"""Everything that a boto3 call raises by design. The last, for an answer that is not AWS's, is no BotoCoreError."""

_LONGEST_MESSAGE = 200
_PERMISSION = re.compile(r"not authorized to perform:? (?P<action>[\w-]+:\w+)")
_UNREACHABLE = frozenset(
    {"EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError"}
)
_ROLE_REFUSALS = frozenset({"AccessDenied", "AccessDeniedException", "ValidationError", "NoSuchEntity"})


@dataclass(frozen=True)
class Fault:
    """One error, understood. `reason` is one line for people; equal `code`s have an equal cause."""

    code: str
    reason: str
    rule: Rule


def code_of(error: Exception) -> str:
    """The AWS error code (`RequestLimitExceeded`), or the class's name where AWS never answered."""
    if isinstance(error, ClientError):
        return str(error.response.get("Error", {}).get("Code", "Unknown"))
    return type(error).__name__


def explain(error: ClientError | BotoCoreError | ResponseParserError) -> Fault:
    """Say in one line what went wrong, with the rule for it."""
    return _explain_answer(error) if isinstance(error, ClientError) else _explain_silence(error)


def translate(error: ClientError | BotoCoreError | ResponseParserError, *, doing: str) -> ReconcilerError:
    """The error of ours that stands for one of botocore's. `doing` says what was tried: `tagging ami-1`."""
    fault = explain(error)
    return fault.rule.error(f"{doing}: {fault.reason}", hint=fault.rule.hint)


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Raise errors of ours in place of botocore's, which stay on as the cause."""
    try:
        yield
    except AwsError as error:
        raise translate(error, doing=doing) from error


def misspelt(region: str, *, known: Callable[[], Sequence[str]]) -> Fault | None:
    """The fault of a region that botocore has never heard of, or None for a known one.

    To be asked only of a region that could not be reached: one that is newer than this botocore works well.
    """
    names = known()
    if region in names:
        return None
    meant = did_you_mean(region, names, otherwise="")
    hint = meant or "`aws ec2 describe-regions` lists them"
    reason = f"unknown region name {region}" + (f" ({meant})" if meant else "")
    return Fault(code="unknown-region", reason=reason, rule=Rule(UserError, hint=(hint,)))


def _explain_answer(error: ClientError) -> Fault:
    code = code_of(error)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if error.operation_name == "AssumeRole" and code in _ROLE_REFUSALS:
        return Fault(code, f"{NO_ROLE.says} ({code}: {_message(error)})", NO_ROLE)
    rule = BY_CODE.get(code) or (BY_CODE["InternalError"] if status >= 500 else OTHER)
    if code in THROTTLES:
        return Fault(code, f"{code} after {_tries(error)}", rule)
    if code == "AuthFailure":
        return Fault(code, "opt-in region not enabled, or credentials not accepted (AuthFailure)", rule)
    if rule.says == "not allowed":
        # EC2 words it "You are not authorized to perform this operation" and names no action.
        action = _PERMISSION.search(_message(error))
        return Fault(code, f"not allowed: {action['action'] if action else error.operation_name} ({code})", rule)
    if rule.says:
        return Fault(code, f"{rule.says} ({code})", rule)
    return Fault(code, f"{_message(error) or 'no message'} ({code})", rule)


def _explain_silence(error: BotoCoreError | ResponseParserError) -> Fault:
    names = [kind.__name__ for kind in type(error).__mro__]
    rule = next((BY_EXCEPTION[name] for name in names if name in BY_EXCEPTION), OTHER)
    if not _UNREACHABLE.isdisjoint(names):
        endpoint = getattr(error, "kwargs", {}).get("endpoint_url")
        return Fault(names[0], f"endpoint {endpoint or 'of AWS'} can't be reached ({names[0]})", rule)
    return Fault(names[0], rule.says or f"{_short(str(error))} ({names[0]})", rule)


def _message(error: ClientError) -> str:
    return _short(str(error.response.get("Error", {}).get("Message", "")))


def _short(text: str) -> str:
    # UnauthorizedOperation appends a kilobyte that only sts:DecodeAuthorizationMessage can read.
    return cut(one_line(text.partition("Encoded authorization failure message")[0]).rstrip(". "), _LONGEST_MESSAGE)


def _tries(error: ClientError) -> str:
    tries = int(error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)) + 1
    return counted(tries, "try", "tries")
