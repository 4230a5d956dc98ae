"""Packer's template engine: the `{{ … }}` that it replaces in texts of either syntax while it builds."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from reconciler.desired.packer.evaluate import COMPUTED, Scope

_WORKING_DIR = "pwd"


def actions(text: str) -> Iterator[tuple[int, str, int]]:
    """Every `{{ … }}`: where it begins, what stands in it, and where the text goes on.

    Not by a pattern: that would look for the end anew from each brace of a long run.
    """
    after = 0
    while (start := text.find("{{", after)) >= 0 and (end := text.find("}}", start + 2)) >= 0:
        after = end + 2
        yield start, text[start + 2 : end].removeprefix("-").removesuffix("-").strip(), after


def with_working_dir(text: str, scope: Scope) -> str:
    """A text of HCL2 in which `{{ pwd }}` is the folder that Packer runs in; the rest is as it was.

    That and `{{ build_name }}` are rendered in HCL2 as in JSON; of the template's folder it knows nothing there (seen
    with 1.6.6 and 1.16.0).
    """
    return _replaced(text, lambda words: scope.path_cwd if words == _WORKING_DIR else None)


def with_gaps(text: str, scope: Scope) -> str:
    """The same, with `COMPUTED` for all else that Packer replaces: what an interpolation of JSON comes to.

    What begins with a dot (`{{.Vars}}`, `{{.MountPath}}`) is the step's own, and names nothing of the repository.
    """

    def replace(words: str) -> str | None:
        if words == _WORKING_DIR:
            return scope.path_cwd
        return None if words.startswith(".") else COMPUTED

    return _replaced(text, replace)


def _replaced(text: str, replace: Callable[[str], str | None]) -> str:
    if "{{" not in text:
        return text
    parts: list[str] = []
    end = 0
    for start, words, after in actions(text):
        new = replace(words)
        parts += [text[end:start], text[start:after] if new is None else new]
        end = after
    return "".join([*parts, text[end:]])
