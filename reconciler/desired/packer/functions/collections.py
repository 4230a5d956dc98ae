"""Functions of lists, sets, maps and objects (go-cty's stdlib/collection.go, sequence.go and set.go)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

from reconciler.desired.packer.functions.signature import (
    Function,
    integer,
    mapping,
    members_of,
    number,
    reason_of,
    sequence,
    string,
    strings,
)
from reconciler.desired.packer.functions.texts import clusters
from reconciler.desired.packer.language import numbers
from reconciler.desired.packer.language.convert import convert, equal, unify
from reconciler.desired.packer.language.interpreter import Interpreter
from reconciler.desired.packer.language.numbers import Number, whole
from reconciler.desired.packer.language.outcome import Refused, Undecided
from reconciler.desired.packer.language.values import (
    BOOL,
    DYNAMIC,
    NUMBER,
    STRING,
    Null,
    Sequence_,
    Type,
    Unknown,
    Value,
    identity,
    is_known,
    list_of,
    list_value,
    map_value,
    object_of,
    object_value,
    set_of,
    set_value,
    tuple_of,
    tuple_value,
    type_of,
    unknown_list,
)

_MAX_RANGE = 1024
_MAX_PRODUCT = 10_000
_ANY_LIST = list_of(DYNAMIC)
_ANY_SET = set_of(DYNAMIC)


def _chunklist(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    items, size = members_of(arguments[0]), integer(arguments[1])
    if size < 0:
        raise Refused("a negative size")
    of = type_of(arguments[0])
    step = size or max(len(items), 1)
    chunks = [list_value(items[at : at + step], of.of) for at in range(0, len(items), step)]
    return list_value(chunks, of)


def _coalesce(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    common = unify([type_of(one) for one in arguments if not _is_bare_null(one)])
    if common is None:
        raise Refused("the arguments have no type in common")
    for one in arguments:
        value = convert(one, common)
        if isinstance(value, Unknown):
            return Unknown(value.reason, common)
        if not isinstance(value, Null) and value != "":
            return value
    raise Refused("no argument is other than null or empty")


def _is_bare_null(value: Value) -> bool:
    if isinstance(value, Null) and value.type == DYNAMIC:
        raise Undecided("null among values whose type in common is asked for")
    return False


def _coalescelist(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    if not arguments:
        raise Refused("at least one argument is required")
    for one in arguments:
        if isinstance(one, Unknown):
            return one
        if type_of(one).kind not in ("list", "tuple"):
            raise Refused("a list or a tuple is required")
    for one in arguments:
        if not isinstance(one, Null) and members_of(one):
            return one
    raise Refused("no argument is other than null or empty")


def _concat(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    if not arguments:
        raise Refused("at least one argument is required")
    unknown = next((one for one in arguments if isinstance(one, Unknown)), None)
    if unknown is not None:
        known = [one for one in arguments if isinstance(one, Sequence_)]
        return unknown_list(unknown.reason, (item for one in known for item in one.items))
    if any(type_of(one).kind not in ("list", "tuple") for one in arguments):
        raise Refused("a list or a tuple is required")
    if all(type_of(one).kind == "list" for one in arguments):
        common = unify([type_of(one) for one in arguments])
        if common is not None:
            parts = [members_of(convert(one, common)) for one in arguments]
            return list_value(itertools.chain.from_iterable(parts), common.of)
    return tuple_value(item for one in arguments for item in members_of(one))


def _contains(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    items = sequence(arguments[0], "list", "tuple", "set").items
    found = False
    for one in items:
        found = equal(arguments[1], one) or found
    return found


def _distinct(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    of = sequence(arguments[0], "list")
    found: dict[object, Value] = {}
    for one in of.items:
        found.setdefault(identity(one), one)
    return list_value(found.values(), of.type.of)


def _element(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    items, at = sequence(arguments[0], "list", "tuple").items, integer(arguments[1])
    if at < 0:
        raise Refused("a negative index")
    if not items:
        raise Refused("an empty list has no element")
    return items[at % len(items)]


def _flatten(run: Interpreter, arguments: Sequence[Value]) -> Value:
    of = arguments[0]
    if isinstance(of, Unknown):
        return of
    found: list[Value] = []
    doubts: list[Unknown] = []
    _flatten_into(run, found, doubts, sequence(of, "list", "set", "tuple"))
    if doubts:
        return unknown_list(doubts[0].reason, found)
    return tuple_value(found)


def _flatten_into(run: Interpreter, found: list[Value], doubts: list[Unknown], of: Sequence_) -> None:
    for one in of.items:
        run.spend(1)
        if isinstance(one, Sequence_):
            _flatten_into(run, found, doubts, one)
            continue
        found.append(one)
        if isinstance(one, Unknown) and not one.type.is_primitive:
            doubts.append(one)


def _keys(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    of = mapping(arguments[0])
    return list_value(of.items, STRING) if of.type.kind == "map" else tuple_value(of.items)


def _length(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    of = arguments[0]
    if isinstance(of, Unknown):
        return Unknown(of.reason, NUMBER)
    return whole(len(clusters(of)) if isinstance(of, str) else len(members_of(of)))


def _lookup(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    of, default = mapping(arguments[0]), arguments[2]
    if isinstance(arguments[1], Unknown):
        return Unknown(arguments[1].reason)
    key = string(arguments[1])
    if of.type.kind == "map":
        default = convert(default, of.type.of)
    return of.items.get(key, default)


def _merge(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    if not arguments:
        raise Undecided("a merge of nothing")
    types = [type_of(one) for one in arguments]
    if any(type_.kind not in ("map", "object", "dynamic") for type_ in types):
        raise Refused("a map or an object is required")
    if any(_is_untyped_null(one) for one in arguments):
        raise Undecided("null without a type among maps")
    unknown = next((one for one in arguments if isinstance(one, Unknown)), None)
    if unknown is not None:
        return Unknown(unknown.reason)
    found: dict[str, Value] = {}
    for one in arguments:
        if not isinstance(one, Null):
            found.update(mapping(one).items)
    if not found and types[0] != object_of({}):
        raise Undecided("a merge of nothing")
    if types[0].kind == "map" and all(type_ == types[0] for type_ in types):
        return map_value(found, types[0].of)
    if types[0].kind == "object" and all(isinstance(one, Null) for one in arguments):
        raise Undecided("an object of nothing but null")
    return object_value(found)


def _is_untyped_null(value: Value) -> bool:
    return isinstance(value, Null) and value.type == DYNAMIC


def _range(run: Interpreter, arguments: Sequence[Value]) -> Value:
    values = [number(one) for one in arguments]
    match values:
        case [end]:
            start, step = whole(0), whole(-1 if end.value < 0 else 1)
        case [start, end]:
            step = whole(-1 if end.value < start.value else 1)
        case [start, end, step]:
            pass
        case _:
            raise Refused("one, two or three arguments are required")
    if step.value == 0:
        raise Undecided("a range by steps of zero")
    is_down = step.value < 0
    if (end.value > start.value) if is_down else (end.value < start.value):
        raise Refused("the end is on the other side")
    found: list[Value] = []
    at: Number = start
    while (at.value > end.value) if is_down else (at.value < end.value):
        if len(found) >= _MAX_RANGE:
            raise Refused("more than 1024 values")
        run.spend(1)
        found.append(at)
        at = numbers.add(at, step)
    return list_value(found, NUMBER)


def _reverse(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    of = sequence(arguments[0], "list", "set", "tuple")
    backwards = tuple(reversed(of.items))
    return tuple_value(backwards) if of.type.kind == "tuple" else list_value(backwards, of.type.of)


def _set_operation(name: str, arguments: Sequence[Value]) -> Value:
    common = unify([_set_element(one) for one in arguments])
    if common is None:
        raise Refused("the sets have no type in common")
    sets = [{identity(item): item for item in members_of(convert(one, set_of(common)))} for one in arguments]
    first, *others = sets
    if name == "union":
        merged: dict[object, Value] = {}
        for one in sets:
            merged.update(one)
        return set_value(merged.values(), common)
    kept = [value for key, value in first.items() if all(key in other for other in others)]
    return set_value(kept, common)


def _set_element(value: Value) -> Type:
    return type_of(value).of


def _setproduct(run: Interpreter, arguments: Sequence[Value]) -> Value:
    if len(arguments) < 2:
        raise Refused("at least two arguments are required")
    types: list[Type] = []
    for one in arguments:
        kind = type_of(one).kind
        if kind in ("list", "set"):
            types.append(type_of(one).of)
        elif kind == "tuple":
            of = sequence(one, "tuple")
            common = unify([type_of(item) for item in of.items]) if of.items else DYNAMIC
            if common is None:
                raise Refused("the elements have no type in common")
            types.append(common)
        else:
            raise Refused("a list or a set is required")
    total = math.prod(len(members_of(one)) for one in arguments)
    if total > _MAX_PRODUCT:
        raise Undecided("a very large product of lists")
    run.spend(total * len(arguments))
    lists = [[convert(item, type_) for item in members_of(one)] for one, type_ in zip(arguments, types, strict=True)]
    rows = [tuple_value(row) for row in itertools.product(*lists)]
    element = tuple_of(types)
    if any(type_of(one).kind == "set" for one in arguments):
        return set_value(rows, element)
    return list_value(rows, element)


def _slice(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    of = sequence(arguments[0], "list", "tuple")
    start, end = integer(arguments[1]), integer(arguments[2])
    if not 0 <= start <= end <= len(of.items):
        raise Refused("the indexes are not within the list")
    kept = of.items[start:end]
    return tuple_value(kept) if of.type.kind == "tuple" else list_value(kept, of.type.of)


def _sum(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    items = sequence(arguments[0], "list", "set", "tuple").items
    if not items:
        raise Refused("an empty list has no sum")
    if any(isinstance(one, Null) for one in items):
        raise Refused("null has no sum")
    first, *rest = [number(convert(one, NUMBER)) for one in items]
    for one in rest:
        first = numbers.add(first, one)
    return first


def _truths(arguments: Sequence[Value], *, every: bool) -> Value:
    items = [one is True for one in members_of(arguments[0])]
    return all(items) if every else any(items)


def _values(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    of = mapping(arguments[0])
    values = of.items.values()
    return list_value(values, of.type.of) if of.type.kind == "map" else tuple_value(values)


def _zipmap(_run: Interpreter, arguments: Sequence[Value]) -> Value:
    keys, of = members_of(arguments[0]), sequence(arguments[1], "list", "tuple")
    if any(isinstance(one, Null) for one in keys):
        raise Undecided("null as a key")
    if not all(is_known(one) for one in keys):
        return Unknown(reason_of(arguments[0]))
    if len(keys) != len(of.items):
        raise Refused("as many keys as values are required")
    found = dict(zip(strings(keys), of.items, strict=True))
    return map_value(found, of.type.of) if of.type.kind == "list" else object_value(found)


COLLECTIONS: Mapping[str, Function] = {
    "alltrue": Function(lambda _run, a: _truths(a, every=True), (list_of(BOOL),), returns=BOOL, is_newer=True),
    "anytrue": Function(lambda _run, a: _truths(a, every=False), (list_of(BOOL),), returns=BOOL, is_newer=True),
    "chunklist": Function(_chunklist, (_ANY_LIST, NUMBER)),
    "coalesce": Function(_coalesce, (), DYNAMIC, takes_null=True, takes_unknown=True),
    "coalescelist": Function(_coalescelist, (), DYNAMIC, takes_null=True, takes_unknown=True),
    "concat": Function(_concat, (), DYNAMIC, takes_unknown=True),
    "contains": Function(_contains, (DYNAMIC, DYNAMIC), returns=BOOL),
    "distinct": Function(_distinct, (_ANY_LIST,)),
    "element": Function(_element, (DYNAMIC, NUMBER), takes_unknown=True),
    "flatten": Function(_flatten, (DYNAMIC,), takes_unknown=True),
    "keys": Function(_keys, (DYNAMIC,), takes_unknown=True),
    "length": Function(_length, (DYNAMIC,), returns=NUMBER, takes_unknown=True),
    "lookup": Function(_lookup, (DYNAMIC, STRING, DYNAMIC), takes_unknown=True),
    "merge": Function(_merge, (), DYNAMIC, takes_null=True, takes_unknown=True),
    "range": Function(_range, (), NUMBER, list_of(NUMBER)),
    "reverse": Function(_reverse, (DYNAMIC,), takes_unknown=True),
    "setintersection": Function(lambda _run, a: _set_operation("intersection", a), (_ANY_SET,), _ANY_SET),
    "setproduct": Function(_setproduct, (), DYNAMIC),
    "setunion": Function(lambda _run, a: _set_operation("union", a), (_ANY_SET,), _ANY_SET),
    "slice": Function(_slice, (DYNAMIC, NUMBER, NUMBER), takes_unknown=True),
    "sum": Function(_sum, (DYNAMIC,), returns=NUMBER, is_newer=True),
    "values": Function(_values, (DYNAMIC,), takes_unknown=True),
    "zipmap": Function(_zipmap, (list_of(STRING), DYNAMIC), takes_unknown=True),
}
"""By name."""
