"""A change of what is declared, for people to review: one commit on a branch of its own, for a pull request."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reconciler.git.answer import Answer
from reconciler.git.command import Git
from reconciler.git.destination import find_destination
from reconciler.git.objects import Author, Change, write_commit
from reconciler.git.refusal import as_error
from reconciler.git.remote import RemoteBranch
from reconciler.model.declaration import GitSettings
from reconciler.model.errors import Terminal, UserError
from reconciler.model.text import first_line


@dataclass(frozen=True)
class Offer:
    """A branch that changes are offered on, and the branch that they go into, as it was fetched.

    Attributes:
        recorded: The branch that state is recorded to, on its remote.
        head: Its head.
        branch: What is offered on.
    """

    git: Git
    recorded: RemoteBranch
    head: str
    branch: str
    settings: GitSettings

    def commit(self, change: Change, message: str, *, now: datetime) -> str:
        """Write the commit on the head, by the author of the settings. Nothing is pushed.

        Raises UserError where git takes no commit of that author, it can't be signed, or it would change nothing.
        """
        author = Author(self.settings.author, now, self.settings.sign)
        made = write_commit(self.git, self.head, changes=[change], message=message, author=author)
        if made == self.head:
            raise UserError(f"{change.path} on {self.recorded.branch} says so already")
        return made

    def push(self, commit: str) -> None:
        """Have the branch hold just this commit, in place of what was offered on it before.

        Raises:
            Terminal: somebody else committed to the branch, or the remote refuses the push.
            ReconcilerError: the remote could not be asked.
        """
        remote, ref = self.recorded.remote, f"refs/heads/{self.branch}"
        before = ""
        if self.branch in remote.branches():
            before = remote.fetch(self.branch)
            others = [
                line
                for line in self.git.run("log", "--format=%an <%ae> %h", before, f"^{self.head}").lines
                if not line.startswith(f"{self.settings.author} ")
            ]
            if others:
                raise Terminal(
                    f"somebody committed to the branch {self.branch} ({first_line(others[0])}), so it is left alone",
                    hint="merge its pull request, or delete the branch, and run once more",
                )
        reply = remote.publish({ref: commit}, expected={ref: before}, tags={})
        if reply.answer is not Answer.DONE:
            raise as_error(reply, remote=remote.name, branch=self.branch, proposed=True)


def offer(git: Git, settings: GitSettings, name: str) -> Offer:
    """Fetch the branch that state is recorded to, and name the one to offer a change of it on: `reconciler/NAME`.

    A fleet in a folder has branches of its own. Raises UserError where there is no remote that a pull request could be
    on, and as `find_destination` does.
    """
    recorded = find_destination(git, settings)
    if not isinstance(recorded, RemoteBranch):
        raise UserError(
            "there is no remote, so there can be no pull request",
            hint="add a remote, or run it without --pull-request",
        )
    below = f"{git.below.replace('/', '-')}-" if git.below else ""
    return Offer(git, recorded, recorded.head(), f"reconciler/{below}{name}", settings)
