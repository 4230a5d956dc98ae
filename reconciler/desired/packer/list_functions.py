"""HCL's functions that put lists and texts together: those with which templates name files."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping

from reconciler.desired.packer.value import UNKNOWN, joined

MAX_ITEMS = 10_000
"""A longer list is not known: thirty locals that each name the one before twice would be a billion."""

_VERB = re.compile(r"%(.?)", re.DOTALL)


def _concat(arguments: list[object]) -> object:
    """One list of all; a list that is not known stands as one UNKNOWN member, so that the others are seen."""
    members: list[object] = []
    for one in arguments:
        if one is not UNKNOWN and not isinstance(one, list):
            return UNKNOWN
        members += one if isinstance(one, list) else [UNKNOWN]
        if len(members) > MAX_ITEMS:
            return UNKNOWN
    return members


def _flatten(arguments: list[object]) -> object:
    match arguments:
        case [list() as nested]:
            return _flat(nested)
        case _:
            return UNKNOWN


def _flat(nested: list[object]) -> object:
    members: list[object] = []
    waiting: list[object] = [nested]
    for _ in range(MAX_ITEMS):
        if not waiting:
            return members
        one = waiting.pop()
        if isinstance(one, list):
            waiting += reversed(one)
        else:
            members.append(one)
    return UNKNOWN


def _same_list(arguments: list[object]) -> object:
    match arguments:
        case [list() as only]:
            return only
        case _:
            return UNKNOWN


def _join(arguments: list[object]) -> object:
    match arguments:
        case [str() as separator, *lists]:
            members = _concat(lists)
            return joined(separator, members) if isinstance(members, list) else UNKNOWN
        case _:
            return UNKNOWN


def _format(arguments: list[object]) -> object:
    """Text by a pattern that has no verbs but `%s`, `%v` and `%%`."""
    match arguments:
        case [str() as pattern, *values]:
            verbs = [verb for verb in _VERB.findall(pattern) if verb != "%"]
            if len(verbs) != len(values) or not {"s", "v"}.issuperset(verbs):
                return UNKNOWN
            left = iter(values)
            texts = re.split(r"(%.)", pattern, flags=re.DOTALL)
            parts = [_spelled(text, left) if text[:1] == "%" else text for text in texts]
            return joined("", parts)
        case _:
            return UNKNOWN


def _spelled(verb: str, values: Iterator[object]) -> object:
    return "%" if verb == "%%" else next(values)


LIST_FUNCTIONS: Mapping[str, Callable[[list[object]], object]] = {
    "concat": _concat,
    "flatten": _flatten,
    "format": _format,
    "join": _join,
    "tolist": _same_list,
    "toset": _same_list,
}
"""By name: from the arguments' values to the value, UNKNOWN where that can't be said."""
