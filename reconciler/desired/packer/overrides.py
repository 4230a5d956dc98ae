"""What `override` makes of a step for one build: the step with other attributes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.desired.packer.evaluate import Scope, evaluate, holds_unknown
from reconciler.desired.packer.steps import Step
from reconciler.desired.packer.syntax import (
    UNKNOWN,
    Attribute,
    Body,
    Bound,
    Constant,
    Expression,
    Interpolation,
    Listing,
    Opaque,
    Pairs,
    Traversal,
    as_text,
)

OVERRIDE = "override"
_DEPTH = 16
"""Locals that are made of locals: one that is further away is not known."""


def overridden(step: Step, scope: Scope) -> Iterator[Body | None]:
    """The step's body for each build in which it runs and for which `override` says something; None if not known.

    The step's own attributes are still there: of a longer list Packer keeps the members that the override has none for,
    and it takes the names in whatever case they are written (seen with 1.6.6 and 1.16.0).
    """
    attribute = step.body.attributes.get(OVERRIDE)
    if attribute is None:
        return
    builds = _members(attribute.expression, scope)
    if builds is None:
        yield None
        return
    for build, expression in builds:
        if build is not None and build not in step.builds:
            continue
        members = _members(expression, scope) if build is not None else None
        if members is None or any(name is None for name, _ in members):
            yield None
        yield _laid_over(step.body, attribute, [(name, one) for name, one in members or () if name is not None])


def _laid_over(body: Body, override: Attribute, members: list[tuple[str, Expression]]) -> Body:
    own = {name: one for name, one in body.attributes.items() if name != OVERRIDE}
    others = (_attribute(name.lower(), override, expression) for name, expression in members)
    return Body({**own, **{one.name: one for one in others}}, tuple(one for one in body.blocks if one.type != OVERRIDE))


def _attribute(name: str, override: Attribute, expression: Expression) -> Attribute:
    return Attribute(name, override.place, lambda: expression)


def _members(
    expression: Expression, scope: Scope, *, depth: int = _DEPTH
) -> list[tuple[str | None, Expression]] | None:
    """The members of an object, each as it is written, so that what is known of one is seen; None if it is not known.

    A name is None where it is not known.
    """
    match expression:
        case Pairs(members):
            return [(as_text(evaluate(key, scope)), value) for key, value in members]
        case Interpolation((one,)) if depth:
            return _members(one, scope, depth=depth - 1)
        case Traversal(("local", name)) if depth and name in scope.locals:
            return _members(scope.locals[name], scope, depth=depth - 1)
        case Bound(Pairs(members), names):
            return [(as_text(evaluate(Bound(key, names), scope)), Bound(value, names)) for key, value in members]
        case _:
            value = evaluate(expression, scope)
            if isinstance(value, Mapping):
                return [(name, _expression_of(one)) for name, one in value.items()]
            return None if holds_unknown(value) else []


def _expression_of(value: object) -> Expression:
    if value is UNKNOWN:
        return Opaque()
    if isinstance(value, Mapping):
        return Pairs(tuple((Constant(name), _expression_of(one)) for name, one in value.items()))
    if isinstance(value, list):
        return Listing(tuple(map(_expression_of, value)))
    return Constant(value if isinstance(value, str | bool | int | None) else as_text(value))
