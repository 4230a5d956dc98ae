"""How each kind of expression comes to its value (hclsyntax/expression.go of HCL 2.14 and 2.24)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.desired.packer.language import numbers
from reconciler.desired.packer.language.convert import ARITHMETIC, computed, convert, equal, index, member, unify
from reconciler.desired.packer.language.numbers import Number
from reconciler.desired.packer.language.outcome import Later, Refused, Undecided
from reconciler.desired.packer.language.values import (
    BOOL,
    DYNAMIC,
    NUMBER,
    STRING,
    Mapping_,
    Null,
    Sequence_,
    Type,
    Unknown,
    Value,
    elements,
    from_plain,
    is_known,
    list_value,
    object_value,
    size_of,
    tuple_value,
    type_of,
)
from reconciler.desired.packer.syntax import (
    Bound,
    Call,
    Conditional,
    Constant,
    Expression,
    For,
    Index,
    Interpolation,
    Item,
    Joined,
    Listing,
    Member,
    Operation,
    Pairs,
    Splat,
    Traversal,
)

if TYPE_CHECKING:
    from reconciler.desired.packer.language.interpreter import Interpreter

Names = Mapping[str, Value]
"""What loops call their members."""
_ITEM = "*"


def _constant(run: Interpreter, expression: Constant, _names: Names) -> Value:
    del run
    value = expression.value
    return value if isinstance(value, str | bool | Number) else from_plain(value)


def _traversal(run: Interpreter, expression: Traversal, names: Names) -> Value:
    steps = expression.steps
    if steps[0] in names:
        found, taken = names[steps[0]], 1
    else:
        found, taken = run.world.named(steps, run)
    for step in steps[taken:]:
        is_mapping = isinstance(found, Mapping_ | Unknown)
        found = member(found, step) if is_mapping else index(found, step)
    if not is_known(found):
        run.doubts += 1
    return found


def _interpolation(run: Interpreter, expression: Interpolation, names: Names) -> Value:
    if len(expression.parts) == 1:
        return run.run(expression.parts[0], names)  # "${x}" alone is x itself, of whatever type.
    return _text_of(run, [run.value(part, names) for part in expression.parts])


def _joined(run: Interpreter, expression: Joined, names: Names) -> Value:
    parts = run.run(expression.parts, names)
    if isinstance(parts, Unknown):
        return Unknown(parts.reason, STRING)
    return _text_of(run, list(elements(parts)))


def _text_of(run: Interpreter, values: list[Value]) -> Value:
    if any(isinstance(one, Null) for one in values):
        raise Refused("null can't be a part of a text")
    texts = [convert(one, STRING) for one in values]
    for one in texts:
        if isinstance(one, Unknown):
            return Unknown(one.reason, STRING)
    return run.text([one for one in texts if isinstance(one, str)])


def _listing(run: Interpreter, expression: Listing, names: Names) -> Value:
    return tuple_value(run.value(item, names) for item in expression.items)


def _pairs(run: Interpreter, expression: Pairs, names: Names) -> Value:
    found: dict[str, Value] = {}
    unknown: Unknown | None = None
    for key_expression, value_expression in expression.members:
        key = _key(run.value(key_expression, names))
        value = run.value(value_expression, names)
        if isinstance(key, Unknown):
            unknown = key  # It may be any key, and replace what another one gave.
        else:
            found[key] = value
    return object_value(found) if unknown is None else Unknown(unknown.reason)


def _key(value: Value) -> str | Unknown:
    if isinstance(value, Null):
        raise Refused("null can't be a key")
    key = convert(value, STRING)
    if isinstance(key, str | Unknown):
        return key
    raise Refused("a key is a text")


def _call(run: Interpreter, expression: Call, names: Names) -> Value:
    return run.world.call(expression, names, run)


def _operation(run: Interpreter, expression: Operation, names: Names) -> Value:
    operator = expression.operator
    if operator in ("&&", "||"):
        return _logic(run, expression, names)
    values = [run.value(one, names) for one in expression.operands]
    run.spend(sum(map(size_of, values)))
    if operator in ("==", "!="):
        for one in values:
            if isinstance(one, Unknown):
                return Unknown(one.reason, BOOL)
        return equal(*values) == (operator == "==")
    wanted = BOOL if operator == "!" else NUMBER
    operands = [convert(one, wanted) for one in values]
    if any(isinstance(one, Null) for one in operands):
        raise Refused("null is no operand")
    for one in operands:
        if isinstance(one, Unknown):
            return Unknown(one.reason, NUMBER if operator in ARITHMETIC else BOOL)
    return computed(operator, operands)


def _logic(run: Interpreter, expression: Operation, names: Names) -> Value:
    """`&&` and `||`. Later versions forgive an error on the side that does not count, older ones don't."""
    controlling = expression.operator == "||"
    outcomes: list[Value | Refused] = []
    for one in expression.operands:
        try:
            outcomes.append(convert(run.value(one, names), BOOL))
        except Refused as error:
            outcomes.append(error)
    errors = [one for one in outcomes if isinstance(one, Refused)]
    if errors:
        if len(errors) == 1 and any(one is controlling or isinstance(one, Unknown) for one in outcomes):
            raise Undecided("an error that one version of Packer forgives")
        raise errors[0]
    for outcome in outcomes:
        if isinstance(outcome, Null):
            raise Undecided("null as a condition")
        if isinstance(outcome, Unknown):
            return Unknown(outcome.reason, BOOL)
    return any(one is controlling for one in outcomes) == controlling


