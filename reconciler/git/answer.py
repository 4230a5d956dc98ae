"""What git and the server behind it answered to a push or fetch, read from their text.

Git tells by exit status only *that* something failed. Why is in `push --porcelain`'s line per ref and in the server's
own words, which hosts have kept stable for years. The porcelain lines go first: after a rejection git also says that
"the remote end hung up unexpectedly", which is no network failure; and what a hook prints may be anything.

Others write that text, as much of it as they like. So it is cut before a pattern sees it, and no pattern has a
repetition without a bound: `repository .*not found` took 12 s on a message of 220 kB.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from reconciler.git.command import Finished, left_lock
from reconciler.git.urls import without_userinfo
from reconciler.model.text import visible

_HEARD = 32_768
"""Characters of a message that are looked at: half of them from its beginning, half from its end."""
_LINE = 1000
_SHOWN = 200
"""Characters of a line, looked at and shown."""
_WORDS = 8
"""Lines of a server's own words that are shown."""


class Answer(Enum):
    """What an answer means for the one who asked."""

    DONE = auto()
    LOST = auto()
    """Somebody else moved the ref first, or holds it at this moment."""
    TAG_EXISTS = auto()
    """A tag of that name is there already; tags are never moved."""
    IN_THE_WAY = auto()
    """A ref has a name above or below the wanted one, and git keeps only one of the two."""
    LOCKED = auto()
    """A lock file stands there: of a git at work, or of one that was killed."""
    NOT_ATOMIC = auto()
    """The server takes refs one by one only. Nothing was pushed."""
    FORBIDDEN = auto()
    """A rule says no: protection, ruleset, hook."""
    DENIED = auto()
    """The credentials are missing, wrong or not enough."""
    NO_REPOSITORY = auto()
    NO_BRANCH = auto()
    UNUSABLE = auto()
    """The server, or git here, can't do what was asked: it is the same the next time."""
    UNWRITABLE = auto()
    """This clone can't be written to."""
    REFUSED = auto()
    """The server said no, for a reason that we don't know."""
    UNREACHABLE = auto()
    """The transport broke: whether anything was done is not known."""


@dataclass(frozen=True)
class Reply:
    """An answer, with the line that says so, the server's own words, and the refs that it is about."""

    answer: Answer
    why: str = ""
    said: tuple[str, ...] = ()
    """The server's own words, line by line, as far as they are shown. Every character of them is printable."""
    refs: tuple[str, ...] = ()
    """The refs that were refused on their own account, not because of another one."""
    in_the_way: str | None = None
    """The ref that stands in the way of one of `refs`, or the lock file that does, where it is known."""
    here: bool = False
    """Whether it stands in this clone, and not on the server."""
    commit: str | None = None
    """What was pushed, where that is not the commit that was given."""
    owed: Mapping[str, str] = field(default_factory=dict)
    """Tags (name to object) that may be missing although the branch has moved, or may have."""

    @property
    def tags(self) -> tuple[str, ...]:
        """The names of the tags among `refs`."""
        return tuple(ref.removeprefix(_TAGS) for ref in self.refs if ref.startswith(_TAGS))

    @property
    def moved(self) -> bool:
        """Whether it is certain that the branch was moved by somebody else."""
        return self.answer is Answer.LOST and _MOVED.search(self.why) is not None


_TAGS = "refs/tags/"
_COLLATERAL = re.compile(r"\(atomic (?:push|transaction) fail(?:ed|ure)\)|\(transaction aborted\)")
"""Said of a ref that was refused only because another one was, by git and by JGit (Gerrit)."""
_MOVED = re.compile(
    r"\b(?:fetch first|non-fast-forward|stale info|needs force|remote ref updated since checkout|"
    r"but expected [0-9a-f]{7})"
)
_NO_REPORT = re.compile(r"^\[remote failure\]")
"""The connection broke after the push was sent."""

