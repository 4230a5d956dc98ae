"""Options that several verbs share."""

from __future__ import annotations

import errno
import functools
import json
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
from click.shell_completion import CompletionItem

from reconciler.model.errors import UserError

if TYPE_CHECKING:
    from reconciler.model.plan import PlanOptions

F = TypeVar("F", bound=Callable[..., Any])
_PLAIN = re.compile(r"[A-Za-z0-9/][A-Za-z0-9_./:@%+-]*")
"""A word that no shell reads anything into."""
_MOST_COMPLETED = 4 << 20
"""Bytes of a lockfile, of which none has more."""

directory = click.option(
    "-C",
    "directory",
    type=click.Path(path_type=Path),
    default=Path(),
    metavar="DIR",
    help="Work in this repository, or on the fleet in this folder of one, instead of the current folder's.",
)
junit = click.option(
    "--junit",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write one test case per image to a file, as JUnit XML.",
)
log = click.option(
    "--log",
    "log_form",
    type=click.Choice(["auto", "plain", "json"]),
    default="auto",
    show_default=True,
    help="How progress is told on stderr.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")


def complete_images(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the folders under desired/ to a shell that completes an image's name."""
    del param
    desired = _fleet(ctx) / "desired"
    return _beginning(incomplete, (one.name for one in desired.iterdir() if one.is_dir()) if desired.is_dir() else ())


def complete_locations(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the locations in which an image's builds are recorded."""
    del param
    builds = _recorded(ctx, str(ctx.params.get("image")))
    artifacts = [one for build in builds for one in _mappings(build.get("artifacts"))]
    return _beginning(incomplete, (one.get("location") for one in artifacts))


def complete_builds(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Offer the images, and behind one its recorded builds and channels."""
    words = ctx.params.get("words") or ()
    if not words:
        return complete_images(ctx, param, incomplete)
    return _beginning(incomplete, ("candidate", "stable", *(one.get("id") for one in _recorded(ctx, words[0]))))


def read_bounded(path: Path, *, most: int) -> bytes:
    """The bytes of a file of the checkout, which a commit may have made a link to one without end.

    Raises OSError for one that can't be read, or has more than so many bytes.
    """
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return content


def _fleet(ctx: click.Context) -> Path:
    """The nearest folder above with a `desired/` in it; else where we are."""
    start = Path(ctx.params.get("directory") or ".").resolve()
    return next((folder for folder in (start, *start.parents) if (folder / "desired").is_dir()), start)


def _recorded(ctx: click.Context, image: str) -> list[dict[str, Any]]:
    """The builds in an image's lockfile as it lies in the checkout; none where there is none that can be read."""
    try:
        builds = json.loads(read_bounded(_fleet(ctx) / "state" / f"{image}.lock.json", most=_MOST_COMPLETED))["builds"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return []
    return _mappings(builds)


def _mappings(found: object) -> list[dict[str, Any]]:
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _beginning(incomplete: str, words: Iterable[object]) -> list[CompletionItem]:
    """The words that begin so, and that stand for nothing but themselves in a shell.

    A shell puts what is offered into the line as it is, and a commit may call a folder `$(curl …)`.
    """
    found = {word for word in words if isinstance(word, str) and _PLAIN.fullmatch(word)}
    return [CompletionItem(word) for word in sorted(found) if word.startswith(incomplete)]


def moment(text: str, *, option: str, now: datetime) -> datetime:
    """The time that a person means by a duration before now, a day (its beginning, UTC) or a UTC time.

    Raises:
        UserError: it is none of these, or is to come.
    """
    from reconciler.model.values import parse_duration  # noqa: PLC0415 - pydantic, of which completion needs nothing

    hint = "a duration such as 30d, a day such as 2026-11-01, or a UTC time such as 2026-11-01T12:00:00Z"
    try:
        found = now - timedelta(seconds=parse_duration(text))
    except OverflowError:
        found = datetime.min.replace(tzinfo=UTC)
    except ValueError:
        found = _instant(text, option=option, hint=hint)
    if found > now:
        raise UserError(f"{option}: {text} is still to come", hint=hint)
    if found < _FIRST:
        raise UserError(f"{option}: {text} is before there were commits", hint=hint)
    return found


_FIRST = datetime(1970, 1, 1, tzinfo=UTC)
"""The oldest time that a commit has."""


def _instant(text: str, *, option: str, hint: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UserError(f"{option}: {text!r} is no duration, and no day", hint=hint) from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def refuse_two_revisions(rev: str, *, worktree: bool) -> None:
    """Raise UsageError where a commit is named, and the checkout's files are asked for in its place."""
    if worktree and rev != "HEAD":
        raise click.UsageError("--worktree and --rev exclude each other")


images = click.argument("images", nargs=-1, metavar="[IMAGE]...", shell_complete=complete_images)


@dataclass(frozen=True)
class Selection:
    """What a plan is about, as a person asks for it."""

    images: tuple[str, ...]
    refresh: bool
    forced: tuple[str, ...]
    prune: bool
    lost: tuple[str, ...] = ()

    @property
    def asks(self) -> bool:
        """True where anything is asked for beside which images."""
        return bool(self.refresh or self.forced or self.prune or self.lost)

    def options(self, *, offline: bool = False, preview: bool = False) -> PlanOptions:
        """The same for a plan. An image that is forced is asked for."""
        from reconciler.model.plan import PlanOptions  # noqa: PLC0415 - pydantic, which the shortest verbs do without

        asked = tuple(dict.fromkeys([*self.images, *(self.forced if self.images else ())]))
        return PlanOptions(
            images=asked, refresh=self.refresh, force=self.forced, prune=self.prune, lost=tuple(sorted(set(self.lost))),
            offline=offline, preview=preview,
        )  # fmt: skip


def selection(command: Callable[..., int]) -> Callable[..., int]:
    """Add the options that say what a plan is about, and hand them on as one `Selection`."""

    @functools.wraps(command)
    def with_selection(
        *,
        images: tuple[str, ...],
        refresh: bool,
        forced: tuple[str, ...],
        prune: bool,
        lost: tuple[str, ...],
        **rest: Any,
    ) -> int:
        return command(Selection(images, refresh, forced, prune, lost), **rest)

    asked: Callable[..., int] = with_selection
    for option in reversed(
        (
            images,
            click.option(
                "--refresh",
                is_flag=True,
                help="Look for newer sources and for images that are too old (the scheduled job).",
            ),
            click.option(
                "--force",
                "forced",
                multiple=True,
                metavar="IMAGE",
                help="Build this image although nothing changed. May be repeated.",
                shell_complete=complete_images,
            ),
            click.option("--prune", is_flag=True, help="Retire what is no longer declared."),
            click.option(
                "--lost",
                multiple=True,
                metavar="PLACE",
                help="Make anew what is recorded in a place where all of it is lost. May be repeated.",
            ),
        )
    ):
        asked = option(asked)
    return asked
