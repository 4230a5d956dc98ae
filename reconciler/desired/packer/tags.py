"""The tags that a builder of the amazon plugin puts on what it makes, as far as their names can be known."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.desired.packer.evaluate import Scope, evaluate
from reconciler.desired.packer.syntax import Body, Call, Expression, Pairs, Traversal
from reconciler.desired.packer.value import as_text

Tags = Mapping[str, str | None]
"""Values by name; None for one that only the build knows."""

_MAX_HOPS = 32


def read_tags(body: Body, attribute: str, block: str, scope: Scope) -> Tags:
    """What an attribute such as `tags` sets, and blocks such as `tag { key = "…" value = "…" }`, one a tag."""
    found: dict[str, str | None] = {}
    if attribute in body.attributes:
        found |= _known(body.attributes[attribute].expression, scope, hops=0)
    for one in body.of_type(block):
        key, value = (one.body.attributes.get(name) for name in ("key", "value"))
        name = as_text(evaluate(key.expression, scope)) if key is not None else None
        if name is not None:
            found[name] = as_text(evaluate(value.expression, scope)) if value is not None else None
    return found


def _known(expression: Expression, scope: Scope, *, hops: int) -> Tags:
    """The members of a map whose names are known, whatever else it is merged of."""
    value = evaluate(expression, scope)
    if isinstance(value, Mapping):
        return {str(name): as_text(one) for name, one in value.items()}
    if hops == _MAX_HOPS:
        return {}
    match expression:
        case Traversal(("local", name)) if name in scope.locals:
            return _known(scope.locals[name], scope, hops=hops + 1)
        case Call("merge", arguments):
            return {name: one for argument in arguments for name, one in _known(argument, scope, hops=hops + 1).items()}
        case Pairs(members):
            names = [(as_text(evaluate(name, scope)), one) for name, one in members]
            return {name: as_text(evaluate(one, scope)) for name, one in names if name is not None}
        case _:
            return {}
