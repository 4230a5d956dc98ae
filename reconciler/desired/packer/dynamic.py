"""`dynamic` blocks: blocks that a template makes of a list (hcl/ext/dynblock)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from reconciler.desired.packer.evaluate import Scope, value_of
from reconciler.desired.packer.language.numbers import whole
from reconciler.desired.packer.language.values import Mapping_, Sequence_, Value, object_value
from reconciler.desired.packer.syntax import Attribute, Block, Body, Bound, Constant, Expression, SourceFile, Traversal

_DYNAMIC = "dynamic"
_MAX_BLOCKS = 1_000
"""More of one block are left unmade: no template has them."""

Names = Mapping[str, Value]


def expanded(files: Sequence[SourceFile], scope: Scope) -> list[SourceFile]:
    """The files with the blocks in the place of what makes them. Those whose list is not known stay as they are."""
    return [_expanded_file(file, scope) if _has_dynamic(file.body) else file for file in files]


def _expanded_file(file: SourceFile, scope: Scope) -> SourceFile:
    body = Body(file.body.attributes, tuple(_blocks(file.body, {}, scope)))
    return SourceFile(file.path, body, file.calls_files, file.names)


def _has_dynamic(body: Body) -> bool:
    return any(block.type == _DYNAMIC or _has_dynamic(block.body) for block in body.blocks)


def _body(body: Body, names: Names, scope: Scope) -> Body:
    attributes = body.attributes
    if names:
        attributes = {name: _bound(one, names) for name, one in attributes.items()}
    return Body(attributes, tuple(_blocks(body, names, scope)))


def _blocks(body: Body, names: Names, scope: Scope) -> Iterator[Block]:
    for block in body.blocks:
        if block.type != _DYNAMIC:
            yield Block(block.type, block.labels, block.place, _body(block.body, names, scope))
        elif block.labels:
            yield from _made(block, block.labels[0], block.body, names, scope=scope)
        else:
            # In JSON, the label is a key.
            for inner in block.body.blocks:
                yield from _made(block, inner.type, inner.body, names, scope=scope)


def _made(dynamic: Block, kind: str, body: Body, names: Names, *, scope: Scope) -> Iterator[Block]:
    rounds = _rounds(kind, body, names, scope)
    contents = list(body.of_type("content"))
    if rounds is None or not contents:
        yield dynamic
        return
    for found in rounds:
        labels = _labels(body.attributes.get("labels"), found, scope)
        if labels is None:
            yield dynamic
            return
        yield Block(kind, labels, contents[0].place, _body(contents[0].body, found, scope))


def _rounds(kind: str, body: Body, names: Names, scope: Scope) -> list[Names] | None:
    """What the iterator stands for, in each round; None where that is not known."""
    for_each = body.attributes.get("for_each")
    over = value_of(Bound(for_each.expression, names), scope) if for_each is not None else None
    if not isinstance(over, Sequence_ | Mapping_) or len(over.items) > _MAX_BLOCKS:
        return None
    pairs: list[tuple[Value, Value]]
    if isinstance(over, Mapping_):
        pairs = list(over.items.items())
    elif over.type.kind == "set":
        pairs = [(one, one) for one in over.items]
    else:
        pairs = [(whole(at), one) for at, one in enumerate(over.items)]
    iterator = _iterator(body.attributes.get("iterator"), kind)
    return [{**names, iterator: object_value({"key": key, "value": value})} for key, value in pairs]


def _iterator(attribute: Attribute | None, kind: str) -> str:
    """The iterator's name: a word, in JSON a text; without one it is called as the blocks are."""
    match attribute.expression if attribute is not None else None:
        case Traversal((name,)) | Constant(str() as name):
            return name
        case _:
            return kind


def _labels(attribute: Attribute | None, names: Names, scope: Scope) -> tuple[str, ...] | None:
    if attribute is None:
        return ()
    found = value_of(Bound(attribute.expression, names), scope)
    if not isinstance(found, Sequence_) or not all(isinstance(one, str) for one in found.items):
        return None
    return tuple(str(one) for one in found.items)


def _bound(attribute: Attribute, names: Names) -> Attribute:
    return Attribute(attribute.name, attribute.place, partial(_with_names, attribute, names), attribute.spell)


def _with_names(attribute: Attribute, names: Names) -> Expression:
    return Bound(attribute.expression, names)
