"""A template's variables, what they are worth, and the values that don't fit them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace

from reconciler.desired.packer.builders import Build, Format
from reconciler.desired.packer.evaluate import Scope, evaluate, value_of
from reconciler.desired.packer.json_templates import read_engine_text
from reconciler.desired.packer.language.convert import convert
from reconciler.desired.packer.language.outcome import Refused, Undecided
from reconciler.desired.packer.language.type_words import read_type
from reconciler.desired.packer.language.values import (
    DYNAMIC,
    Type,
    Unknown,
    Value,
    from_plain,
    object_of,
    tuple_of,
    type_of,
)
from reconciler.desired.packer.syntax import (
    EXPRESSIONS,
    UNKNOWN,
    Attribute,
    Block,
    Constant,
    Expression,
    Opaque,
    SourceFile,
    Traversal,
    as_text,
    parts_of,
)
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import GIVEN_TAGS, GIVEN_TEXTS, Variable
from reconciler.model.text import shorten

# A template's variables, and what they are worth once `image.yaml` and the var files have spoken.

_NOWHERE = Place("")


def nothing() -> Scope:
    """A scope in which nothing has a name, for what may name nothing: defaults and var files."""
    return Scope({}, {}, path_root="", path_cwd="")


def given_to(variables: Mapping[str, Variable], *, sources: frozenset[str]) -> frozenset[str]:
    """The variables that the controller gives values to, of those that are declared.

    `sources` are those that take a source, by the kinds of what the template leaves.
    """
    texts = {name for name in GIVEN_TEXTS | sources if name in variables and variables[name].holds_texts}
    return frozenset(texts | {name for name in GIVEN_TAGS if name in variables and variables[name].holds_tags})


def notes_on_own(variables: Mapping[str, Variable], *, sources: frozenset[str]) -> Iterator[str]:
    """A note for each variable that is called as one of ours is, and can't hold what ours does: it is not given."""
    for name in sorted((GIVEN_TEXTS | GIVEN_TAGS | sources) & variables.keys() - given_to(variables, sources=sources)):
        wanted = "map(string)" if name in GIVEN_TAGS else "string"
        yield (
            f'{variables[name].place}: variable "{name}" is the template\'s own, as its type is not {wanted}: the '
            "reconciler gives it no value"
        )


