"""What Packer refuses of a JSON template from before HCL2 by its shape alone (packer-plugin-sdk/template).

Packer reads one by mapstructure: names count in any case, and but in post-processors one value for a list of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.desired.located import Located, known_here, members
from reconciler.model.errors import UserError
from reconciler.model.text import shorten

# packer-plugin-sdk/template/parse.go (rawTemplate); mapstructure compares without case.
_ROOT = frozenset({
    "min_packer_version", "description", "builders", "comments", "error-cleanup-provisioner", "post-processors",
    "provisioners", "sensitive-variables", "variables", "push",
})  # fmt: skip
_LISTS = frozenset({"builders", "provisioners", "post-processors", "sensitive-variables", "comments"})


def refuse_as_packer_does(root: dict[str, Located]) -> None:
    """Refuse a template for its keys, for what they hold, and for builders that a step names and nobody wrote.

    Raises:
        UserError: Packer refuses it, with the place of what it refuses.
    """
    _refuse_unknown(root)
    top = in_lower_case(root)
    _refuse_other_shapes(top)
    _refuse_unknown_builders(top)


def in_lower_case(named: Mapping[str, Located]) -> dict[str, Located]:
    """The members by names in lower case; of two that differ in case alone the one that is written so."""
    others = {name.lower(): member for name, member in named.items()}
    return {**others, **{name: member for name, member in named.items() if name in others}}


def _refuse_unknown(root: dict[str, Located]) -> None:
    """Packer takes a key that begins with `_` for a comment, which is a text, and refuses what it does not know."""
    for name, value in root.items():
        if name.startswith("_"):
            if not isinstance(value.value, str):
                what = f'the comment "{shorten(name)}" is {value.kind()}, and Packer takes only a text for one'
                raise UserError(what, where=value.place, hint="write it as one text, or remove it")
        elif name.lower() not in _ROOT:
            raise UserError(
                f'there is no key "{shorten(name)}" at the top of a JSON template',
                where=value.place,
                hint=known_here(name, _ROOT, none="remove it"),
            )


def _refuse_other_shapes(root: Mapping[str, Located]) -> None:
    """Refuse what Packer can't take apart (parse.go: rawTemplate)."""
    for name, value in root.items():
        if name in _LISTS and not isinstance(value.value, (list, type(None))):
            _refuse_shape(name, value, "a list", "write […] around it")
        if name in ("variables", "push") and not isinstance(value.value, (dict, type(None))):
            _refuse_shape(name, value, "an object", "write {…}")
    for name, every, wanted in (
        ("builders", _items(root.get("builders")), dict),
        ("provisioners", _items(root.get("provisioners")), dict),
        ("post-processors", _post_processors(root), (dict, str)),
    ):
        for one in every:
            if not isinstance(one.value, wanted):
                _refuse_shape(f"one of {name}", one, "an object", 'write {"type": …}')
    for name, one in members(root.get("variables")):
        if not isinstance(one.value, (str, type(None))):
            _refuse_shape(f"the variable {shorten(name)}", one, "a text", "write it in quotes")


def _refuse_shape(what: str, value: Located, wanted: str, hint: str) -> None:
    raise UserError(f"{what} is {value.kind()}, and Packer takes {wanted} alone", where=value.place, hint=hint)


def _refuse_unknown_builders(root: Mapping[str, Located]) -> None:
    """Packer looks in each step for builders by their names as they are written (template.go: `OnlyExcept.Validate`).

    It does so whether the step runs or not; of `override` in provisioners alone; of no step for clean-up.
    """
    builders = set(map(_name, _items(root.get("builders"))))
    for one in _items(root.get("provisioners")):
        step = _members(one)
        _refuse_limits(step, builders)
        override = step.get("override")
        if override is not None and not isinstance(override.value, (dict, list, type(None))):
            _refuse_shape("`override`", override, "an object", 'write {"BUILDER": {…}}')
        for name, value in members(override):
            _refuse_unless_known(name, value, builders)
    for one in _post_processors(root):
        step = _members(one)
        for key in ("only", "except"):
            if key in step and not isinstance(step[key].value, (list, type(None))):
                _refuse_shape(f"`{key}`", step[key], "a list", "write […] around it")
        _refuse_limits(step, builders)


def _refuse_limits(step: Mapping[str, Located], builders: set[str]) -> None:
    only, but = (_listed(step.get(key)) for key in ("only", "except"))
    if only and but:
        what = "a step has `only` and `except`, and Packer takes one of them"
        raise UserError(what, where=but[0].place, hint="keep the one that says it more shortly")
    for one in (*only, *but):
        if isinstance(one.value, (dict, list)):
            _refuse_shape("the name of a builder", one, "a text", "write it in quotes")
        _refuse_unless_known(_text(one), one, builders)


def _refuse_unless_known(name: str, value: Located, builders: set[str]) -> None:
    if name not in builders:
        hint = known_here(name, builders, none="remove it")
        raise UserError(f'the template has no builder "{shorten(name)}"', where=value.place, hint=hint)


def _name(builder: Located) -> str:
    """The name of a builder, which is its type where it has none."""
    written = _members(builder)
    return next((_text(written[key]) for key in ("name", "type") if key in written and _text(written[key])), "")


def _post_processors(root: Mapping[str, Located]) -> Iterator[Located]:
    """The post-processors, alone or in sequences of them."""
    for one in _items(root.get("post-processors")):
        yield from _items(one) if isinstance(one.value, list) else [one]


def _members(value: Located) -> Mapping[str, Located]:
    return in_lower_case(value.value) if isinstance(value.value, dict) else {}


def _items(value: Located | None) -> list[Located]:
    return value.value if value is not None and isinstance(value.value, list) else []


def _listed(value: Located | None) -> list[Located]:
    if value is None or value.value is None or value.value == {}:
        return []
    return value.value if isinstance(value.value, list) else [value]


def _text(value: Located) -> str:
    """A value as the text that mapstructure makes of it; empty for null, and for what is none."""
    match value.value:
        case str() as text:
            return text
        case bool() as truth:
            return "1" if truth else "0"
        case int() | float() as number:
            return value.text or str(number)
        case _:
            return ""
