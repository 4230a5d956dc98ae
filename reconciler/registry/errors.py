"""Turns what botocore raises into the one tree of errors, by the table in `faults`."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from reconciler.model.errors import ReconcilerError, UserError
from reconciler.registry.faults import BY_CODE, BY_EXCEPTION, NO_ROLE, OTHER, THROTTLES, Rule

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
    return fault.rule.error(f"{doing}: {fault.reason}", mend=fault.rule.mend)


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
    # difflib finds us-west-1 as near to us-esat-1 as us-east-1; two swapped letters are the commoner slip.
    near = sorted(difflib.get_close_matches(region, names, n=3), key=lambda name: sorted(name) != sorted(region))
    mend = (f'did you mean "{near[0]}"?',) if near else ("`aws ec2 describe-regions` lists them",)
    reason = f"unknown region name {region}" + (f" (did you mean {near[0]}?)" if near else "")
    return Fault(code="unknown-region", reason=reason, rule=Rule(UserError, mend=mend))


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
    return Fault(names[0], rule.says or f"{_one_line(str(error))} ({names[0]})", rule)


def _message(error: ClientError) -> str:
    return _one_line(str(error.response.get("Error", {}).get("Message", "")))


def _one_line(text: str) -> str:
    # UnauthorizedOperation appends a kilobyte that only sts:DecodeAuthorizationMessage can read.
    short = " ".join(text.partition("Encoded authorization failure message")[0].split()).rstrip(". ")
    return short if len(short) <= _LONGEST_MESSAGE else short[: _LONGEST_MESSAGE - 1] + "…"


def _tries(error: ClientError) -> str:
    tries = int(error.response.get("ResponseMetadata", {}).get("RetryAttempts", 0)) + 1
    return "1 try" if tries == 1 else f"{tries} tries"