def _conditional(run: Interpreter, expression: Conditional, names: Names) -> Value:
    yes, no = _branch(run, expression.yes, names), _branch(run, expression.no, names)
    condition = run.value(expression.condition, names)
    if isinstance(condition, Null):
        raise Refused("the condition is null")
    condition = convert(condition, BOOL)
    if isinstance(condition, Unknown):
        return Unknown(condition.reason, yes.type if yes.type == no.type else DYNAMIC)
    chosen, other = (yes, no) if condition is True else (no, yes)
    if isinstance(chosen.outcome, Refused):
        raise chosen.outcome
    found = _of_common_type(run, chosen, other)
    if other.calls_newer and type_of(found) != chosen.type:
        raise Undecided("a type that depends on a function which one version of Packer lacks")
    return found


def _of_common_type(run: Interpreter, chosen: _Branch, other: _Branch) -> Value:
    """The chosen result as what both have in common. A result that fails, or a bare null, has no type to ask for."""
    if isinstance(chosen.outcome, Refused):
        raise chosen.outcome
    if other.type == DYNAMIC and isinstance(other.outcome, Refused | Null):
        return chosen.outcome
    if isinstance(chosen.outcome, Null) and chosen.type == DYNAMIC:
        return Null(other.type)
    run.spend(size_of(chosen.outcome))
    if not isinstance(other.outcome, Refused):
        run.spend(size_of(other.outcome))
    common = unify([chosen.type, other.type])
    if common is None:
        raise Refused("the two results have no type in common")
    return convert(chosen.outcome, common)


@dataclass(frozen=True, slots=True)
class _Branch:
    """A branch's value, or its error, which counts only if the branch is taken; and the type of either."""

    outcome: Value | Refused
    type: Type
    calls_newer: bool


def _branch(run: Interpreter, expression: Expression, names: Names) -> _Branch:
    before = run.newer_calls
    try:
        found = run.value(expression, names)
    except Refused as error:
        return _Branch(error, _type_of_failed(expression), run.newer_calls != before)
    return _Branch(found, type_of(found), run.newer_calls != before)


def _type_of_failed(expression: Expression) -> Type:
    match expression:
        case Call(function="convert"):
            raise Undecided("a conversion that one version of Packer refuses and another makes")
        case Call() | Traversal():
            return DYNAMIC
        case Index(base, _) | Member(base, _) if _type_of_failed(base) == DYNAMIC:
            return DYNAMIC
        case Operation(operator, _):
            return NUMBER if operator in ARITHMETIC else BOOL
        case Interpolation(parts):
            return _type_of_failed(parts[0]) if len(parts) == 1 else STRING
        case _:
            raise Undecided("the type of an expression that fails")


def _indexed(run: Interpreter, expression: Index, names: Names) -> Value:
    return index(run.value(expression.base, names), run.value(expression.key, names))


def _member_of(run: Interpreter, expression: Member, names: Names) -> Value:
    return member(run.value(expression.base, names), expression.name)


def _item(run: Interpreter, _expression: Item, names: Names) -> Value:
    del run
    return names[_ITEM]


