"""What a builder of the amazon plugin builds on, and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from pydantic import ValidationError

from reconciler.desired.packer.evaluate import Scope, evaluate, why_unknown
from reconciler.desired.packer.syntax import Attribute, Block, Body, Expression, Interpolation, Traversal, as_text
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import Copies, Region
from reconciler.model.source import SourceRequest

DataSources = Mapping[tuple[str, ...], Block]
"""The template's `data` blocks by (type, name)."""

_MAX_HOPS = 32


def read_region(body: Body, *, scope: Scope) -> Region | None:
    """The region that a builder is told, or None where it is told none."""
    attribute = body.attributes.get("region")
    if attribute is None:
        return None
    value = as_text(evaluate(attribute.expression, scope)) or None
    match _through_locals(attribute.expression, scope):
        case Traversal(("var", name)):
            return Region(value, name, attribute.place)
        case _:
            return Region(value, None, attribute.place)


def read_copies(body: Body, *, scope: Scope) -> Copies | None:
    """The regions that a builder copies its AMI to, or None where it copies to none."""
    attribute = body.attributes.get("ami_regions")
    if attribute is None:
        return None
    value = evaluate(attribute.expression, scope)
    listed = [] if value is None else value if isinstance(value, list) else [value]
    texts = [as_text(one) for one in listed]
    # A text is split where the plugin takes a list, which is what the variables of a JSON template can hold.
    regions = [region.strip() for text in texts if text is not None for region in text.split(",")]
    found = Copies(tuple(filter(None, dict.fromkeys(regions))), None not in texts, attribute.place)
    return found if found.regions or not found.all_known else None


@dataclass(frozen=True)
class ReadSource:
    """What a builder is built on: the request that its template states, or why it states none that can be told."""

    request: SourceRequest | None = None
    place: Place | None = None
    unpinned: str | None = None


def read_source(name: str, body: Body, *, scope: Scope, data: DataSources, place: Place) -> ReadSource:
    """The template's own choice of a source AMI, and where it is made; `name` and `place` are the builder's.

    Raises:
        UserError: an id that is none, a filter without owners, or no choice at all, which no Packer takes.
    """
    if _text(body.attributes.get("from_scratch"), scope) == "true":
        return ReadSource()
    named = body.attributes.get("source_ami")
    filters = list(body.of_type("source_ami_filter"))
    # The plugin takes an empty id for none, and looks at the filter.
    if named is not None and not (filters and _is_empty(named, scope)):
        return _named(named, scope=scope, data=data)
    for block in filters:
        return _filtered(block.body, block.place, scope=scope)
    if any(block.type == "dynamic" for block in body.blocks):
        return ReadSource(unpinned="it is in a dynamic block whose list is not known")
    if "from_scratch" in body.attributes:
        return ReadSource(unpinned="it is not known whether it is made from scratch")
    raise UserError(
        f"{name} is built on nothing: it names no source_ami and no source_ami_filter",
        where=place,
        hint='add one, such as source_ami_filter { filters = { name = "…" }, owners = ["…"], most_recent = true }',
    )


def _is_empty(attribute: Attribute, scope: Scope) -> bool:
    return evaluate(attribute.expression, scope) in ("", None)


def _named(attribute: Attribute, *, scope: Scope, data: DataSources) -> ReadSource:
    expression = _through_locals(attribute.expression, scope)
    match expression:
        case Traversal(("data", type_, name, _)):
            block = data.get((type_, name))
            if block is None:
                raise UserError(
                    f'there is no data "{type_}" "{name}"', where=attribute.place, hint="declare it, or fix the name"
                )
            return replace(_from_data(type_, block, scope=scope), place=attribute.place)
        case _:
            value = as_text(evaluate(expression, scope))
            if value:
                return ReadSource(_request(attribute.place, ami={"id": value}), attribute.place)
            why = why_unknown(expression, scope) or "it is empty"
            return ReadSource(place=attribute.place, unpinned=f"source_ami: {why}")


def _from_data(type_: str, block: Block, *, scope: Scope) -> ReadSource:
    if type_ == "amazon-ami":
        return _filtered(block.body, block.place, scope=scope)
    if type_ == "amazon-parameterstore" and "name" in block.body.attributes:
        name = _text(block.body.attributes["name"], scope)
        if name:
            return ReadSource(_request(block.place, ssm=name), block.place)
    return ReadSource(place=block.place, unpinned=f"Packer reads it of data.{'.'.join(block.labels)}")


def _text(attribute: Attribute | None, scope: Scope) -> str | None:
    return as_text(evaluate(attribute.expression, scope)) if attribute is not None else None


def _filtered(body: Body, place: Place, *, scope: Scope) -> ReadSource:
    """A filter as a request, if all of it can be known."""
    filters: dict[str, list[str]] = {}
    for key, one in _members(body, scope).items():
        texts = _texts(one)
        if texts is None or key is None:
            return ReadSource(place=place, unpinned=f"{key or 'a part'} of its filter is not known")
        filters[key] = texts
    owners: list[str] | None = []
    if "owners" in body.attributes:
        value = evaluate(body.attributes["owners"].expression, scope)
        # The plugin takes a list, and splits a text where one is given to it.
        owners = value.split(",") if isinstance(value, str) else _texts(value)
    if owners is None:
        return ReadSource(place=place, unpinned="the owners of its filter are not known")
    ami: dict[str, object] = {"owners": owners}
    for key in ("name", "architecture"):
        if len(filters.get(key, ())) == 1:
            ami[key] = filters.pop(key)[0]
    return ReadSource(_request(place, ami={**ami, "filters": filters}), place)


def _members(body: Body, scope: Scope) -> Mapping[str | None, object]:
    """The filters by name. One that is not known has none."""
    attribute = body.attributes.get("filters")
    value = evaluate(attribute.expression, scope) if attribute is not None else {}
    return value if isinstance(value, dict) else {None: value}


def _texts(value: object) -> list[str] | None:
    texts = [as_text(one) for one in (value if isinstance(value, list) else [value])]
    known = [text for text in texts if text is not None]
    return known if len(known) == len(texts) else None


def _request(place: Place, **choice: object) -> SourceRequest:
    try:
        return SourceRequest.model_validate(choice)
    except ValidationError as error:
        report = error.errors()[0]
        if report["type"] == "value_error":
            raise UserError(f"source: {report['ctx']['error']}", where=place, hint="fix the template") from error
        raise UserError(
            f'source: "{report["input"]}" is neither an AMI id nor a parameter\'s name',
            where=place,
            hint="an AMI id is ami- and hexadecimal digits; or declare `source` in image.yaml",
        ) from error


def _through_locals(expression: Expression, scope: Scope) -> Expression:
    """What an expression that only names a local, or is only `"${…}"`, comes down to."""
    for _ in range(_MAX_HOPS):
        match expression:
            case Traversal(("local", name)) if name in scope.locals:
                expression = scope.locals[name]
            case Interpolation((only,)):
                expression = only
            case _:
                return expression
    return expression