_IN_THE_WAY = (
    r"' exists; cannot create '|cannot process 'refs/[^']{1,250}' and 'refs/[^']{1,250}' at the same time|"
    r"directory file conflict|refname conflict|non-empty directory '[^']{1,250}' blocking reference"
)
_LOCKED = r"Unable to create '[^']{1,900}\.lock': File exists"
_HELD = (
    r"cannot lock ref|unable to lock|failed to lock|failed to update ref|incorrect old value|reference already exists"
)
_BROKEN = (
    r"(?:returned error:|HTTP) (?:429|5\d\d)\b|Internal Server Error|Internal API (?:error|unreachable)|"
    r"fatal error in commit_refs"  # GitHub's storage
)

_UNWRITABLE = "No space left|Read-only file system|insufficient permission|Disk quota exceeded"

# In order: the first that matches any line wins. A host's own words (GH006) go before the status that git gives every
# hook ("pre-receive hook declined"), and a lost race that a hook reports before that too.
_REJECTED: tuple[tuple[str, Answer], ...] = (
    (r"\bGH\d{3}:", Answer.FORBIDDEN),  # GitHub: GH006 protected branch, GH013 ruleset, GH001 size, GH007 e-mail
    (r"protected (?:branch|tag)", Answer.FORBIDDEN),  # GitHub, GitLab, Gitea
    (r"\b(?:TF|VS)\d{6}\b", Answer.FORBIDDEN),  # Azure DevOps: TF402455 policy of a branch, VS403702 e-mail
    (r"(?:modified|updated?|made) (?:only )?(?:this branch )?through (?:a )?pull requests?", Answer.FORBIDDEN),
    (_IN_THE_WAY, Answer.IN_THE_WAY),
    (_LOCKED, Answer.LOCKED),
    (_HELD, Answer.LOST),
    (_BROKEN, Answer.UNREACHABLE),
    # git's own word for any hook; Gerrit: "prohibited by Gerrit", gitolite: "DENIED by"
    (r"declined|prohibited|not permitted|not allowed|denied", Answer.FORBIDDEN),
)
_FREE = frozenset({Answer.FORBIDDEN, Answer.UNREACHABLE})
"""What is read from any line. The rest is git's to say: a hook may quote what it likes."""

_UNANSWERED: tuple[tuple[str, Answer], ...] = (
    # A status before any words that came with it.
    (r"(?:returned error:|HTTP) 40[13]\b", Answer.DENIED),
    (r"(?:returned error:|HTTP) 404\b|^fatal: repository .{0,200} not found", Answer.NO_REPOSITORY),
    (_BROKEN, Answer.UNREACHABLE),
    (rf"^(?:fatal|error): .{{0,300}}(?:{_UNWRITABLE})", Answer.UNWRITABLE),
    (_IN_THE_WAY, Answer.IN_THE_WAY),
    (_LOCKED, Answer.LOCKED),
    (_HELD, Answer.LOST),
    (r"does not support --atomic", Answer.NOT_ATOMIC),
    (r"marked as read only|archived so it is read|service not enabled|access denied", Answer.DENIED),
    (r"Permission to \S{1,200} denied|not granted|not allowed to (?:push|download|upload)", Answer.DENIED),
    (r"Authentication failed|could not read (?:Username|Password)", Answer.DENIED),
    (r"Permission denied|Host key verification failed|terminal prompts disabled|SAML SSO", Answer.DENIED),
    (r"couldn't find remote ref", Answer.NO_BRANCH),
    (r"repository .{0,200}not found|not appear to be a git repository|No such remote", Answer.NO_REPOSITORY),
    (r"\bTF401019\b", Answer.NO_REPOSITORY),
    # Git's own words alone: a host may greet with anything.
    (r"^(?:fatal|error): .{0,300}(?:(?:not|n't|cannot) support|unsupported|mismatched algorithms)", Answer.UNUSABLE),
    (r"^fatal: (?:transport|protocol) '[^']{0,40}' (?:is )?not allowed|unable to find remote helper", Answer.UNUSABLE),
    (r"^git: '[^']{1,100}' is not a git command|^error: cannot run [^:]{1,200}: No such file", Answer.UNUSABLE),
    (r"^[^:]{1,200}: (?:line )?\d{1,4}: [^:]{1,200}: (?:command )?not found$", Answer.UNUSABLE),  # core.sshCommand
    (r"certificate (?:problem|verification failed)|uses plaintext credentials", Answer.UNUSABLE),
    (r"^(?:fatal|error): .{0,300}(?:fsck error|dubious ownership)", Answer.UNUSABLE),
)


