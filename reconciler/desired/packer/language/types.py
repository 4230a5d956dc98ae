"""The types of HCL's values (go-cty's), as values of their own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

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
