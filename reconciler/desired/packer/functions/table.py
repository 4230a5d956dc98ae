"""Every function by name, and how one is called."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.desired.packer.functions.collections import COLLECTIONS
from reconciler.desired.packer.functions.encodings import ENCODINGS
from reconciler.desired.packer.functions.formats import FORMATS
from reconciler.desired.packer.functions.paths import CHECKOUT, NoFiles, path_functions
from reconciler.desired.packer.functions.scalars import DATES, LATER, NETWORKS, NUMERIC
from reconciler.desired.packer.functions.signature import Function, reason_of, sequence
from reconciler.desired.packer.functions.texts import TEXTS
from reconciler.desired.packer.language.convert import convert
from reconciler.desired.packer.language.interpreter import Interpreter
from reconciler.desired.packer.language.outcome import Later, Refused, Undecided
from reconciler.desired.packer.language.rules import Names
from reconciler.desired.packer.language.type_words import read_type
from reconciler.desired.packer.language.values import Type, Unknown, Value, is_null, type_of, walk
from reconciler.desired.packer.syntax import Call

FUNCTIONS: Mapping[str, Function] = {
    **COLLECTIONS, **DATES, **ENCODINGS, **FORMATS, **LATER, **NETWORKS, **NUMERIC, **TEXTS,
}  # fmt: skip
"""All that read no files; those are `path_functions`."""

NAMES = frozenset({
    *FUNCTIONS, *path_functions(NoFiles(), root="", cwd=""), "base64gzip", "can", "convert", "index", "rfc3339_parse",
    "rsadecrypt", "textdecodebase64", "textencodebase64", "try", "unix_timestamp_parse",
}) - {"env", "isotime"}  # fmt: skip
"""What Packer knows anywhere, up to 1.16.0, whether its value is told here or not.

But `env`, for defaults of variables alone; and `isotime` is of JSON templates alone.
"""

_TAKES_PATHS = frozenset({
    "abspath", "basename", "coalesce", "coalescelist", "compact", "concat", "dirname", "distinct", "element", "file",
    "filebase64", "fileexists", "fileset", "flatten", "format", "formatlist", "join", "keys", "lookup", "merge",
    "pathexpand", "reverse", "slice", "templatefile", "values", "zipmap",
})  # fmt: skip
"""Functions that leave a path a path. Others would look into one that has no real beginning yet."""


def call(call_: Call, names: Names, run: Interpreter, *, files: Mapping[str, Function]) -> Value:
    """The value of a call.

    Raises:
        Refused: Packer ends with an error.
        Undecided: it can't be told what it returns.
    """
    name = call_.function
    if name in ("try", "can"):
        return _forgiving(call_, names, run)
    if name == "convert":
        return _converted(call_, names, run)
    function = FUNCTIONS.get(name) or files.get(name)
    if function is None:
        raise Undecided(f"the function {name} is not known here")
    arguments = [run.value(one, names) for one in call_.arguments]
    if call_.spread:
        arguments = _spread(arguments)
    if function.is_newer:
        run.newer_calls += 1
        if run.is_forgiving:
            raise Undecided(f"whether Packer has the function {name}")
    if run.has_paths and name not in _TAKES_PATHS and any(_is_path(one) for value in arguments for one in walk(value)):
        raise Undecided("a path whose beginning is only known at the build")
    try:
        return function(run, arguments)
    except Later as error:
        return Unknown(str(error), function.returns)


def _spread(arguments: list[Value]) -> list[Value]:
    last = arguments[-1]
    if is_null(last):
        raise Refused("null can't be spread")
    if not isinstance(last, Unknown) and not type_of(last).is_sequence:
        raise Refused("only a list, set or tuple can be spread")
    return [*arguments[:-1], *sequence(last, "list", "set", "tuple").items]


def _is_path(value: Value) -> bool:
    return isinstance(value, str) and CHECKOUT in value


def _forgiving(call_: Call, names: Names, run: Interpreter) -> Value:
    """`try` and `can`, which look at whether expressions fail."""
    if call_.spread or not call_.arguments or (call_.function == "can" and len(call_.arguments) != 1):
        raise Undecided("try and can in a way that is not read here")
    for one in call_.arguments:
        found = run.forgiven(one, names)
        if call_.function == "can":
            return found is not None
        if found is not None:
            return found
    raise Refused("no expression within try succeeds")


def _converted(call_: Call, names: Names, run: Interpreter) -> Value:
    if call_.spread or len(call_.arguments) != 2:
        raise Refused("convert takes a value and a type")
    return convert(run.value(call_.arguments[0], names), _type(call_))


def _type(call_: Call) -> Type:
    return read_type(call_.arguments[1])


__all__ = ["FUNCTIONS", "NAMES", "call", "reason_of"]
