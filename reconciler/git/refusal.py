"""The errors for what a remote, or this clone, answered: what happened, what the server said, and what to do."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.git.answer import Answer, Reply
from reconciler.git.command import at_work
from reconciler.model.errors import Contention, Locked, ReconcilerError, Terminal, Transient, UserError
from reconciler.model.text import first_few, visible

_SETTINGS = "desired/reconciler.yaml"


@dataclass(frozen=True)
class _Wording:
    kind: type[ReconcilerError]
    what: str
    hint: tuple[str, ...] = ()


class InTheWay(Terminal):
    """A branch or tag keeps out another, whose name is above or below its own."""


_LOST = _Wording(
    Contention,
    "others were faster on the branch {branch}, again and again ({why})",
    ("run it again: it goes on from what they pushed",),
)
_UNUSABLE = _Wording(
    Terminal,
    "{remote} can't be used as it is ({why})",
    ("it is the same the next time; `git ls-remote {remote}` and `git push {remote} --dry-run` show it as well",),
)
_WORDINGS: Mapping[Answer, _Wording] = {
    Answer.LOST: _LOST,
    Answer.TAG_EXISTS: _LOST,
    Answer.DENIED: _Wording(
        Terminal,
        "{remote} refuses these credentials ({why})",
        (
            "give this job credentials that may read {remote} and push to {branch}",
            "`git ls-remote {remote}` tries them",
        ),
    ),
    Answer.NO_REPOSITORY: _Wording(
        UserError,
        "{remote} leads to no repository ({why})",
        ("`git remote -v` shows where it leads, `git remote set-url {remote} <url>` changes it",),
    ),
    Answer.NO_BRANCH: _Wording(
        UserError,
        "{remote} has no branch {branch}",
        (f"push it (`git push {{remote}} {{branch}}`), or name another as `git.branch` in {_SETTINGS}",),
    ),
    Answer.UNUSABLE: _UNUSABLE,
    Answer.NOT_ATOMIC: _UNUSABLE,
    Answer.UNWRITABLE: _Wording(
        Terminal,
        "git can't write to this clone ({why})",
        ("make room, or run as whoever owns its .git; nothing is wrong with {remote}",),
    ),
    Answer.REFUSED: _Wording(
        Terminal, "{remote} refused the push to {branch} ({why})", ("whoever runs {remote} can say why",)
    ),
    Answer.UNREACHABLE: _Wording(
        Transient, "{remote} does not answer ({why})", ("`git ls-remote {remote}` shows whether it does again",)
    ),
}

_HINTS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"verified signature|must be signed|\bunsigned\b|not signed", re.IGNORECASE),
        f"set `git.sign: true` in {_SETTINGS}, and let {{remote}} know the key",
    ),
    (
        re.compile(r"\bauthor|\bcommitter|e-?mail|not a member", re.IGNORECASE),
        f"`git.author` in {_SETTINGS} says whose the commits are",
    ),
)
"""What helps against a rule on the commits themselves, whichever branch they are pushed to."""


def as_error(reply: Reply, *, remote: str, branch: str, proposed: bool = False) -> ReconcilerError:
    """The error for an answer that ends the work on `branch` of `remote`.

    It says nothing of what was built: that is known to whoever built. With `proposed` the branch is the one that is
    proposed in a pull request.
    """
    match reply.answer:
        case Answer.FORBIDDEN:
            return _forbidden(reply, remote=remote, branch=branch, proposed=proposed)
        case Answer.IN_THE_WAY:
            return _in_the_way(reply, remote=remote)
        case Answer.LOCKED:
            return _locked(reply, remote=remote)
        case _:
            wording = _WORDINGS[reply.answer]
            names = {"remote": remote, "branch": branch, "why": reply.why}
            quoted = {name: shlex.quote(value) for name, value in names.items()}
            hint = [*_said(reply, remote=remote), *(line.format(**quoted) for line in wording.hint)]
            return wording.kind(wording.what.format(**names), hint=hint)


def _forbidden(reply: Reply, *, remote: str, branch: str, proposed: bool) -> ReconcilerError:
    rule = _rule(reply.why)
    said = _said(reply, remote=remote)
    tags = reply.tags
    if tags and len(tags) == len(reply.refs):
        below = sorted({f"{tag.partition('/')[0]}/" for tag in tags})
        return Terminal(
            f"{remote} refuses the tag {first_few(tags, most=1)} ({rule})",
            hint=(
                *said,
                f"let the bot create tags below {' and '.join(below)}: it is a rule on tags, and not on {branch}",
            ),
        )
    what = f"the branch {branch} refuses pushes ({rule})"
    if tags:
        what = f"{remote} refuses the push to {branch} and its tags ({rule})"
    return Terminal(what, hint=(*said, *_ways_out(reply, remote=remote, branch=branch, proposed=proposed)))


def _ways_out(reply: Reply, *, remote: str, branch: str, proposed: bool) -> Iterator[str]:
    text = "\n".join((reply.why, *reply.said))
    hints = [hint.format(remote=remote) for pattern, hint in _HINTS if pattern.search(text)]
    yield from hints
    if proposed:
        yield f"let the bot push to {branch}, from which its pull request is made"
    elif not hints or re.search(r"pull request|merge request|protected|GH0(?:06|13)|TF402455", text):
        yield f"set `git.push: pull-request` in {_SETTINGS}, or let the bot bypass the rule"


def _said(reply: Reply, *, remote: str) -> tuple[str, ...]:
    """The server's own words, where the first line of the error does not say as much already."""
    more = tuple(line for line in reply.said if line.partition(":")[2].strip() != reply.why and line != reply.why)
    return tuple(f"{remote}: {line}" for line in reply.said) if more else ()


