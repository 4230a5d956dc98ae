"""`reconciler history`: every build of an image, as git tells it. Needs a clone and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import click

from reconciler.cli import options
from reconciler.cli.printing import show_json, show_rows, show_text
from reconciler.cli.workspace import now
from reconciler.git.past import resolve_commit
from reconciler.git.pull_requests import pull_requests
from reconciler.git.repository import Repository
from reconciler.model.history import History, PastBuild, PastFailure, Turn
from reconciler.model.text import age_text, counted, one_line, visible
from reconciler.model.values import format_instant
from reconciler.plan.history import stable_seconds, tell
from reconciler.steps.questions.builds import resolve_names
from reconciler.steps.questions.compare import past_of
from reconciler.steps.questions.holds import holds_of


@click.command("history")
@click.argument("image", shell_complete=options.complete_images)
@click.option("--rev", default="HEAD", metavar="REVISION", help="As of this commit, branch or tag.", show_default=True)
@options.as_json
@options.directory
def command(image: str, *, rev: str, as_json: bool, directory: Path) -> int:
    """Show every build of an image, also those that are not in its lockfile any more.

    When, why, by which commit and pull request, whose verdict, how long it was stable. The id of an artifact names its
    image, too. Reads git's history alone.
    """
    repository = Repository.open(directory)
    commit = resolve_commit(repository.git, rev)
    image, _ = resolve_names(repository, [image], revision=commit)
    past = past_of(repository, image, revision=commit)
    tags = [tag for name in past.names for tag in repository.tags(f"image/{name}/")]
    tagged = {tag.name.rpartition("/")[2]: tag.target for tag in tags}
    numbers, held = pull_requests(repository.git, commit), holds_of(repository, past, revision=commit)
    history = tell(past, pull_request=numbers.of, tagged=tagged, held=held)
    if as_json:
        show_json(history.model_dump_json(by_alias=True, indent=2))
    else:
        _print(history, moment=now())
    return 0


def _print(history: History, *, moment: datetime) -> None:
    show_text(_headline(history))
    click.echo()
    at = format_instant(moment)
    rows = [*((one.recorded, one.id, _build_row(one, at)) for one in history.builds)]
    rows += [(one.at, one.build, _failure_row(one)) for one in history.failures]
    rows += [(one.at, one.build, _turn_row(one)) for one in history.turns]
    newest_first = [row for *_, row in sorted(rows, key=lambda row: row[:2], reverse=True)]
    show_rows(("build", "from", "stable", "why, and what became of it"), newest_first)
    for line in _footer(history):
        show_text(line, hang=2)


def _headline(history: History) -> str:
    failures = f" and {counted(len(history.failures), 'failure')}" if history.failures else ""
    times = [*(one.recorded for one in history.builds), *(one.at for one in history.failures)]
    since = f" since {min(times)[:10]}" if times else ""
    stands = any(one.stable and one.stable[-1].until is None for one in history.builds)
    none = "" if stands else "; none is stable"
    return f"{history.image}: {counted(len(history.builds), 'build')}{failures}{since}{none}"


def _footer(history: History) -> Iterator[str]:
    if len(history.names) > 1:
        yield f"Called {', before that '.join(history.names[1:])} before."
    for commit, why in history.unreadable.items():
        yield f"The lockfile of {commit[:7]} can't be read, and is left out: {visible(why)}"
    if not history.complete:
        yield "This clone's history ends here, so some is unknown: `git fetch --unshallow` brings the rest."


def _build_row(build: PastBuild, at: str) -> tuple[str, str, str, str]:
    return build.id, _from(build.commit, build.pull_request), _stable(build, at), "\n".join(map(visible, _facts(build)))


def _failure_row(failure: PastFailure) -> tuple[str, str, str, str]:
    tries = f" (attempt {failure.attempts})" if failure.attempts > 1 else ""
    by = f"\nrecorded by {failure.recorded_in[:7]}" if failure.recorded_in is not None else ""
    what = f"failed{tries}: {visible(failure.what)}{by}"
    return failure.build, _from(failure.commit, failure.pull_request), "", what


def _turn_row(turn: Turn) -> tuple[str, str, str, str]:
    why = f": {visible(one_line(turn.why))}" if turn.why else ""
    by = visible(turn.by.partition(" <")[0])
    return turn.build, _from(turn.commit, None), "", f"{_TURNS[turn.what]} {turn.at[:10]} by {by}{why}"


_TURNS = {
    "held": "held", "released": "released", "revoked": "revoked", "unrevoked": "revoked no more",
    "retired": "retired",
    "deprecated": "deprecated by gc", "disabled": "disabled by gc", "removed": "removed by gc",
    "brought-back": "brought back",
}  # fmt: skip


def _from(commit: str | None, pull_request: int | None) -> str:
    number = f" #{pull_request}" if pull_request is not None else ""
    return f"{commit[:7]}{number}" if commit is not None else "unknown"


def _stable(build: PastBuild, at: str) -> str:
    if not build.stable:
        return "unknown" if build.cut_off else "never"
    lasted = age_text(stable_seconds(build.stable, seen=at)) + (" or more" if build.cut_off else "")
    return f"{lasted}, now" if build.stable[-1].until is None else lasted


def _facts(build: PastBuild) -> Iterator[str]:
    if build.adopted is not None:
        yield f"adopted as it was {build.adopted.at[:10]}"
    else:
        yield ", ".join(dict.fromkeys(reason.code for reason in build.reasons)) or "unknown"
    if build.cut_off and build.pull_request is None:
        yield "pull request unknown"
    if build.smoke_test is not None and build.smoke_test.status == "failed":
        yield "smoke test failed"
    if build.smoke_test is not None and build.smoke_test.status == "skipped":
        yield "not tested"
    if build.smoke_test is not None and build.smoke_test.findings:
        codes = dict.fromkeys(one.code for one in build.smoke_test.findings)
        yield f"{counted(len(build.smoke_test.findings), 'finding')}: {', '.join(codes)}"
    if build.verdict is not None:
        yield f"{build.verdict.status} by {build.verdict.by}"
    if build.verified:
        times = f" ({len(build.verified)} times)" if len(build.verified) > 1 else ""
        yield f"verified unchanged {build.verified[-1].at[:10]}{times}"
    if build.phase in ("rejected", "revoked"):
        yield build.phase
