"""What a builder of the amazon plugin builds on, and where."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError

from reconciler.desired.packer.evaluate import Scope, evaluate
from reconciler.desired.packer.syntax import Attribute, Block, Body, Expression, Interpolation, Traversal
from reconciler.desired.packer.value import as_text
from reconciler.model.errors import Place, UserError
from reconciler.model.source import SourceRequest
from reconciler.model.template import Copies, Region

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


def read_source(body: Body, *, scope: Scope, data: DataSources) -> tuple[SourceRequest | None, Place | None]:
    """The template's own choice of a source AMI, and where it is made. None for a choice that is left to variables.

    Raises:
        UserError: an id that is none, or a filter without owners.
    """
    named = body.attributes.get("source_ami")
    if named is not None:
        return _named(named, scope=scope, data=data), named.place
    for block in body.of_type("source_ami_filter"):
        return _filtered(block.body, block.place, scope=scope), block.place
    return None, None


def _named(attribute: Attribute, *, scope: Scope, data: DataSources) -> SourceRequest | None:
    expression = _through_locals(attribute.expression, scope)
    match expression:
        case Traversal(("data", type_, name, _)):
            block = data.get((type_, name))
            if block is None:
                raise UserError(
                    f'there is no data "{type_}" "{name}"', where=attribute.place, mend="declare it, or mend the name"
                )
            return _from_data(type_, block, scope=scope)
        case _:
            value = as_text(evaluate(expression, scope))
            return _request(attribute.place, ami={"id": value}) if value else None


def _from_data(type_: str, block: Block, *, scope: Scope) -> SourceRequest | None:
    if type_ == "amazon-ami":
        return _filtered(block.body, block.place, scope=scope)
    if type_ == "amazon-parameterstore" and "name" in block.body.attributes:
        name = as_text(evaluate(block.body.attributes["name"].expression, scope))
        return _request(block.place, ssm=name) if name else None
    return None


def _filtered(body: Body, place: Place, *, scope: Scope) -> SourceRequest | None:
    """A filter as a request, or None if any of it can't be known."""
    filters: dict[str, list[str]] = {}
    if "filters" in body.attributes:
        value = evaluate(body.attributes["filters"].expression, scope)
        if not isinstance(value, dict):
            return None
        for key, one in value.items():
            texts = _texts(one)
            if texts is None:
                return None
            filters[key] = texts
    owners: list[str] | None = []
    if "owners" in body.attributes:
        owners = _texts(evaluate(body.attributes["owners"].expression, scope))
    if owners is None:
        return None
    ami: dict[str, object] = {"owners": owners}
    for key in ("name", "architecture"):
        if len(filters.get(key, ())) == 1:
            ami[key] = filters.pop(key)[0]
    return _request(place, ami={**ami, "filters": filters})


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
            raise UserError(f"source: {report['ctx']['error']}", where=place, mend="mend the template") from error
        raise UserError(
            f'source: "{report["input"]}" is neither an AMI id nor a parameter\'s name',
            where=place,
            mend="an AMI id is ami- and hexadecimal digits; or declare `source` in image.yaml",
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
