"""Recording: a commit on the head of the branch, pushed as a compare-and-swap; lost, it is made anew."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from reconciler.git.answer import Answer, Reply
from reconciler.git.command import Git
from reconciler.git.destination import Destination
from reconciler.git.history import is_ancestor
from reconciler.git.objects import Author, Commit, Recorded, write_commit, write_tag
from reconciler.git.refusal import InTheWay
from reconciler.git.store import read_tree
from reconciler.model.errors import Contention, ReconcilerError, Transient
from reconciler.model.tree import Tree

# How long to wait before the next try.

TRIES = 10
BASE_SECONDS = 1.0
GROWTH = 1.5
CAP_SECONDS = 30.0


def wait_seconds(tries: int, *, chance: float) -> float:
    """Seconds to wait after `tries` failed tries; `chance` is drawn evenly from 0 to 1.

    Full jitter: writers that collided once would meet again if each waited the same.
    (AWS Architecture Blog, "Exponential Backoff And Jitter"; base, growth and cap are those of Kargo's git pusher.)
    """
    return chance * min(CAP_SECONDS, BASE_SECONDS * GROWTH ** (tries - 1))


# Never a rebase: a lockfile that was merged line by line is one that nobody decided on. The caller says what it wants
# on each new head, and may say that it is not wanted any more.

Regenerate = Callable[[Tree], Commit | None]
"""What should be recorded on this tree; None if nothing any more. Called anew for every head; must not wait."""


@dataclass
class _Progress:
    """What the tries of one recording have left."""

    author: Author
    tries: int = 0
    sent: dict[str, Mapping[str, str]] = field(default_factory=dict)
    """Commits that were pushed without a clear answer, or without all of their tags: those not known to be there."""
    taken: set[str] = field(default_factory=set)
    """Tags whose name is taken."""
    blocked: dict[str, ReconcilerError] = field(default_factory=dict)
    """Tags that another tag's name keeps out, and the error that names it."""

    def left_out(self, name: str) -> bool:
        """Whether a tag is not to be asked for again."""
        return name in self.taken or name in self.blocked


@dataclass(frozen=True)
class _Missed:
    """A try that failed and may be repeated; at once if what stood in the way is known now."""

    error: ReconcilerError
    at_once: bool = False


class Recorder:
    """Records on one destination. One recorder may be used from several threads."""

    def __init__(
        self,
        git: Git,
        destination: Destination,
        *,
        author: str,
        sign: bool,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
        random: Callable[[], float],
    ) -> None:
        self._git = git
        self._destination = destination
        self._identity = author
        self._sign = sign
        self._now = now
        self._sleep = sleep
        self._random = random
        # Threads of one process would only beat each other in the race for the branch.
        self._one_at_a_time = threading.Lock()
        self._left_at: str | None = None
        """The commit that the branch was at when this run fetched it, or pushed last, until it is built on."""
        self.commits: tuple[str, ...] = ()
        """The commits that it recorded, oldest first; of a proposal, which holds all in one commit, that one."""

    def begin_at(self, branch: str, head: str) -> None:
        """Build on what the run has fetched of a branch, if it is the one to record to, and ask when a push is refused.

        Nothing is lost by that: the push is the fence. Git refuses a branch that has moved before it sends anything.
        """
        if branch == self._destination.branch:
            self._left_at = head

    def record(self, regenerate: Regenerate) -> Recorded | None:
        """Commit what `regenerate` wants, and push it. None if it wants nothing.

        The author's time is taken once, so that a repeated try makes the same tags.

        Raises:
            Contention: lost the race for the branch ten times.
            Transient: the remote did not answer ten times, or a lock stood there each time.
            Terminal: the push is forbidden, the credentials are refused, or another ref is in the way.
            UserError: nothing can be recorded here: no such branch, no key to sign with.
        """
        progress = _Progress(Author(self._identity, self._now(), self._sign))
        while True:
            progress.tries += 1
            with self._one_at_a_time:
                result = self._try(regenerate, progress)
            if not isinstance(result, _Missed):
                return self._without_blocked(result, progress)
            if progress.tries >= TRIES:
                break
            if not result.at_once:
                self._sleep(wait_seconds(progress.tries, chance=self._random()))
        with self._one_at_a_time:
            landed = self._landed_after_all(progress)
        if landed is None:
            raise result.error
        return self._without_blocked(landed, progress)

    def _without_blocked(self, recorded: Recorded | None, progress: _Progress) -> Recorded | None:
        """The same, naming the tags that were kept out. What is recorded stands on the branch, with or without them."""
        if recorded is None or not progress.blocked:
            return recorded
        error = next(iter(progress.blocked.values()))
        why = "; ".join(filter(None, [recorded.why_owed, error.what, *error.hint]))
        return replace(recorded, owed_tags=(*recorded.owed_tags, *self._asked_for(progress.blocked)), why_owed=why)

    def _try(self, regenerate: Regenerate, progress: _Progress) -> Recorded | _Missed | None:
        # Mostly nobody pushed since we asked, or did: a run that records ten builds asks once. Where somebody did, the
        # push is refused, and the next try asks; and where nothing is to be pushed, which would tell, it asks at once.
        remembered, self._left_at = self._left_at, None
        try:
            head = remembered or self._destination.head()
        except (Contention, Transient) as error:
            return _Missed(error)
        landed = self._landed(head, progress)
        if landed is not None:
            return landed
        wanted = regenerate(read_tree(self._git, head))
        commit = self._written(wanted, head, progress) if wanted is not None else head
        if remembered is not None and commit == head:
            return self._try(regenerate, progress)
        if wanted is None:
            return None
        result = self._publish(wanted, commit, head, progress)
        if remembered is not None and isinstance(result, _Missed):
            return replace(result, at_once=True)
        return result

    def _written(self, wanted: Commit, head: str, progress: _Progress) -> str:
        return write_commit(self._git, head, changes=wanted.changes, message=wanted.message, author=progress.author)

    def _publish(self, wanted: Commit, commit: str, head: str, progress: _Progress) -> Recorded | _Missed:
        requested = [tag for tag in wanted.tags if not progress.left_out(self._git.tag(tag.name))]
        tags: dict[str, str] = {}
        for tag in requested:
            try:
                tags[self._git.tag(tag.name)] = write_tag(self._git, tag, author=progress.author)
            except InTheWay as error:
                self._leave_out([self._git.tag(tag.name)], progress, error, needed=commit == head)
        if commit == head and not tags:
            return self._recorded(head, progress, changed=False)
        reply = self._destination.publish(commit, onto=head, tags=tags)
        pushed = reply.commit or commit
        if commit != head and (reply.owed or reply.answer in (Answer.LOST, Answer.UNREACHABLE)):
            progress.sent[pushed] = reply.owed
        match reply.answer:
            case Answer.DONE:
                return self._done(reply, commit, onto=head, progress=progress)
            case Answer.TAG_EXISTS:
                progress.taken.update(reply.tags)
                return _Missed(self._destination.error(reply), at_once=True)
            case Answer.IN_THE_WAY if reply.tags and len(reply.tags) == len(reply.refs) and not reply.owed:
                kept_out = self._destination.error(reply)
                self._leave_out(reply.tags, progress, kept_out, needed=commit == head)
                return _Missed(kept_out, at_once=True)
            case Answer.LOST | Answer.LOCKED | Answer.UNREACHABLE:
                return _Missed(self._destination.error(reply))
            case _ if reply.owed:
                return _Missed(self._destination.error(reply), at_once=True)
            case _:
                raise self._destination.error(reply)

    def _done(self, reply: Reply, commit: str, *, onto: str, progress: _Progress) -> Recorded:
        """The outcome of a push by which the branch and the tags are as they were wanted."""
        self._left_at = commit if reply.commit is None else None
        changed = commit != onto
        if changed:
            self.commits = (*self.commits, commit) if reply.commit is None else (reply.commit,)
        behind = self._bring_along(commit, onto=onto)
        return self._recorded(reply.commit or commit, progress, changed=changed, left_behind=behind)

    def _leave_out(self, names: Iterable[str], progress: _Progress, error: ReconcilerError, *, needed: bool) -> None:
        """Do without tags that another tag keeps out, which anybody who may push tags can push.

        Raises the error where they are `needed`: where they are all that is recorded, and without a remote.
        """
        if needed or not self._destination.pushed:
            raise error
        progress.blocked.update(dict.fromkeys(names, error))

    def _landed(self, head: str, progress: _Progress, *, last: bool = False) -> Recorded | _Missed | None:
        """Whether an earlier try reached the remote although its answer, or some of its tags, did not.

        The record is there then. Tags that can't be made, or not by the `last` try, are said and take nothing from it.
        """
        for commit, sent in progress.sent.items():
            if not is_ancestor(self._git, commit, head):
                continue
            owed = {name: oid for name, oid in sent.items() if name not in progress.taken}
            reply = self._destination.publish(head, onto=head, tags=owed) if owed else Reply(Answer.DONE)
            if reply.answer is Answer.TAG_EXISTS:
                progress.taken.update(reply.tags)
                return self._landed(head, progress, last=last)
            error = self._destination.error(reply) if reply.answer is not Answer.DONE else None
            if isinstance(error, (Contention, Transient)) and not last:
                return _Missed(error)
            behind = self._bring_along(head, onto=commit)
            self.commits = (*self.commits, commit)
            recorded = self._recorded(commit, progress, changed=True, left_behind=behind)
            if error is not None:
                return replace(recorded, owed_tags=self._asked_for(owed), why_owed=error.what)
            return recorded
        return None

    def _landed_after_all(self, progress: _Progress) -> Recorded | None:
        try:
            landed = self._landed(self._destination.head(), progress, last=True) if progress.sent else None
        except (Contention, Transient):
            return None  # not known, and the last try's own error says why
        return landed if isinstance(landed, Recorded) else None

    def _asked_for(self, tags: Iterable[str]) -> tuple[str, ...]:
        """Tags as they were requested, by their names in git."""
        return tuple(name.removeprefix(self._git.tag("")) for name in tags)

    def _bring_along(self, commit: str, *, onto: str) -> str | None:
        """Let the checkout follow. What is recorded is recorded, whatever goes wrong with that."""
        try:
            return self._destination.bring_along(commit, onto=onto)
        except ReconcilerError as error:
            return error.what

    def _recorded(self, commit: str, progress: _Progress, *, changed: bool, left_behind: str | None = None) -> Recorded:
        return Recorded(
            commit=commit,
            branch=self._destination.branch,
            pushed=self._destination.pushed,
            changed=changed,
            tries=progress.tries,
            left_behind=left_behind,
        )
