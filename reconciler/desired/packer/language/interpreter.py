"""From an expression to its value, within a budget.

Every value is Packer's, whichever version; where versions differ, or more is asked than can be told, it is Unknown.
Work is bounded: a template may ask for more than any machine has.
"""

from __future__ import annotations

from typing import Protocol

from reconciler.desired.packer.language.outcome import Later, Refused, Undecided
from reconciler.desired.packer.language.rules import RULES, Names, opaque
from reconciler.desired.packer.language.values import Unknown, Value, is_known, text
from reconciler.desired.packer.syntax import Call, Expression

MAX_STEPS = 400_000
"""Steps for all expressions of a template: nodes evaluated, and every 16 characters or members made."""
MAX_TEXT = 256 * 1024
"""Longer text is not known: a template must not make gigabytes of a few doublings."""
_MAX_DEPTH = 90
_NO_NAMES: Names = {}


class TooDeep(Undecided):
    """Expressions within expressions, counted from where evaluation began: from elsewhere it may be known."""


class World(Protocol):
    """What expressions ask of the template that they stand in."""

    def named(self, steps: tuple[str, ...], run: Interpreter) -> tuple[Value, int]:
        """The value that a path begins at (`var.x`, `path.root`), and how many steps that took.

        Raises:
            Refused: there is nothing of this name.
            Undecided: only Packer knows.
        """

    def call(self, call: Call, names: Names, run: Interpreter) -> Value:
        """What a function returns."""


class Interpreter:
    """Evaluates the expressions of one template, within one budget."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.doubts = 0
        """How often something was not known so far: what `try` succeeds with has to be free of doubt."""
        self.newer_calls = 0
        """How many functions were called so far that Packer 1.6 lacks: there, what calls one fails."""
        self.has_paths = False
        """Whether a path was asked for that has no real beginning yet."""
        self.is_forgiving = False
        """Whether an error here would be caught, by `try` or `can`."""
        self._steps = MAX_STEPS
        self._depth = 0

    def value(self, expression: Expression, names: Names = _NO_NAMES) -> Value:
        """The value; Unknown with its reason where only the build has it.

        Raises:
            Refused: Packer ends with an error here.
            Undecided: it can't be told what Packer does, so that nothing is known of what this is a part of either.
        """
        try:
            found = self.run(expression, names)
        except Later as error:
            found = Unknown(str(error))
        if not is_known(found):
            self.doubts += 1
        return found

    def run(self, expression: Expression, names: Names = _NO_NAMES) -> Value:
        """The value.

        Raises:
            Refused: Packer ends with an error here.
            Undecided: it can't be told what it is, or not within the budget.
        """
        self.spend(1)
        if self._depth >= _MAX_DEPTH:
            raise TooDeep("expressions within expressions, deeper than is read here")
        self._depth += 1
        try:
            return RULES.get(type(expression), opaque)(self, expression, names)
        finally:
            self._depth -= 1

    def spend(self, steps: int) -> None:
        """Take from the budget.

        Raises:
            Undecided: nothing is left of it.
        """
        self._steps -= steps
        if self._steps < 0:
            raise Undecided("the template takes more steps to evaluate than are taken here")

    def text(self, parts: list[str]) -> str:
        """One text of several.

        Raises:
            Undecided: it is longer than texts are made here.
        """
        length = sum(map(len, parts))
        if length > MAX_TEXT:
            raise Undecided("a text that is longer than is made here")
        self.spend(length // 16)
        return text("".join(parts))

    def forgiven(self, expression: Expression, names: Names) -> Value | None:
        """The value of an argument of `try` or `can`; None if Packer is sure to fail on it.

        Raises:
            Undecided: it can't be told whether Packer does.
        """
        before, was_forgiving = self.doubts, self.is_forgiving
        self.is_forgiving = True
        try:
            found = self.run(expression, names)
        except Refused:
            found = None
        finally:
            self.is_forgiving = was_forgiving
        if self.doubts != before or (found is not None and not is_known(found)):
            raise Undecided("whether an expression within try or can succeeds")
        return found

    def isolated(self, expression: Expression, names: Names) -> Value:
        """The value of an expression that knows no names but these, as in a file of a template."""
        before = self.world
        self.world = _Isolated(before)
        try:
            return self.value(expression, names)
        finally:
            self.world = before


class _Isolated:
    """A world whose functions are all but `templatefile`, and in which nothing has a name."""

    def __init__(self, outer: World) -> None:
        self._outer = outer

    def named(self, steps: tuple[str, ...], run: Interpreter) -> tuple[Value, int]:
        del run
        raise Undecided(f'"{steps[0]}" is not given to the template')

    def call(self, call: Call, names: Names, run: Interpreter) -> Value:
        if call.function == "templatefile":
            raise Undecided("a template within a template")
        return self._outer.call(call, names, run)