def notes_on_order(
    var_files: Sequence[SourceFile], variables: AbstractSet[str], *, given: Collection[str], syntax: Format
) -> Iterator[str]:
    """A note for each variable whose value depends on Packer's version: 1.6 reads all of HCL before all of JSON.

    Later ones read each where it is named (seen with 1.6.6 and 1.16.0). What is `given` goes before both.
    """
    if syntax == "json":
        return
    now, before = _said(var_files), _said(sorted(var_files, key=lambda file: file.path.endswith(".json")))
    for name in sorted(now.keys() & variables - set(given)):
        if before[name] is not now[name]:
            other = before[name].place.path
            yield (
                f'{now[name].place}: variable "{name}" is set in {other}, too, which Packer 1.6 takes instead, as it '
                "reads files of JSON last"
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

    Each is converted to the variable's type, as Packer does. `unknown` are passed values that only a build has. `root`
    and `cwd` are the template's folder and Packer's, which those of a JSON template may name.
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
    given: dict[str, Expression | object] = {name: one.expression for name, one in _said(var_files).items()}
    given.update(declared)
    # Variables of a JSON template may be made of each other and of the two paths; of those of HCL none knows another.
    within = Scope({}, {}, path_root=root, path_cwd=cwd) if syntax == "json" else None
    return _Worth(types, defaults, given, unknown=unknown, within=within)


def _said(var_files: Iterable[SourceFile]) -> Mapping[str, Attribute]:
    """What files of variables give, in this order: the last one counts."""
    return {name: one for file in var_files for name, one in file.body.attributes.items()}


class _Worth(Mapping[str, object]):
    """The values of variables, each found when it is first asked for."""

    def __init__(
        self,
        types: dict[str, Expression | None],
        defaults: dict[str, Expression],
        given: Mapping[str, object],
        *,
        unknown: Iterable[str],
        within: Scope | None,
    ) -> None:
        self._types = types
        self._defaults = defaults
        self._given = given
        self._known: dict[str, object] = dict.fromkeys(unknown, UNKNOWN)
        self._scope = replace(within, variables=self) if within is not None else nothing()
        self._renders = within is not None

    def __getitem__(self, name: str) -> object:
        if name not in self._known:
            if self._renders and name not in self._types:
                # A JSON template may use what it does not declare: a var file gives it, or it is empty (seen: 1.6.6,
                # 1.16.0).
                self._types[name], self._defaults[name] = None, Constant("")
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
            found = _as_value(default if given is None else self._rendered(given), self._scope)
            wanted = read_type(type_) if type_ is not None else _type_of_default(default, self._scope)
            return convert(found, wanted)
        except (Refused, Undecided) as error:
            return Unknown(str(error))

    def _rendered(self, given: object) -> object:
        """What is given to a variable of a JSON template is rendered, as its default is (seen: 1.6.6, 1.16.0)."""
        text = given.value if isinstance(given, Constant) else given
        return read_engine_text(text, _NOWHERE) if self._renders and isinstance(text, str) else given


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


# Values that a variable's type can't take, whatever Packer makes of them. Seen with 1.6.6, which converts as HCL does.
#
# A type that is not written out here (`any`, `object({…})`) takes everything.

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?|[+-]?inf", re.IGNORECASE)
_TRUTHS = frozenset({"true", "false", "1", "0"})
_COLLECTION = re.compile(r"(list|set|map)\s*\(.*\)", re.DOTALL)


def takes(type_: str, value: object) -> bool:
    """Whether a variable of this type may have this value. True for null, and for what is not known."""
    if value is None or value is UNKNOWN:
        return True
    if type_ in _SCALARS:
        return _SCALARS[type_](value)
    collection = _COLLECTION.fullmatch(type_)
    return collection is None or isinstance(value, dict if collection[1] == "map" else list)


def _is_number(value: object) -> bool:
    if isinstance(value, str):
        return _NUMBER.fullmatch(value) is not None
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_truth(value: object) -> bool:
    return value in _TRUTHS if isinstance(value, str) else isinstance(value, bool)


_SCALARS: dict[str, Callable[[object], bool]] = {
    "string": lambda value: not isinstance(value, list | dict),
    "number": _is_number,
    "bool": _is_truth,
}


# Variables without a value, and values that don't fit their variable.


def without_value(
    blocks: Sequence[Block],
    builds: Sequence[Build],
    var_files: Sequence[SourceFile],
    *,
    given: Collection[str],
    declared: Mapping[str, object],
) -> dict[str, Place]:
    """The variables that have no default and that neither image.yaml, nor a var file, nor the reconciler gives.

    Args:
        blocks: Of the template.
        builds: Those that run.
        var_files: Those that Packer reads.
        given: What the reconciler gives.
        declared: In image.yaml.
    """
    required = {
        block.labels[0]: block.place
        for block in blocks
        if block.type == "variable" and block.labels and "default" not in block.body.attributes
    }
    if not required:
        return {}
    regions = {build.builder.location.variable for build in builds if build.builder.location is not None}
    known = {*given, *declared, *regions, *(name for file in var_files for name in file.body.attributes)}
    return {name: place for name, place in required.items() if name not in known}


def notes_on_unset(missing: Mapping[str, Place], *, syntax: Format) -> Iterator[str]:
    """A note for each variable whose value only the environment can give."""
    if syntax == "hcl2":
        for name, place in missing.items():
            yield f'{place}: variable "{name}" has no value: the build fails unless PKR_VAR_{name} is set where it runs'


def wrong_value_type(
    variables: Mapping[str, Variable], var_files: Sequence[SourceFile], *, missing: Mapping[str, Place], syntax: Format
) -> Iterator[UserError]:
    """Variables that nothing can give a value to, and defaults and var files that give the wrong one."""
    if syntax == "json":
        # Packer reads PKR_VAR_… for HCL2 alone (seen with 1.6.6).
        for name, place in missing.items():
            hint = "add it to packer.variables in image.yaml, or to a var file, or give it a default"
            yield UserError(f'variable "{name}" has no value', where=place, hint=hint)
    for variable in variables.values():
        yield from misfit(variable, variable.default, where=variable.place, what="its default")
    scope = nothing()
    for file in var_files:
        for name, attribute in file.body.attributes.items():
            if name in variables:
                yield from misfit(variables[name], evaluate(attribute.expression, scope), where=attribute.place)


def invalid(blocks: Sequence[Block], values: Mapping[str, object]) -> Iterator[UserError]:
    """Values that a variable's own `validation` refuses. What it says of others, or of what is not known, is open."""
    for block in blocks:
        if block.type != "variable" or not block.labels or block.labels[0] not in values:
            continue
        name = block.labels[0]
        for rule in block.body.of_type("validation"):
            condition = rule.body.attributes.get("condition")
            scope = Scope({name: values[name]}, {}, path_root="", path_cwd="")
            if condition is not None and evaluate(condition.expression, scope) is False:
                said = rule.body.attributes.get("error_message")
                message = as_text(evaluate(said.expression, scope)) if said is not None else None
                why = f": {shorten(message, limit=120)}" if message else ""
                yield UserError(
                    f'variable "{name}" has a value that its validation refuses{why}',
                    where=rule.place,
                    hint="fix the value: in packer.variables, in a var file, or its default",
                )


def wrong_rules(blocks: Iterable[Block]) -> Iterator[UserError]:
    """An error for each `validation` of a variable that every Packer refuses (hcl2template/types.variables.go)."""
    for block in blocks:
        for rule in block.body.of_type("validation") if block.type == "variable" and block.labels else ():
            condition, said = (rule.body.attributes.get(name) for name in ("condition", "error_message"))
            own = ("var", block.labels[0])
            if condition is not None and not _refers(condition.expression, own):
                what = f"the condition does not refer to {'.'.join(own)}, which it is to judge"
                yield UserError(what, where=condition.place, hint=f"write it with {'.'.join(own)}")
            text = (
                as_text(said.expression.value) if said is not None and isinstance(said.expression, Constant) else None
            )
            if said is not None and text is not None and not _is_sentence(text):
                what = "error_message is no sentence, and Packer takes nothing else"
                yield UserError(what, where=said.place, hint="begin it with a capital letter, and end it with . ? or !")


def _refers(expression: Expression, name: tuple[str, str]) -> bool:
    """Whether an expression names a variable anywhere, as far as it can be read."""
    waiting = [expression]
    while waiting:
        one = waiting.pop()
        if isinstance(one, Opaque) or (isinstance(one, Traversal) and one.steps[:2] == name):
            return True
        waiting.extend(parts_of(one))
    return False


def _is_sentence(text: str) -> bool:
    """Whether it begins with no small letter and ends as sentences do."""
    words = text.strip()
    return bool(words) and (not words[0].isalpha() or words[0].isupper()) and words[-1] in ".?!"


def misfit(variable: Variable, value: object, *, where: Place, what: str = "this value") -> Iterator[UserError]:
    """An error where a variable can't have a value. The value is not repeated: it may be a secret."""
    if not takes(variable.type, value):
        yield UserError(
            f'variable "{variable.name}" takes {variable.type}, and {what} is something else',
            where=where,
            hint="fix the value, or the variable's type",
        )
