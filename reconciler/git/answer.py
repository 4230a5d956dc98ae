"""What git and the server behind it answered to a push or fetch, read from their text.

Git tells by exit status only *that* something failed. Why is in `push --porcelain`'s line per ref and in the server's
own words, which hosts have kept stable for years. The porcelain lines go first: after a rejection git also says that
"the remote end hung up unexpectedly", which is no network failure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto

from reconciler.git.command import Finished
from reconciler.model.errors import Contention, ReconcilerError, Terminal, Transient, UserError


class Answer(Enum):
    """What an answer means for the one who asked."""

    DONE = auto()
    LOST = auto()
    """Somebody else moved the ref first, or holds its lock."""
    TAG_EXISTS = auto()
    """A tag of that name is there already; tags are never moved."""
    FORBIDDEN = auto()
    """A rule of the branch says no: protection, ruleset, hook."""
    DENIED = auto()
    """The credentials are missing, wrong or not enough."""
    NO_REPOSITORY = auto()
    NO_BRANCH = auto()
    REFUSED = auto()
    """The server said no, for a reason that we don't know."""
    UNREACHABLE = auto()
    """The transport broke: whether anything was done is not known."""


@dataclass(frozen=True)
class Reply:
    """An answer, with the line that says so and the tags it is about."""

    answer: Answer
    why: str = ""
    tags: tuple[str, ...] = ()
    commit: str | None = None
    """What was pushed, where that is not the commit that was given."""


# In order: the first that matches anywhere in the text wins. A hook's own words (GH006) go before the status that git
# gives every hook ("pre-receive hook declined"), and a lost race that a hook reports before that too.
_SIGNS: tuple[tuple[str, Answer], ...] = (
    (r"GH\d{3}:", Answer.FORBIDDEN),  # GitHub: GH006 protected branch, GH013 ruleset, GH001 size, GH007 e-mail privacy
    (r"protected branch", Answer.FORBIDDEN),  # GitHub, GitLab
    (r"can only be modified through pull requests", Answer.FORBIDDEN),  # Bitbucket
    (r"\((?:fetch first|non-fast-forward|stale info)\)", Answer.LOST),
    (r"cannot lock ref|unable to lock|failed to update ref|incorrect old value|reference already exists", Answer.LOST),
    (r"Unable to create '[^']*\.lock': File exists|failed to lock", Answer.LOST),
    (r"marked as read only|archived so it is read", Answer.DENIED),  # a deploy key, an archived repository
    (r"Permission to \S+ denied|not granted|not allowed to (?:push|download|upload)", Answer.DENIED),
    (r"returned error: 40[13]|HTTP 40[13]|Authentication failed|could not read (?:Username|Password)", Answer.DENIED),
    (r"Permission denied|Host key verification failed|terminal prompts disabled|SAML SSO", Answer.DENIED),
    (r"hook declined|push declined", Answer.FORBIDDEN),
    (r"couldn't find remote ref", Answer.NO_BRANCH),
    (r"Repository not found|repository .*not found|not appear to be a git repository", Answer.NO_REPOSITORY),
    (r"returned error: 404|No such remote", Answer.NO_REPOSITORY),
    (r"returned error: (?:429|5\d\d)|HTTP (?:429|5\d\d)|Internal Server Error", Answer.UNREACHABLE),
)
_TABLE = tuple((re.compile(pattern, re.IGNORECASE), answer) for pattern, answer in _SIGNS)
_NOISE = re.compile(
    r"^(?:To |Done$|hint: |From |error: failed to push some refs|fatal: the remote end hung up|"
    r"fatal: Could not read from remote|Please make sure|and the repository exists|\s*$)"
)


def read_answer(finished: Finished) -> Reply:
    """Classify how a push, a fetch or an update of refs ended."""
    if finished.status == 0:
        return Reply(Answer.DONE)
    rejected = _rejected(finished)
    existing = tuple(
        ref.removeprefix("refs/tags/")
        for ref, summary in rejected
        if ref.startswith("refs/tags/") and "(already exists)" in summary
    )
    if existing:
        return Reply(Answer.TAG_EXISTS, f"the tag {existing[0]} exists", existing)
    for pattern, answer in _TABLE:
        match = pattern.search(finished.said)
        if match:
            return Reply(answer, _line_around(finished.said, match.start()))
    # A line per ref means that the server (or git itself) decided. Without one, nobody did: the way there is broken.
    if rejected:
        return Reply(Answer.REFUSED, _telling_line(finished) or rejected[0][1])
    return Reply(Answer.UNREACHABLE, _telling_line(finished) or f"git ended with {finished.status}")


def as_error(reply: Reply, *, remote: str, branch: str) -> ReconcilerError:
    """The error for an answer that ends the work on `branch` of `remote`."""
    wording = _WORDINGS[reply.answer]
    names = {"remote": remote, "branch": branch, "why": reply.why, "rule": _rule(reply.why)}
    return wording.kind(wording.what.format(**names), mend=[line.format(**names) for line in wording.mend])


@dataclass(frozen=True)
class _Wording:
    kind: type[ReconcilerError]
    what: str
    mend: tuple[str, ...]


_KEPT = "the builds are kept and will be adopted, nothing is lost"
_LOST = _Wording(Contention, "others were faster on the branch {branch}, again and again ({why})", (_KEPT,))
_WORDINGS: Mapping[Answer, _Wording] = {
    Answer.LOST: _LOST,
    Answer.TAG_EXISTS: _LOST,
    Answer.FORBIDDEN: _Wording(
        Terminal,
        "the branch {branch} refuses pushes ({rule})",
        (_KEPT, "set `git.push: pull-request` in desired/reconciler.yaml, or let the bot bypass the rule"),
    ),
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
        ("push it (`git push {remote} {branch}`), or name another as `git.branch` in desired/reconciler.yaml",),
    ),
    Answer.REFUSED: _Wording(Terminal, "{remote} refused the push to {branch} ({why})", (_KEPT,)),
    Answer.UNREACHABLE: _Wording(
        Transient, "{remote} does not answer ({why})", ("`git ls-remote {remote}` shows whether it does again",)
    ),
}


def _rejected(finished: Finished) -> list[tuple[str, str]]:
    """The refs that `push --porcelain` shows as rejected: `!<TAB>from:to<TAB>summary (reason)`."""
    fields = (line.split("\t") for line in finished.text.splitlines())
    return [(line[1].rpartition(":")[2], line[2]) for line in fields if len(line) == 3 and line[0] == "!"]


def _line_around(text: str, position: int) -> str:
    start = text.rfind("\n", 0, position) + 1
    return _bare(text[start:].partition("\n")[0])


def _telling_line(finished: Finished) -> str:
    lines = [line for line in finished.stderr.splitlines() if not _NOISE.match(line)]
    return _bare(lines[0]) if lines else ""


def _bare(line: str) -> str:
    """A line without what git puts before and around it."""
    summary = line.rpartition("\t")[2]
    return re.sub(r"^(?:(?:remote|error|fatal|ERROR):\s*)+", "", summary.strip()).strip()


def _rule(why: str) -> str:
    """Name the rule as GitHub's documentation does, where it is one of those."""
    for code, name in (("GH006", "protected branch"), ("GH013", "repository ruleset")):
        if code in why:
            return f"{code}: {name}"
    return why
