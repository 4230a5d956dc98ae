"""Since when commits have to be signed, and who may end that: whoever turns `git.sign` off must sign it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Setting:
    """What a commit's settings say of signatures: asked for or not; None where they can't be read."""

    commit: str
    parents: tuple[str, ...]
    asked: bool | None


@dataclass(frozen=True)
class Required:
    """Whether signatures are required. `ended_by` is the commit that ended it and was not believed, or empty."""

    required: bool
    ended_by: str = ""


def required_before(oldest_first: Iterable[Setting], *, trusted: Callable[[str], bool]) -> Mapping[str, Required]:
    """What was required of each commit by those before it.

    A commit's own word does not count for itself, since it may be forged; but the first has nothing else. A commit
    inherits what any of its parents requires, so that no merge with an older branch takes it away. It ends with a
    commit that turns it off and is itself `trusted`: signed by a key that is known. Settings that can't be read
    turn nothing off.

    Args:
        oldest_first: Every commit, parents before children; a parent that is not there is unknown (a shallow clone).
        trusted: Whether a commit, by its id, is well signed. Asked only of those that turn signatures off.
    """
    before: dict[str, Required] = {}
    after: dict[str, Required] = {}
    for one in oldest_first:
        held = [after[parent] for parent in one.parents if parent in after and after[parent].required]
        own = Required(required=bool(one.asked))
        # What nobody's disbelieved word touched comes first: it is the plainer reason.
        inherited = min(held, key=lambda parent: parent.ended_by, default=Required(required=False))
        before[one.commit] = inherited if any(parent in after for parent in one.parents) else own
        if own.required or not held:
            since = own
        elif one.asked is None or inherited.ended_by:
            since = inherited
        else:
            since = own if trusted(one.commit) else Required(required=True, ended_by=one.commit)
        after[one.commit] = since
    return before
