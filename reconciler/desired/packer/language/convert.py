"""Conversion between types, and what HCL does with values: members, equality, arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from reconciler.desired.packer.language import numbers
from reconciler.desired.packer.language.numbers import Number, parse_number
from reconciler.desired.packer.language.outcome import Later, Refused, Undecided
from reconciler.desired.packer.language.values import (
    DYNAMIC,
    NUMBER,
    STRING,
    Kind,
    Mapping_,
    Null,
    Sequence_,
    Type,
    Unknown,
    Value,
    identity,
    list_of,
    list_value,
    map_of,
    map_value,
    object_of,
    object_value,
    set_value,
    text,
    tuple_of,
    tuple_value,
    type_of,
)

# Conversion between types, and the type that several have in common: go-cty's `convert`, for values that are known.
#
# What go-cty decides by types alone is decided so here, for a conversion that can't be has to fail even where no value
# would need it. Where a type is not known, neither is the outcome.

# The order of go-cty's compareTypes.
_GENERALITY: Sequence[Kind] = ("string", "number", "bool", "map", "object", "list", "tuple", "set")
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}


def convert(value: Value, to: Type) -> Value:
    """A value as one of another type.

    Raises:
        Refused: there is no such conversion, or not of this value.
        Undecided: it depends on what is not known.
    """
    from_ = type_of(value)
    if to.kind == "dynamic" or from_ == to:
        return value
    if from_.kind != "dynamic" and not can_convert(from_, to):
        raise Refused(f"{_name(to)} required")
    if isinstance(value, Unknown):
        return Unknown(value.reason, to if not to.has_dynamic else DYNAMIC, value.holds if to.is_sequence else ())
    if isinstance(value, Null):
        return Null(_filled(to))
    return _converted(value, to)


def can_convert(from_: Type, to: Type) -> bool:
    """Whether go-cty has a conversion, safe or not, between two types."""
    if "dynamic" in (from_.kind, to.kind) or from_ == to:
        return True
    if from_.is_primitive and to.is_primitive:
        return "string" in (from_.kind, to.kind)
    if to.element is not None and not to.is_primitive:
        return _can_collect(from_, to)
    if from_.kind == to.kind == "tuple":
        pairs = zip(from_.elements, to.elements, strict=False)
        return len(from_.elements) == len(to.elements) and all(can_convert(a, b) for a, b in pairs)
    return to.kind == "object" and from_.is_mapping and _can_be_object(from_, to)


def _can_collect(from_: Type, to: Type) -> bool:
    """Whether there is a conversion to a list, a set or a map."""
    if from_.is_mapping if to.kind == "map" else from_.is_sequence:
        if from_.element is not None:
            return can_convert(from_.of, to.of)
        return _can_be_elements((*from_.elements, *from_.attributes.values()), to.of)
    return False


def _can_be_object(from_: Type, to: Type) -> bool:
    for name, type_ in to.attributes.items():
        given = from_.attributes.get(name) if from_.kind == "object" else from_.of
        may_lack = name in to.optional and (given is None or from_.kind == "map")
        if not may_lack and (given is None or not can_convert(given, type_)):
            return False
    return True


def unify(types: Sequence[Type]) -> Type | None:
    """The type that all can be converted to, with unsafe conversions allowed; None if there is none.

    Raises:
        Undecided: one of them is not known.
    """
    if any(one.has_dynamic for one in types):
        raise Undecided("a type that is not known")
    if all(one == types[0] for one in types):
        return types[0] if types else None
    kinds = frozenset(one.kind for one in types)
    if len(kinds) == 1 and types[0].element is not None:
        element = unify([one.of for one in types])
        return None if element is None else Type(types[0].kind, element)
    if kinds >= {"object", "tuple"}:
        return None
    return _JOINED.get(kinds, _preferred)(types)


def _converted(value: Value, to: Type) -> Value:
    match value, to.kind:
        case _, ("string" | "number" | "bool"):
            return _primitive(value, to)
        case Sequence_(), "tuple":
            pairs = zip(value.items, to.elements, strict=True)
            return tuple_value(convert(one, type_) for one, type_ in pairs)
        case Sequence_(), ("list" | "set"):
            return _collected(value, to)
        case Mapping_(), "map":
            members = dict(zip(value.items, _uniform(tuple(value.items.values()), to.of), strict=True))
            element = _element(tuple(members.values()), value.type, to.of)
            return map_value(members, element)
        case Mapping_(), "object":
            return _as_object(value, to)
        case _:
            raise Refused(f"{_name(to)} required")


def _primitive(value: Value, to: Type) -> Value:
    match value, to.kind:
        case bool(), "string":
            return "true" if value else "false"
        case Number(), "string":
            return str(value)
        case str(), "number":
            return parse_number(value)
        case str(), "bool" if value in _TRUTHS:
            return _TRUTHS[value]
        case _:
            raise Refused(f"{_name(to)} required")


def _collected(value: Sequence_, to: Type) -> Value:
    if to.kind == "set" and value.type.kind != "set" and any(isinstance(one, Unknown) for one in value.items):
        raise Undecided("a set of what is not known")
    members = _uniform(value.items, to.of)
    element = _element(members, value.type, to.of)
    return set_value(members, element) if to.kind == "set" else list_value(members, element)


def _uniform(items: Sequence[Value], element: Type) -> tuple[Value, ...]:
    """All items as the element type; `any` is the type that they have in common."""
    if not items:
        return ()
    if element.has_dynamic:
        common = unify([type_of(convert(one, element)) for one in items])
        if common is None:
            raise Refused("the elements have no type in common")
        element = common
    return tuple(convert(one, element) for one in items)


def _element(members: Sequence[Value], from_: Type, wanted: Type) -> Type:
    if members:
        found = type_of(members[0])
        return found if wanted.has_dynamic or wanted.kind == "object" else _filled(wanted)
    if wanted.kind == "dynamic" and from_.element is not None:
        return from_.of
    return _filled(wanted)


def _as_object(value: Mapping_, to: Type) -> Value:
    found: dict[str, Value] = {}
    for name, type_ in to.attributes.items():
        if name in value.items:
            found[name] = convert(value.items[name], type_)
        elif name in to.optional:
            found[name] = Null(_filled(type_))
        else:
            raise Refused(f'attribute "{name}" is required')
    return object_value(found)


def _can_be_elements(types: tuple[Type, ...], element: Type) -> bool:
    if not types:
        return True
    if element.kind == "dynamic":
        common = unify(types)
        return common is not None and all(can_convert(one, common) for one in types)
    return all(can_convert(one, element) for one in types)


def _objects(types: Sequence[Type]) -> Type | None:
    names = set(types[0].attributes)
    if any(set(one.attributes) != names for one in types):
        return _objects_to_map(types)
    found: dict[str, Type] = {}
    for name in sorted(names):
        common = unify([one.attributes[name] for one in types])
        if common is None:
            return None
        found[name] = common
    made = object_of(found)
    return made if all(can_convert(one, made) for one in types) else _objects_to_map(types)


def _objects_to_map(types: Sequence[Type]) -> Type | None:
    element = unify([member for one in types for member in one.attributes.values()])
    if element is None:
        return None
    made = map_of(element)
    return made if all(can_convert(one, made) for one in types) else None


def _tuples(types: Sequence[Type]) -> Type | None:
    length = len(types[0].elements)
    if any(len(one.elements) != length for one in types):
        return _tuples_to_list(types)
    found = [unify([one.elements[index] for one in types]) for index in range(length)]
    if any(one is None for one in found):
        return None
    made = tuple_of(one for one in found if one is not None)
    return made if all(can_convert(one, made) for one in types) else _tuples_to_list(types)


def _tuples_to_list(types: Sequence[Type]) -> Type | None:
    element = unify([member for one in types for member in one.elements])
    if element is None:
        return None
    made = list_of(element)
    return made if all(can_convert(one, made) for one in types) else None


def _structural_as(types: Sequence[Type], kind: str, join: Callable[[Sequence[Type]], Type | None]) -> Type | None:
    """Tuples beside lists are taken as one list, objects beside maps as one map; in older versions one of the types."""
    made = join([one for one in types if one.kind == kind])
    common = unify([made if one.kind == kind else one for one in types]) if made is not None else None
    older = _preferred(types)
    if (common is not None and common != older) or (made is not None and common not in (made, None)):
        raise Undecided("a list or map of several types, which versions of Packer take differently")
    return older


def _preferred(types: Sequence[Type]) -> Type | None:
    """The most general of the types themselves that all can be made: a string, a list before a tuple or a set."""
    found = [wanted for wanted in types if all(can_convert(one, wanted) for one in types)]
    if not found:
        return None
    rank = min(_GENERALITY.index(one.kind) for one in found)
    first, *others = [one for one in found if _GENERALITY.index(one.kind) == rank]
    if any(one != first for one in others):
        raise Undecided("which of several types is taken")
    return first


def _filled(type_: Type) -> Type:
    """A type without word of what may be absent."""
    if type_.kind != "object" or not type_.optional:
        return type_
    return object_of(type_.attributes)


def _name(type_: Type) -> str:
    names = {"string": "a string is", "number": "a number is", "bool": "a bool is"}
    return names.get(type_.kind, f"a {type_.kind} is")


_JOINED: Mapping[frozenset[Kind], Callable[[Sequence[Type]], Type | None]] = {
    frozenset({"map", "object"}): lambda types: _structural_as(types, "object", _objects_to_map),
    frozenset({"list", "tuple"}): lambda types: _structural_as(types, "tuple", _tuples_to_list),
    frozenset({"object"}): _objects,
    frozenset({"tuple"}): _tuples,
}


# Members, equality, arithmetic.

ARITHMETIC: Mapping[str, Callable[[Number, Number], Number]] = {
    "+": numbers.add, "-": numbers.subtract, "*": numbers.multiply, "/": numbers.divide, "%": numbers.modulo,
}  # fmt: skip
_COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
}  # fmt: skip


def index(base: Value, key: Value) -> Value:
    """`base[key]`.

    Raises:
        Refused: there is no such member.
    """
    if isinstance(base, Null) or isinstance(key, Null):
        raise Refused("null has no members, and is none")
    for one in (base, key):
        if isinstance(one, Unknown):
            return Unknown(one.reason)
    match base:
        case Sequence_() if base.type.kind != "set":
            position = convert(key, NUMBER)
            at = position.whole if isinstance(position, Number) else None
            if at is None or not 0 <= at < len(base.items):
                raise Refused("the given key does not identify an element")
            return base.items[at]
        case Mapping_():
            name = convert(key, STRING)
            if not isinstance(name, str) or name not in base.items:
                raise Refused("the given key does not identify an element")
            return base.items[name]
        case _:
            raise Refused("this value does not have any indices")


def member(base: Value, name: str) -> Value:
    """`base.name`.

    Raises:
        Refused: there is no such attribute.
    """
    if isinstance(base, Unknown):
        return Unknown(base.reason)
    if not isinstance(base, Mapping_) or text(name) not in base.items:
        raise Refused(f'there is no attribute "{name}"')
    return base.items[text(name)]


def equal(a: Value, b: Value) -> bool:
    """Whether `a == b`.

    Raises:
        Undecided: it depends on what is not known.
    """
    for one in (a, b):
        if isinstance(one, Unknown):
            raise Later(one.reason)
    if isinstance(a, Null) or isinstance(b, Null):
        return isinstance(a, Null) and isinstance(b, Null)
    if type_of(a).has_dynamic or type_of(b).has_dynamic:
        raise Undecided("whether values are equal of which a part has no type")
    if type_of(a) != type_of(b):
        return False
    return identity(a) == identity(b)


def computed(operator: str, operands: list[Value]) -> Value:
    """The result of an operator on operands of its type."""
    match operands:
        case [bool() as truth]:
            return not truth
        case [Number() as number]:
            return numbers.negate(number)
        case [Number() as left, Number() as right]:
            if operator in _COMPARISONS:
                return _COMPARISONS[operator](left.value, right.value)
            return ARITHMETIC[operator](left, right)
        case _:
            raise Refused("the operator takes other operands")