def _in_the_way(reply: Reply, *, remote: str) -> ReconcilerError:
    wanted = _name(reply.refs[0]) if reply.refs else "what was to be pushed"
    there = reply.in_the_way
    if there is None:
        return InTheWay(
            f"a branch or tag of {remote} is in the way of the {wanted} ({reply.why})",
            hint="git keeps no name below the name of another branch or tag: one of the two has to be called otherwise",
        )
    return InTheWay(
        f"the {_name(there)} of {'this clone' if reply.here else remote} is in the way of the {wanted}",
        hint=(
            f"git keeps no name below the name of another {_kind(there)}, so one has to be called otherwise:",
            _renaming(there, remote=None if reply.here else remote),
        ),
    )


def _renaming(ref: str, *, remote: str | None) -> str:
    """The commands that give a ref another name, here or there: to be pasted, whatever somebody called it."""
    if not ref.isprintable():
        return "its name holds what a terminal does not show: whoever runs the host can take it away"
    now, then, name = map(shlex.quote, (ref, f"{ref}-old", remote or ""))
    if remote is None:
        return f"`git update-ref {then} {now}`, then `git update-ref -d {now}`"
    moved = shlex.quote(f"FETCH_HEAD:{ref}-old")
    return f"`git fetch {name} {now}`, then `git push {name} {moved} {shlex.quote(f':{ref}')}`"


def _name(ref: str) -> str:
    return visible(f"{_kind(ref)} {ref.split('/', 2)[-1]}")


def _kind(ref: str) -> str:
    return {"refs/tags": "tag", "refs/heads": "branch"}.get("/".join(ref.split("/")[:2]), "ref")


def _locked(reply: Reply, *, remote: str) -> ReconcilerError:
    if reply.here and reply.in_the_way is not None:
        return at_work(reply.in_the_way)
    return Locked(
        f"{remote} is locked ({reply.why})",
        hint=f"another push is under way there, or was killed: then whoever runs {remote} removes the lock",
    )


def _rule(why: str) -> str:
    """Name the rule as GitHub's documentation does, where it is one of those."""
    if "GH006" in why:
        return "GH006: protected tag" if re.search(r"protected tag", why, re.IGNORECASE) else "GH006: protected branch"
    return "GH013: repository ruleset" if "GH013" in why else why
