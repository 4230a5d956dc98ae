"""What Packer is sure to evaluate of an expression, whatever its parts come to."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.desired.packer.syntax import (
    Bound,
    Call,
    Conditional,
    Expression,
    For,
    Opaque,
    Operation,
    Splat,
    Traversal,
    parts_of,
)

_FORGIVING = frozenset({"try", "can"})
_LAZY = frozenset({"&&", "||"})


def surely(expression: Expression) -> Iterator[Expression]:
    """The expression and all within it that is evaluated in any case, outermost first.

    No branch of a conditional, nothing of `try`, of what is made of each member of a list, of the second operand of
    `&&` (1.16.0 leaves it out), and no type.
    """
    if isinstance(expression, Bound):
        # What the iterators of a `dynamic` block are called stands for something.
        for one in surely(expression.expression):
            if not (isinstance(one, Traversal) and one.steps[0] in expression.names):
                yield one
        return
    yield expression
    for part in _parts(expression):
        yield from surely(part)


def _parts(expression: Expression) -> tuple[Expression, ...]:
    parts: tuple[Expression, ...]
    match expression:
        case Opaque():
            parts = ()
        case Call(function) if function in _FORGIVING:
            parts = ()
        case Operation(operator, operands) if operator in _LAZY:
            parts = operands[:1]
        case Call("convert", arguments):
            parts = arguments[:1]
        case Conditional(one) | Splat(one) | For(collection=one):
            parts = (one,)
        case _:
            parts = parts_of(expression)
    return parts
