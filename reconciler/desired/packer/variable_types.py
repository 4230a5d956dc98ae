"""Values that a variable's type can't take, whatever Packer makes of them. Seen with 1.6.6, which converts as HCL does.

A type that is not written out here (`any`, `object({…})`) takes everything.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from reconciler.desired.packer.value import UNKNOWN

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?inf", re.IGNORECASE)
_TRUTHS = frozenset({"true", "false", "1", "0"})
_COLLECTION = re.compile(r"(list|set|map)\s*\(.*\)", re.DOTALL)


def takes(type_: str, value: object) -> bool:
    """Whether a variable of this type may have this value. True for null, and for what is not known."""
    if value is None or value is UNKNOWN:
        return True
    if type_ in _SCALARS:
        return _SCALARS[type_](value)
    collection = _COLLECTION.fullmatch(type_)
    return collection is None or isinstance(value, dict if collection[1] == "map" else list)


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_truth(value: object) -> bool:
    return value in _TRUTHS if isinstance(value, str) else isinstance(value, bool)


_SCALARS: dict[str, Callable[[object], bool]] = {
    "string": lambda value: not isinstance(value, list | dict),
    "number": _is_number,
    "bool": _is_truth,
}
