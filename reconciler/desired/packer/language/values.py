"""HCL's values and their types (go-cty's)."""

from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from reconciler.desired.packer.language.numbers import Number, from_python
from reconciler.desired.packer.language.outcome import Later, Undecided

# The types of HCL's values (go-cty's), as values of their own.

Kind = Literal["string", "number", "bool", "dynamic", "list", "set", "map", "tuple", "object"]


@dataclass(frozen=True, slots=True)
class Type:
    """One type. `element` is that of a collection, `elements` those of a tuple, `attributes` those of an object."""

    kind: Kind
    element: Type | None = None
    elements: tuple[Type, ...] = ()
    attributes: Mapping[str, Type] = field(default_factory=dict, hash=False)
    optional: frozenset[str] = frozenset()
    """Attributes that a value need not have (`optional(…)` in the type of a variable)."""

    @property
    def of(self) -> Type:
        """The type of a collection's elements."""
        return self.element or DYNAMIC

    @property
    def is_primitive(self) -> bool:
        """Whether it is string, number or bool."""
        return self.kind in ("string", "number", "bool")

    @property
    def is_sequence(self) -> bool:
        """Whether it is a list, a set or a tuple."""
        return self.kind in ("list", "set", "tuple")

    @property
    def is_mapping(self) -> bool:
        """Whether it is a map or an object."""
        return self.kind in ("map", "object")

    @property
    def has_dynamic(self) -> bool:
        """Whether any part of it is not known."""
        if self.kind == "dynamic":
            return True
        inner = (*((self.element,) if self.element else ()), *self.elements, *self.attributes.values())
        return any(one.has_dynamic for one in inner)


STRING = Type("string")
NUMBER = Type("number")
BOOL = Type("bool")
DYNAMIC = Type("dynamic")
"""A type that is not known, as that of a bare `null`; in the type of a variable or parameter: any."""


def list_of(element: Type) -> Type:
    """A list."""
    return Type("list", element)


def set_of(element: Type) -> Type:
    """A set."""
    return Type("set", element)


def map_of(element: Type) -> Type:
    """A map."""
    return Type("map", element)


def tuple_of(elements: Iterable[Type]) -> Type:
    """A tuple, which is what `[…]` makes."""
    return Type("tuple", elements=tuple(elements))


def object_of(attributes: Mapping[str, Type], optional: frozenset[str] = frozenset()) -> Type:
    """An object, which is what `{…}` makes."""
    return Type("object", attributes=dict(attributes), optional=optional)


# HCL's values: text as str, truth as bool, numbers as Number, and the rest as the classes here.
#
# Texts are normalized (NFC), as go-cty does with each. What is not known has a reason, and its type where that is
# known.

MAX_SIZE = 50_000
"""Values within a value. Thirty locals that each name the one before twice would be a billion."""
MAX_NESTING = 40
_MAX_HELD = 5_000
_SHORT_BITS = 50
"""A whole number of so few bits is spelled with all of its digits, whatever it is kept with."""


@dataclass(frozen=True, slots=True)
class Null:
    """No value, of a type."""

    type: Type = DYNAMIC


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that can't be told here. `holds` is what is known to be among its members, where it is a list."""

    reason: str
    type: Type = DYNAMIC
    holds: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Sequence_:  # noqa: N801 - `Sequence` is Python's
    """A list, a set or a tuple. A set's members stand in the order in which HCL iterates over them."""

    type: Type
    items: tuple[Value, ...]
    size: int
    nesting: int
    is_known: bool
    """Whether all members are, at any depth."""


@dataclass(frozen=True, slots=True)
class Mapping_:  # noqa: N801 - `Mapping` is Python's
    """A map or an object, its keys in order."""

    type: Type
    items: Mapping[str, Value]
    size: int
    nesting: int
    is_known: bool


Value: TypeAlias = "str | bool | Number | Null | Unknown | Sequence_ | Mapping_"


def text(raw: str) -> str:
    """Text as go-cty keeps it."""
    return raw if raw.isascii() else unicodedata.normalize("NFC", raw)


def type_of(value: Value) -> Type:
    """The type of a value."""
    match value:
        case str():
            return STRING
        case bool():
            return BOOL
        case Number():
            return NUMBER
        case _:
            return value.type


def is_known(value: Value) -> bool:
    """Whether a value is known with all that is in it."""
    match value:
        case Unknown():
            return False
        case Sequence_() | Mapping_():
            return value.is_known
        case _:
            return True


def is_null(value: Value) -> bool:
    """Whether it is null."""
    return isinstance(value, Null)


def size_of(value: Value) -> int:
    """How many values there are in a value, with itself."""
    return value.size if isinstance(value, Sequence_ | Mapping_) else 1


