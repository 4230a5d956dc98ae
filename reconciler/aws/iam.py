"""What IAM policies say of a call: a judge of allow and deny, by action, by resource, by condition.

It follows "IAM JSON policy elements: Condition" and "Policy evaluation logic" (IAM user guide), for policies of one
account. It knows the operators that are listed below, and refuses to judge by another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Value = str | Sequence[str]


@dataclass(frozen=True)
class Need:
    """One thing that must be allowed. `context` has the condition keys, such as `aws:RequestTag/Name`."""

    action: str
    resource: str = "*"
    context: Mapping[str, Value] = field(default_factory=dict)


def permitted(need: Need, policies: Iterable[Mapping[str, Any]]) -> bool:
    """Whether these policies' documents, taken together, allow it: something does, and nothing forbids it."""
    effects = {
        statement["Effect"]
        for policy in policies
        for statement in several(policy["Statement"])
        if speaks_of(statement, need)
    }
    return effects == {"Allow"}


def speaks_of(statement: Mapping[str, Any], need: Need) -> bool:
    """Whether a statement is about this. A trust policy's names no resource: it is about its role."""
    unread = sorted(set(statement) - {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"})
    if unread:
        raise NotImplementedError(f"no policy is judged here that has {', '.join(unread)}")
    # Names of condition keys are read without regard to case; an absent one is something else than an empty one.
    context = {key.lower(): value for key, value in need.context.items()}
    return (
        any(matches(need.action.lower(), pattern.lower()) for pattern in several(statement["Action"]))
        and any(matches(need.resource, pattern) for pattern in several(statement.get("Resource", "*")))
        and all(
            holds_for(operator, context.get(key.lower()), several(values))
            for operator, keys in statement.get("Condition", {}).items()
            for key, values in keys.items()
        )
    )


def matches(text: str, pattern: str) -> bool:
    """Whether a text is as a pattern has it: `*` is any text, slashes too, and `?` any one character.

    In a time that grows with the lengths alone: as one expression, twelve stars took a minute.
    """
    first, *middle = pattern.split("*")
    if not middle:
        return _alike(text, first)
    last = middle.pop()
    at, end = len(first), len(text) - len(last)
    if end < at or not _alike(text[:at], first) or not _alike(text[end:], last):
        return False
    for piece in middle:  # each where it first can be: that leaves most to the others
        at = next((one for one in range(at, end - len(piece) + 1) if _alike(text[one : one + len(piece)], piece)), -1)
        if at < 0:
            return False
        at += len(piece)
    return True


def several(value: Any) -> list[Any]:
    """What policies write alone or as a list, as a list."""
    return value if isinstance(value, list) else [value]


def _alike(text: str, piece: str) -> bool:
    """Whether a text is as a piece of a pattern without stars has it."""
    return len(text) == len(piece) and all(asked in ("?", sign) for sign, asked in zip(text, piece, strict=True))


def holds_for(operator: str, actual: Value | None, values: list[Any]) -> bool:
    """Whether a condition holds for what a call carries; None: it has no such key.

    Raises NotImplementedError for an operator that is not judged here.
    """
    quantifier, _, plain = operator.rpartition(":")
    name = plain.removesuffix("IfExists")
    if name == "Null":
        return any((actual is None) == (str(value).lower() == "true") for value in values)
    if name not in _OPERATORS or quantifier not in ("", "ForAllValues", "ForAnyValue"):
        raise NotImplementedError(f"no policy is judged here that has the condition operator {operator}")
    present = [] if actual is None else [actual] if isinstance(actual, str) else list(actual)
    if quantifier == "ForAllValues":  # of no value all are anything
        return all(_is(name, one, values) for one in present)
    if quantifier == "ForAnyValue":
        return any(_is(name, one, values) for one in present)
    if not present:  # a negated operator holds for what is absent
        return name != plain or name in _NEGATED
    return all(_is(name, one, values) for one in present)


_BOOL = "Bool"
_NEGATED = {"StringNotEquals": "StringEquals", "StringNotLike": "StringLike"}
_OPERATORS = {"StringEquals", "StringLike", _BOOL, *_NEGATED}


def _is(name: str, actual: str, values: list[Any]) -> bool:
    if name in _NEGATED:
        return not _is(_NEGATED[name], actual, values)
    texts = [_as_text(value) for value in values]
    if name == _BOOL:
        return any(actual.lower() == one.lower() for one in texts)
    return any(actual == one if name == "StringEquals" else matches(actual, one) for one in texts)


def _as_text(value: object) -> str:
    """A value of a condition, which the grammar of policies lets be a number, true or false as well."""
    return str(value).lower() if isinstance(value, bool) else str(value)
