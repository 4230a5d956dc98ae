"""A template's variables, and what they are worth once `image.yaml` and the var files have spoken."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from reconciler.desired.packer.builders import Format
from reconciler.desired.packer.evaluate import Scope, evaluate, value_of
from reconciler.desired.packer.language.convert import convert
from reconciler.desired.packer.language.outcome import Refused, Undecided
from reconciler.desired.packer.language.type_words import read_type
from reconciler.desired.packer.language.types import DYNAMIC, Type, object_of, tuple_of
from reconciler.desired.packer.language.values import Unknown, Value, from_plain, type_of
from reconciler.desired.packer.legacy_json import read_engine_text
from reconciler.desired.packer.syntax import EXPRESSIONS, Attribute, Block, Constant, Expression, SourceFile
from reconciler.desired.packer.value import UNKNOWN
from reconciler.model.template import GIVEN_TAGS, GIVEN_TEXTS, Variable


def nothing() -> Scope:
    """A scope in which nothing has a name, for what may name nothing: defaults and var files."""
    return Scope({}, {}, path_root="", path_cwd="")


def given_to(variables: Mapping[str, Variable]) -> frozenset[str]:
    """The variables that the controller gives values to, of those that are declared."""
    texts = {name for name in GIVEN_TEXTS if name in variables and variables[name].holds_texts}
    return frozenset(texts | {name for name in GIVEN_TAGS if name in variables and variables[name].holds_tags})


def notes_on_own(variables: Mapping[str, Variable]) -> Iterator[str]:
    """A note for each variable that is called as one of ours is, and can't hold what ours does: it is not given."""
    for name in sorted((GIVEN_TEXTS | GIVEN_TAGS) & variables.keys() - given_to(variables)):
        wanted = "map(string)" if name in GIVEN_TAGS else "string"
        yield (
            f'{variables[name].place}: variable "{name}" is the template\'s own, as its type is not {wanted}: the '
            "reconciler gives it no value"
        )


def read_variables(blocks: Iterable[Block]) -> dict[str, Variable]:
    """Read `variable "x" { … }` and the older `variables { x = … }`. A default that can't be known reads as None."""
    found: dict[str, Variable] = {}
    scope = nothing()
    for block in blocks:
        if block.type == "variable" and block.labels:
            attributes = block.body.attributes
            type_ = attributes.get("type")
            default = attributes.get("default")
            sensitive = attributes.get("sensitive")
            found[block.labels[0]] = Variable(
                block.labels[0],
                _type_text(type_),
                block.place,
                default=_value(default.expression, scope) if default else None,
                sensitive=bool(sensitive) and sensitive is not None and _value(sensitive.expression, scope) is True,
                has_default=default is not None,
            )
        elif block.type == "variables":
            for name, attribute in block.body.attributes.items():
                value = _value(attribute.expression, scope)
                found[name] = Variable(name, "", attribute.place, default=value, has_default=True)
    return found


def _type_text(attribute: Attribute | None) -> str:
    """A type as it is written; in JSON, what the text says."""
    if attribute is None:
        return ""
    match attribute.expression:
        case Constant(str() as written):
            return written
        case _:
            return attribute.source_text


def variable_values(
    blocks: Sequence[Block],
    var_files: Sequence[SourceFile],
    declared: Mapping[str, object],
    *,
    unknown: Collection[str] = (),
    syntax: Format = "hcl2",
    root: str = "",
    cwd: str = "",
) -> Mapping[str, object]:
    """What each variable is worth: declared in image.yaml, else by the last var file, else its default.

    Each is converted to the variable's type, as Packer does. `unknown` are passed values that only a build has. The two
    paths are for JSON templates, whose variables may begin with `{{template_dir}}` and `{{pwd}}`.
    """
    types: dict[str, Expression | None] = {}
    defaults: dict[str, Expression] = {}
    for block in blocks:
        if block.type == "variable" and block.labels:
            name, attributes = block.labels[0], block.body.attributes
            types[name] = attributes["type"].expression if "type" in attributes else None
            if "default" in attributes:
                defaults[name] = attributes["default"].expression
        elif block.type == "variables":
            for name, attribute in block.body.attributes.items():
                types[name], defaults[name] = None, attribute.expression
    given: dict[str, object] = {}
    for file in var_files:
        given.update({name: one.expression for name, one in file.body.attributes.items()})
    given.update(declared)
    if syntax == "json":
        given.update({name: _as_engine_text(value) for name, value in given.items()})
    known: dict[str, object] = dict.fromkeys(unknown, UNKNOWN)
    return _Worth(types, defaults, given, known=known, scope=_scope(syntax, root, cwd))


def _as_engine_text(value: object) -> object:
    """A value as a JSON template's variable has it: Packer's template engine goes over what is given, too."""
    text = value.value if isinstance(value, Constant) else value
    return read_engine_text(text) if isinstance(text, str) else value


def _scope(syntax: Format, root: str, cwd: str) -> Callable[[Mapping[str, object]], Scope]:
    """What may be named in the value of a variable: in JSON each other and the two paths, in HCL nothing."""
    if syntax == "hcl2":
        return lambda _: nothing()
    return lambda values: Scope(values, {}, path_root=root, path_cwd=cwd)


class _Worth(Mapping[str, object]):
    """The values of variables, each found when it is first asked for."""

    def __init__(
        self,
        types: Mapping[str, Expression | None],
        defaults: Mapping[str, Expression],
        given: Mapping[str, object],
        *,
        known: dict[str, object],
        scope: Callable[[Mapping[str, object]], Scope],
    ) -> None:
        self._types = types
        self._defaults = defaults
        self._given = given
        self._known = known
        self._scope = scope(self)

    def __getitem__(self, name: str) -> object:
        if name not in self._known:
            if name not in self._types or (name not in self._defaults and name not in self._given):
                raise KeyError(name)
            self._known[name] = UNKNOWN  # What it is for itself, where it is made of itself.
            self._known[name] = self._found(name)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(name for name in self._types if name in self._defaults or name in self._given)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _found(self, name: str) -> Value:
        type_, default, given = self._types[name], self._defaults.get(name), self._given.get(name)
        try:
            found = _as_value(default if given is None else given, self._scope)
            wanted = read_type(type_) if type_ is not None else _type_of_default(default, self._scope)
            return convert(found, wanted)
        except (Refused, Undecided) as error:
            return Unknown(str(error))


def _as_value(value: object, scope: Scope) -> Value:
    if isinstance(value, EXPRESSIONS):
        return value_of(value, scope)
    return from_plain(value)


def _type_of_default(default: Expression | None, scope: Scope) -> Type:
    """What a variable without a type takes: the type of its default, unless that is null or empty."""
    if default is None:
        return DYNAMIC
    found = type_of(_as_value(default, scope))
    return DYNAMIC if found.has_dynamic or found in (tuple_of(()), object_of({})) else found


def _value(expression: Expression, scope: Scope) -> object:
    """A value without anything unknown in it, else None."""
    value = evaluate(expression, scope)
    return None if _has_unknown(value) else value


def _has_unknown(value: object) -> bool:
    if isinstance(value, dict):
        return any(_has_unknown(one) for one in value.values())
    if isinstance(value, list):
        return any(_has_unknown(one) for one in value)
    return value is UNKNOWN