def tuple_value(items: Iterable[Value]) -> Sequence_:
    """A tuple of these."""
    members = tuple(items)
    return _sequence(tuple_of(type_of(one) for one in members), members)


def list_value(items: Iterable[Value], element: Type) -> Sequence_:
    """A list of these, which all are of the type."""
    return _sequence(list_of(element), tuple(items))


def set_value(items: Iterable[Value], element: Type) -> Sequence_:
    """A set of these: each once, in HCL's order.

    Raises:
        Undecided: one is not known, or they have no order that HCL promises.
    """
    members = tuple(items)
    if not all(is_known(one) for one in members):
        raise Undecided("a set of what is not known")
    distinct = list({identity(one): one for one in members}.values())
    if len(distinct) > 1 and not element.is_primitive:
        raise Undecided("the order of a set of anything but texts, numbers and truths")
    present = [one for one in distinct if not isinstance(one, Null)]
    nulls = [one for one in distinct if isinstance(one, Null)]
    ordered = sorted(present, key=lambda one: one.value if isinstance(one, Number) else one)  # type: ignore[arg-type, return-value] # all of one primitive type
    return _sequence(set_of(element), (*ordered, *nulls))


def map_value(items: Mapping[str, Value], element: Type) -> Mapping_:
    """A map of these, which all are of the type."""
    return _mapping(map_of(element), items)


def object_value(items: Mapping[str, Value]) -> Mapping_:
    """An object of these."""
    return _mapping(object_of({name: type_of(one) for name, one in sorted(items.items())}), items)


def elements(value: Value) -> Sequence[Value]:
    """The members of a list, set, tuple, map or object in HCL's order."""
    if isinstance(value, Sequence_):
        return value.items
    return tuple(value.items.values()) if isinstance(value, Mapping_) else ()


def identity(value: Value) -> object:
    """Something hashable that two values share when HCL says that they are equal."""
    match value:
        case bool():
            return ("bool", value)
        case Number():
            whole = value.whole
            is_short = whole is not None and abs(whole).bit_length() <= _SHORT_BITS
            return ("number", whole if is_short else str(value))
        case Sequence_():
            return (value.type.kind, tuple(identity(one) for one in value.items))
        case Mapping_():
            return (value.type.kind, tuple((name, identity(one)) for name, one in value.items.items()))
        case Null():
            return ("null",)
        case Unknown():
            raise Later(value.reason)
        case _:
            return value


def from_plain(plain: object) -> Value:
    """A value of Python's, as it comes from YAML or JSON, as HCL's.

    Raises:
        Undecided: it is none that JSON has.
    """
    match plain:
        case None:
            return Null()
        case bool():
            return plain
        case str():
            return text(plain)
        case int() | float():
            return from_python(plain)
        case list() | tuple():
            return tuple_value(from_plain(one) for one in plain)
        case dict():
            return object_value({text(str(name)): from_plain(one) for name, one in plain.items()})
        case _:
            raise Undecided("no value of HCL's")


def walk(value: Value) -> Iterator[Value]:
    """A value and all that is in it."""
    yield value
    for one in elements(value):
        yield from walk(one)


def unknown_list(reason: str, holds: Iterable[Value]) -> Unknown:
    """A list that is not known, of which some members are. Of very many none is told."""
    found = tuple(itertools.islice(holds, _MAX_HELD + 1))
    return Unknown(reason, holds=found if len(found) <= _MAX_HELD else ())


def leaves(value: Value) -> Iterator[Value]:
    """What is in lists within lists, and what is known to be in one that is not known."""
    if isinstance(value, Sequence_):
        for one in value.items:
            yield from leaves(one)
    elif isinstance(value, Unknown):
        yield from value.holds
    else:
        yield value


def _sequence(type_: Type, items: tuple[Value, ...]) -> Sequence_:
    size, nesting, known = _measured(items)
    return Sequence_(type_, items, size, nesting, known)


def _mapping(type_: Type, items: Mapping[str, Value]) -> Mapping_:
    size, nesting, known = _measured(items.values())
    return Mapping_(type_, dict(sorted(items.items())), size, nesting, known)


def _measured(items: Iterable[Value]) -> tuple[int, int, bool]:
    size, nesting, known = 1, 0, True
    for one in items:
        if isinstance(one, Sequence_ | Mapping_):
            size += one.size
            nesting = max(nesting, one.nesting)
            known = known and one.is_known
        else:
            size += 1
            known = known and not isinstance(one, Unknown)
    if size > MAX_SIZE or nesting >= MAX_NESTING:
        raise Undecided("more values within each other than are counted here")
    return size, nesting + 1, known