def _splat(run: Interpreter, expression: Splat, names: Names) -> Value:
    base = run.value(expression.base, names)
    if isinstance(base, Unknown):
        return Unknown(base.reason)
    is_sequence = type_of(base).is_sequence
    if isinstance(base, Null):
        if is_sequence:
            raise Refused("a splat of null")
        if base.type == DYNAMIC:
            raise Undecided("a splat of a null without a type")  # Packer 1.6.6 does not know it either; 1.16.0: []
        return tuple_value(())
    items = elements(base) if is_sequence else (base,)
    made = [run.run(expression.each, {**names, _ITEM: item}) for item in items]
    if type_of(base).kind not in ("list", "set"):
        return tuple_value(made)
    if any(type_of(one) != type_of(made[0]) for one in made):
        raise Undecided("a splat that comes to several types")
    return list_value(made, type_of(made[0]) if made else _type_after(type_of(base).of, expression.each))


def _type_after(type_: Type, each: Expression) -> Type:
    """The type of what a splat makes of a member, where there is none to look at."""
    match each:
        case Item():
            return type_
        case Member(base, name):
            of = _type_after(type_, base)
            if of.kind == "object" and name in of.attributes:
                return of.attributes[name]
            if of.kind == "map":
                return of.of
        case _:
            pass
    raise Undecided("a splat of nothing")


def _for(run: Interpreter, expression: For, names: Names) -> Value:
    collection = run.value(expression.collection, names)
    if isinstance(collection, Unknown):
        return Unknown(collection.reason)
    if not isinstance(collection, Sequence_ | Mapping_):
        raise Refused("there is nothing to iterate over")
    if not elements(collection):
        _check_condition(run, expression, names)
    rounds = [one for one in _rounds(expression, collection, names) if _includes(run, expression, one)]
    if expression.key is None:
        return tuple_value(run.value(expression.value, one) for one in rounds)
    groups: dict[str, list[Value]] = {}
    for one in rounds:
        key = _key(run.run(expression.key, one))
        if isinstance(key, Unknown):
            raise Later(key.reason)
        groups.setdefault(key, []).append(run.value(expression.value, one))
    if expression.groups:
        return object_value({key: tuple_value(values) for key, values in groups.items()})
    if any(len(values) > 1 for values in groups.values()):
        raise Refused("two items have the same key")
    return object_value({key: values[0] for key, values in groups.items()})


def _rounds(expression: For, collection: Sequence_ | Mapping_, names: Names) -> Iterator[Names]:
    pairs: Iterator[tuple[Value, Value]]
    if isinstance(collection, Mapping_):
        pairs = iter(collection.items.items())
    elif collection.type.kind == "set":
        pairs = ((one, one) for one in collection.items)
    else:
        pairs = ((numbers.whole(at), one) for at, one in enumerate(collection.items))
    for key, value in pairs:
        yield {**names, expression.names[0]: key, expression.names[-1]: value}


def _includes(run: Interpreter, expression: For, names: Names) -> bool:
    if expression.condition is None:
        return True
    found = run.run(expression.condition, names)
    if isinstance(found, Null):
        raise Refused("the condition is null")
    include = convert(found, BOOL)
    if isinstance(include, Unknown):
        raise Later(include.reason)
    return include is True


def _check_condition(run: Interpreter, expression: For, names: Names) -> None:
    """HCL looks at the condition once without any item, so that a wrong one fails over an empty list as well."""
    if expression.condition is None:
        return
    nothing = Unknown("no item")
    try:
        found = run.value(expression.condition, {**names, **dict.fromkeys(expression.names, nothing)})
        is_wrong = isinstance(found, Null) or isinstance(convert(found, BOOL), Null)
    except Refused:
        is_wrong = True
    if is_wrong:
        raise Undecided("a condition that fails, over nothing")


def _bound(run: Interpreter, expression: Bound, names: Names) -> Value:
    return run.run(expression.expression, {**names, **expression.names})


def opaque(_run: Interpreter, _expression: Expression, _names: Names) -> Value:
    """What is not evaluated."""
    raise Undecided("an expression that is not read here")


RULES: Mapping[type, Callable[[Interpreter, Any, Names], Value]] = {
    Constant: _constant,
    Traversal: _traversal,
    Interpolation: _interpolation,
    Listing: _listing,
    Pairs: _pairs,
    Call: _call,
    Operation: _operation,
    Conditional: _conditional,
    Index: _indexed,
    Member: _member_of,
    Item: _item,
    Splat: _splat,
    For: _for,
    Joined: _joined,
    Bound: _bound,
}
"""How each kind of expression is evaluated."""