def _compiled(table: Sequence[tuple[str, Answer]]) -> tuple[tuple[re.Pattern[str], Answer], ...]:
    return tuple((re.compile(pattern, re.IGNORECASE), answer) for pattern, answer in table)


_REJECTED_TABLE, _UNANSWERED_TABLE = _compiled(_REJECTED), _compiled(_UNANSWERED)
_BLOCKING = re.compile(r"'(?P<there>refs/[^']{1,250})' exists; cannot create '(?P<wanted>refs/[^']{1,250})'")
_REASON = re.compile(r"^\[(?:remote )?(?:rejected|failure)\] \((.{1,1000})\)$")
_SPEAKER = re.compile(r"^(?:(?:remote|error|fatal|ERROR):\s{0,9}){1,9}")
_NOISE = re.compile(
    r"^(?:To |Done$|hint: |From |error: failed to push some refs|fatal: the remote end hung up|"
    r"fatal: Could not read from remote|Please make sure|and the repository exists|\s*$)"
)
_PROGRESS = re.compile(r"^(?:Resolving deltas|(?:Counting|Compressing|Enumerating|Writing|Unpacking) objects|Total )")
_LOCK_ADVICE = re.compile(
    r"^(?:Another git process seems|an editor opened by|are terminated then|may have crashed|remove the file manually)"
)


def read_answer(finished: Finished) -> Reply:
    """Classify how a push, a fetch or an update of refs ended."""
    if finished.status == 0:
        return Reply(Answer.DONE)
    lines = _lines(finished.stderr)
    rejected = _rejected(finished)
    # A line per ref means that the server (or git itself) decided. Without one, nobody did: the way there is broken.
    return _decided(rejected, lines) if rejected else _undecided(lines, finished.status)


def _decided(rejected: Mapping[str, str], lines: Sequence[str]) -> Reply:
    existing = tuple(
        ref for ref, summary in rejected.items() if ref.startswith(_TAGS) and "(already exists)" in summary
    )
    if existing:
        return Reply(Answer.TAG_EXISTS, f"the tag {existing[0].removeprefix(_TAGS)} exists", refs=existing)
    words = _words(lines)
    refs = _refused(rejected, words)
    said = tuple(_short(words))
    if any(_NO_REPORT.search(summary) for summary in rejected.values()):
        return Reply(Answer.UNREACHABLE, "it did not say what became of the push", said, refs)
    if moved := next((one for one in rejected.values() if one.startswith("[rejected]") and _MOVED.search(one)), None):
        return Reply(Answer.LOST, _bare(moved), said, refs)
    reasons = [rejected[ref] for ref in refs]
    spoken = [*reasons, *words]
    for pattern, answer in _REJECTED_TABLE:
        heard = spoken if answer in _FREE else [*reasons, *(one for one in words if one.startswith("error:"))]
        line = next((one for one in heard if pattern.search(one)), None)
        if line is not None:
            return _in_detail(Reply(answer, _telling(line, words), said, refs), line)
    why = _bare(words[0]) if words else next((_bare(line) for line in lines if not _NOISE.match(line)), "")
    return Reply(Answer.REFUSED, why or _bare(reasons[0]), said, refs)


def _telling(line: str, words: Sequence[str]) -> str:
    """The line to show in one line: the server's own words rather than git's word for any of its hooks."""
    own = [one for one in words if "hook declined" not in one]
    return _bare(own[0] if "declined" in line and own else line)


