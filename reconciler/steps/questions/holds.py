"""The holds that an image was under, as git's history of its declaration tells: who bound `stable`, when and why."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.desired.located import Located
from reconciler.desired.yaml_file import read_yaml
from reconciler.git.past import versions
from reconciler.git.repository import Repository
from reconciler.model.values import format_instant
from reconciler.plan.history import LockPast, Ruled


def holds_of(repository: Repository, past: LockPast, *, revision: str) -> tuple[Ruled, ...]:
    """Every version of the declaration that leads to a revision, oldest first, under each name that the image had.

    One that can't be read is left out: what it ruled nobody knows. Costs a walk through history for each name.
    """
    return tuple(one for name in past.names[::-1] for one in [*_read(repository, name, revision=revision)][::-1])


def _read(repository: Repository, name: str, *, revision: str) -> Iterator[Ruled]:
    path = f"desired/{name}/image.yaml"
    for one in versions(repository.git, path, revision=revision):
        document = read_yaml(one.content or b"", path)
        hold = _text(document.root, "hold")
        build, why, until = (_text(hold, key) for key in ("build", "reason", "until"))
        if document.problems and build is None:
            continue
        yield Ruled(
            one.commit, format_instant(one.at), one.author, str(build.value) if build is not None else None,
            str(why.value) if why is not None else None, str(until.value) if until is not None else None,
        )  # fmt: skip


def _text(at: Located | None, key: str) -> Located | None:
    """What stands below a key; None where there is no such key."""
    found = at.value.get(key) if at is not None and isinstance(at.value, dict) else None
    return found if isinstance(found, Located) and found.value is not None else None
