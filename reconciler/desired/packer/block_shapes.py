"""What Packer's own parser refuses of a block: its labels, blocks within it, and settings that every step has.

Seen with 1.6.6 and 1.16.0, which look at every step of every build, also at those that are not run.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator

from reconciler.desired.packer.evaluate import Scope, value_of
from reconciler.desired.packer.language.convert import convert
from reconciler.desired.packer.language.numbers import Number
from reconciler.desired.packer.language.outcome import Refused, Undecided
from reconciler.desired.packer.language.values import NUMBER, STRING, Type, Unknown, Value
from reconciler.desired.packer.syntax import Attribute, Block, Opaque, SourceFile, parts_of
from reconciler.model.errors import UserError
from reconciler.model.text import counted

_STEPS = ("provisioner", "post-processor", "error-cleanup-provisioner")
_LABELS = {
    "build": (), "data": ("type", "name"), "local": ("name",), "locals": (), "source": ("type", "name"),
    "variable": ("name",), "variables": (), **dict.fromkeys(_STEPS, ("type",)),
}  # fmt: skip
_WITHOUT_BLOCKS = ("locals", "local", "variables")
_DURATIONS = ("pause_before", "timeout")
_DURATION = re.compile(r"[+-]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)")
"""What Go reads as one (time.ParseDuration)."""


def wrong_labels(files: Iterable[SourceFile]) -> Iterator[UserError]:
    """An error for each block with too few or too many labels, and for blocks where there are names alone.

    In HCL's JSON labels are keys, and a block looks as an object does.
    """
    for file in files:
        if file.path.endswith(".json"):
            continue
        for block in file.body.blocks:
            yield from _wrong_labels(block)
            for step in _steps(block):
                yield from _wrong_labels(step)
            for inner in block.body.blocks if block.type in _WITHOUT_BLOCKS else ():
                what = f"there is a block in {block.type}, {inner.type}, and Packer takes none there"
                yield UserError(what, where=inner.place, hint=f"write it with =, as in {inner.type} = {{ … }}")


def _wrong_labels(block: Block) -> Iterator[UserError]:
    wanted = _LABELS.get(block.type)
    if wanted is None or len(wanted) == len(block.labels):
        return
    has = counted(len(block.labels), "label") if block.labels else "no label"
    example = " ".join([block.type, *(f'"{one}"' for one in wanted), "{ … }"])
    takes = counted(len(wanted), "label") if wanted else "none"
    yield UserError(f"{block.type} has {has}, and Packer takes {takes}", where=block.place, hint=f"write {example}")


def _steps(block: Block) -> Iterator[Block]:
    for inner in block.body.blocks if block.type == "build" else ():
        if inner.type in _STEPS:
            yield inner
        elif inner.type == "post-processors":
            yield from inner.body.of_type("post-processor")


def wrong_settings(files: Iterable[SourceFile], scope: Scope) -> Iterator[UserError]:
    """An error for each number of retries, and each time to wait, that is none, as far as it is known here."""
    for step in (step for file in files for block in file.body.blocks for step in _steps(block)):
        if step.type == "post-processor":
            continue
        retries = step.body.attributes.get("max_retries")
        if retries is not None and not _is_count(value_of(retries.expression, scope)):
            yield UserError("max_retries is no whole number", where=retries.place, hint="write it as in 3")
        for name in _DURATIONS:
            given = step.body.attributes.get(name)
            if given is not None and not _is_duration(value_of(given.expression, scope)):
                yield UserError(
                    f"{name} is no time with its unit", where=given.place, hint='write it as in "10s", "5m"'
                )


_RENDERED = {
    "file": ("source", "sources", "destination"),
    "shell": ("inline", "script", "scripts", "environment_vars"),
    "shell-local": ("inline", "script", "scripts", "environment_vars"),
}
"""Texts of JSON that Packer itself renders before anything is built (seen: 1.6.6, 1.16.0)."""


def wrong_texts(blocks: Iterable[Block], given: Collection[str]) -> Iterator[UserError]:
    """An error for each text of a JSON template from before HCL2 that no Packer renders.

    Not in the default of a variable that is given another value: Packer does not render that.
    """
    for attribute in _rendered(blocks, given):
        waiting = [attribute.expression]
        while waiting:
            one = waiting.pop()
            if isinstance(one, Opaque) and one.wrong:
                hint = "write `{{ user `name` }}` for a variable; braces of another program as in {{`{{`}}"
                yield UserError(one.wrong, where=attribute.place, hint=hint)
            waiting.extend(parts_of(one))


def _rendered(blocks: Iterable[Block], given: Collection[str]) -> Iterator[Attribute]:
    for block in blocks:
        if block.type == "variable" and block.labels[0] not in given and "default" in block.body.attributes:
            yield block.body.attributes["default"]
        for step in _steps(block):
            attributes = step.body.attributes
            if step.type == "provisioner" and "only" not in attributes and "except" not in attributes:
                yield from (attributes[one] for one in _RENDERED.get(step.labels[0], ()) if one in attributes)


def _is_count(value: Value) -> bool:
    found = _converted(value, NUMBER)
    return isinstance(found, Unknown) or (isinstance(found, Number) and found.whole is not None)


def _is_duration(value: Value) -> bool:
    found = _converted(value, STRING)
    is_text = isinstance(found, str) and (not found or _DURATION.fullmatch(found) is not None)
    return isinstance(found, Unknown) or is_text


def _converted(value: Value, to: Type) -> Value | None:
    try:
        return convert(value, to)
    except Refused:
        return None
    except Undecided as error:
        return Unknown(str(error))
