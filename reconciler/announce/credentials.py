"""Tokens and secrets, by the environment variables that hold them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.model.errors import Terminal


@dataclass(frozen=True)
class Credential:
    """A value, which is never shown, and the variable that it came from, which is."""

    variable: str
    value: str

    def __repr__(self) -> str:
        """Without the value: a dataclass would print it into every log."""
        return f"Credential({self.variable!r}, …)"


def credential(environment: Mapping[str, str], *variables: str, purpose: str) -> Credential:
    """The first of these variables that holds something, without the blanks around it.

    Raises Terminal when none does, or when it could not stand in a header. `purpose` says what it is for.
    """
    for variable in variables:
        value = environment.get(variable, "").strip()
        if value:
            if not (value.isascii() and value.isprintable()):
                raise Terminal(
                    f"{variable} holds line breaks or characters that are not ASCII",
                    mend="it may be a file's content or a wrong paste; set it anew",
                )
            return Credential(variable, value)
    raise Terminal(
        f"no {purpose}: {' and '.join(variables)} {'is' if len(variables) == 1 else 'are'} not set",
        mend=f"set {variables[0]} where this runs (in CI as a secret of the job)",
    )