def _undecided(lines: Sequence[str], status: int) -> Reply:
    said = tuple(_short(_words(lines)))
    for pattern, answer in _UNANSWERED_TABLE:
        line = next((one for one in lines if pattern.search(one)), None)
        if line is not None:
            return _in_detail(Reply(answer, _bare(line), said), line)
    why = next((_bare(line) for line in lines if not _NOISE.match(line)), "")
    return Reply(Answer.UNREACHABLE, why or f"git ended with {status}", said)


def _in_detail(reply: Reply, line: str) -> Reply:
    """The reply with what stands in the way, as its line names it, and where."""
    here = not reply.refs and not line.startswith("remote:")
    if reply.answer is Answer.IN_THE_WAY and (named := _BLOCKING.search(line)):
        return replace(reply, refs=(named["wanted"],), in_the_way=named["there"], here=here)
    if reply.answer is Answer.LOCKED:
        return replace(reply, in_the_way=left_lock(line), here=here)
    return reply


def rejected_refs(finished: Finished) -> frozenset[str]:
    """The refs that a push did not move, as far as git says; of one that broke off it may say nothing."""
    return frozenset(_rejected(finished))


def _rejected(finished: Finished) -> dict[str, str]:
    """The refs that `push --porcelain` shows as rejected, with why: `!<TAB>from:to<TAB>summary (reason)`."""
    fields = (line.split("\t") for line in finished.lines)
    return {
        line[1].rpartition(":")[2]: visible(without_userinfo(line[2][:_LINE]))
        for line in fields
        if len(line) == 3 and line[0] == "!"
    }


def _refused(rejected: Mapping[str, str], words: Sequence[str]) -> tuple[str, ...]:
    """The refs that were refused on their own account.

    Git says it of each ref where a hook is asked of each. Where one is asked of all, or the host has its own rules,
    the words name the ref, or speak of tags or of branches alone.
    """
    every = tuple(rejected)
    own = tuple(ref for ref, summary in rejected.items() if not _COLLATERAL.search(summary)) or every
    if len(own) < len(every):
        return own
    named = tuple(ref for ref in own if any(ref in line for line in words))
    if named:
        return named
    of_tags = any(re.search(r"tags?\b", line, re.IGNORECASE) for line in words)
    of_branches = any(re.search(r"\bbranch(?:es)?\b", line, re.IGNORECASE) for line in words)
    if of_tags is of_branches:
        return own
    return tuple(ref for ref in own if ref.startswith(_TAGS) is of_tags) or own


def _lines(text: str) -> list[str]:
    """The beginning and the end of a message, line by line, each cut, and every character printable."""
    if len(text) > _HEARD:
        text = f"{text[: _HEARD // 2]}\n{text[-_HEARD // 2 :]}"
    return [visible(line[:_LINE]) for line in text.splitlines()]


def _words(lines: Iterable[str]) -> list[str]:
    """What the server said, without what says nothing: progress, rulers, and git's own advice about locks."""
    said = (line.removeprefix("remote:").strip() for line in lines if line.startswith("remote:"))
    telling = (
        line
        for line in said
        if any(map(str.isalnum, line)) and not _PROGRESS.match(line) and not _LOCK_ADVICE.match(line)
    )
    return list(dict.fromkeys(telling))


def _short(words: Sequence[str]) -> Iterable[str]:
    shown = [word for word in words if "hook declined to update" not in word] or words
    yield from (_cut(word) for word in shown[:_WORDS])
    if len(shown) > _WORDS:
        yield f"… and {len(shown) - _WORDS} more lines"


def _bare(line: str) -> str:
    """A line without what git puts before and around it."""
    reason = _REASON.match(line)
    return _cut(_SPEAKER.sub("", (reason[1] if reason else line).strip()).strip())


def _cut(line: str) -> str:
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}…"
