"""Recording by pull request: one branch with one commit on top of the recorded branch, made anew by every recording.

For repositories whose default branch takes nobody's pushes. Nothing is ever put on top of what a person committed.

Whoever may push branches can push this one, under our name. So an earlier proposal is a word to look at and no more:
of its files in state/ those stay that are ours by a good signature, or (without `git.sign`) by our own records, or as
this very process pushed it; all else is made anew from the recorded branch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

from reconciler.git.answer import Reply
from reconciler.git.command import Git
from reconciler.git.destination import Destination
from reconciler.git.objects import Author, commit_tree
from reconciler.git.past import dates_of, moment
from reconciler.git.refusal import as_error
from reconciler.git.remote import Remote, RemoteBranch
from reconciler.git.signature import signed_by_us
from reconciler.git.store import LONGEST_SIGNED, read_tree, size_of
from reconciler.model.declaration import GitSettings
from reconciler.model.errors import ReconcilerError, Terminal, UserError
from reconciler.model.text import first_few, first_line
from reconciler.model.tree import Tree
from reconciler.plan.trust import began, believes

Confirms = Callable[[str, Tree, Tree], bool]
"""Whether our own records say of an image what a proposal says: its name, the recorded branch, the proposal."""

PROPOSAL = "reconciler/state"
"""The branch that is proposed for a fleet at the repository's root."""
_STATE = "state/"
_LOCKFILE = ".lock.json"
_BUILD_ID = "[0-9]{8}T[0-9]{6}Z-[0-9a-f]{7}"
"""What looks like one, in a pattern of git's."""


@dataclass(frozen=True)
class ProposalBranch:
    """The proposed branch, to record on; a `Destination`. `base` is the branch that the pull request goes into."""

    git: Git
    remote: Remote
    base: str
    author: str
    sign: bool
    confirms: Confirms
    pushed: bool = True
    made: set[str] = field(default_factory=set)
    """The proposals that this process made: what one run records of several images is all in the last of them."""

    @property
    def branch(self) -> str:
        """The branch that is proposed."""
        return proposal_branch(self.git)

    def head(self) -> str:
        """The base with what is proposed already and is ours: the proposal itself, or made anew where it is not so.

        Raises:
            Terminal: a person committed to the branch.
            ReconcilerError: the remote could not be asked.
        """
        base = self.remote.fetch(self.base)
        tip = self._tip()
        if tip is None:
            return base
        # Not `git diff`, which a person may have set up to run a program of their own.
        if self.git.succeeds("diff-tree", "--quiet", base, tip, "--", self.git.inside(_STATE)):
            return base  # it was merged, by whichever method, with whatever a person added to it
        return self._ours(tip, onto=base)

    def publish(self, commit: str, *, onto: str, tags: Mapping[str, str]) -> Reply:
        """Push one commit that holds all that is proposed, expecting the branch as it was when `head` looked."""
        base, tip = self.remote.known(self.base) or onto, self.remote.known(self.branch)
        squashed = commit if onto == base else self._squashed(commit, onto=base)
        self.made.add(squashed)
        moved = {f"refs/heads/{self.branch}": squashed} if commit != onto else {}
        reply = self.remote.publish(moved, expected=dict.fromkeys(moved, tip or ""), tags=tags)
        return replace(reply, commit=squashed)

    def bring_along(self, commit: str, *, onto: str) -> str | None:
        """Leave the checkout alone: it is on another branch."""
        del commit, onto
        return None

    def error(self, reply: Reply) -> ReconcilerError:
        """The error for a reply that is not DONE."""
        return as_error(reply, remote=self.remote.name, branch=self.branch, proposed=True)

    def _tip(self) -> str | None:
        """The proposal on the remote, fetched; None where there is none."""
        if self.branch not in self.remote.branches():
            self.remote.forget(self.branch)
            return None
        return self.remote.fetch(self.branch)

    def _ours(self, tip: str, *, onto: str) -> str:
        """What is proposed and is ours, on the base. The proposal itself where it is that and nothing else."""
        if size_of(self.git, tip) > LONGEST_SIGNED:
            return onto  # nobody wrote that: what it says is not read, and not shown
        parent = self._parent_of(tip)
        own = tip in self.made
        if not own and not believes(partial(is_our_proposal, self.git, tip, parent=parent), sign=self.sign):
            return onto  # how many files there are, and how large, chose whoever pushed it: none is looked at
        try:
            base, proposed = read_tree(self.git, onto), read_tree(self.git, tip)
        except UserError:
            return onto  # it holds more files than anybody lists
        changed = self._changed(parent, tip)
        ours = images = {image for path in changed if (image := image_of(path)) is not None}
        if not own and not self.sign:
            ours = {image for image in images if self.confirms(image, base, proposed)}
        if parent == onto and ours == images and all(image_of(path) is not None for path in changed):
            return tip
        # Not what the base recorded meanwhile. All of an image's files or none: an SBOM is nothing without the lockfile
        # that names it.
        ours = ours - {image_of(path) for path in self._changed(parent, onto)}
        return self._moved({path: entry for path, entry in changed.items() if image_of(path) in ours}, onto=onto)

    def _parent_of(self, tip: str) -> str:
        """The commit that the proposal was made on. Raises Terminal where a person committed to the branch.

        That it bears our name says no more than that no person asks for it to be left alone.
        """
        parents = self.git.run("rev-list", "--parents", "-n", "1", tip).text.split()[1:]
        author = self.git.run("log", "-1", "--format=%an <%ae>", tip).text
        above = self.git.run("rev-list", "--count", tip, f"^{self.remote.known(self.base)}").text
        if len(parents) != 1 or author != self.author or int(above) > 1:
            raise Terminal(
                f"somebody committed to the branch {self.branch} ({first_line(author)} {tip[:7]}), so it is left alone",
                hint="merge its pull request, or delete the branch: the next run proposes anew",
            )
        return parents[0]

    def _moved(self, kept: Mapping[str, str], *, onto: str) -> str:
        """What is kept of a proposal, on a base."""
        if not kept:
            return onto
        with self.git.with_own_index() as own:
            own.run("read-tree", onto)
            own.run("update-index", "-z", "--index-info", stdin="".join(kept.values()).encode())
            tree = own.run("write-tree", "--missing-ok").text
        # Not the proposal's time, which whoever pushed it chose. It is pushed by nobody: what is recorded is squashed.
        return self._commit(tree, like=onto, parent=onto)

    def _squashed(self, commit: str, *, onto: str) -> str:
        tree = self.git.run("rev-parse", f"{commit}^{{tree}}").text
        return self._commit(tree, like=commit, parent=onto)

    def _commit(self, tree: str, *, like: str, parent: str) -> str:
        """A commit with our message for all that is proposed; its time is that of the commit it stands for."""
        changed = (path.removeprefix(_STATE) for path in self._changed_tree(parent, tree))
        images = [path.removesuffix(_LOCKFILE) for path in changed if path.endswith(_LOCKFILE)]
        trailers = "\n".join(f"Reconciler-Image: {image}" for image in images)
        author = Author(self.author, moment(self.git.run("log", "-1", "--format=%ct", like).text), self.sign)
        message = f"Record state: {first_few(images, most=4)}\n\n{trailers}"
        return commit_tree(self.git, tree, parent=parent, message=message, author=author)

    def _changed(self, before: str, after: str) -> dict[str, str]:
        """Path, from the fleet's folder, to the line with which `update-index --index-info` takes the file over."""
        listing = self.git.run("diff-tree", "-r", "-z", "--no-renames", before, after).text.split("\0")
        found: dict[str, str] = {}
        for facts, path in zip(listing[::2], listing[1::2], strict=False):
            _, mode, _, oid, status = facts.lstrip(":").split(" ")
            entry = f"0 {oid}\t{path}\0" if status == "D" else f"{mode} {oid}\t{path}\0"
            found[self.git.outside(path)] = entry
        return found

    def _changed_tree(self, parent: str, tree: str) -> list[str]:
        return sorted(path for path in self._changed(parent, tree) if path.startswith(_STATE))


def is_our_proposal(git: Git, tip: str, *, parent: str) -> bool:
    """Whether a proposal is under our signature, by a key that was good when there was what it proposes, too.

    That is its parent, and each build that a lockfile in it names: whoever has a key that expired dates a commit back.
    """
    if not signed_by_us(git, tip, since=dates_of(git, parent)):
        return False  # how many files there are, and how large, chose whoever pushed it: none is looked at
    changed = git.run("diff-tree", "-r", "-z", "--no-renames", "--name-only", parent, tip, "--", git.inside(_STATE))
    lockfiles = [path for path in changed.text.split("\0") if path.endswith(_LOCKFILE)]
    found = git.attempt("grep", "--no-color", "--no-recurse-submodules", "-ohaE", _BUILD_ID, tip, "--", *lockfiles)
    ids = set(found.lines) if lockfiles else ()
    return signed_by_us(git, tip, since=[at for one in ids for at in began(one)])


def proposal_branch(git: Git) -> str:
    """The branch that state is proposed on; a fleet in a folder has one of its own."""
    return f"{PROPOSAL}-{git.below.replace('/', '-')}" if git.below else PROPOSAL


def proposal(
    git: Git, recorded: Destination, settings: GitSettings, *, confirms: Confirms | None = None
) -> ProposalBranch:
    """Where to record instead of on the recorded branch. Raises UserError without a remote to propose to.

    Without `confirms` nothing of an unsigned proposal is ours.
    """
    if not isinstance(recorded, RemoteBranch):
        raise UserError(
            "git.push is pull-request, and there is no remote to propose to",
            hint="add a remote, or set `git.push: direct` in desired/reconciler.yaml",
        )
    return ProposalBranch(
        git, recorded.remote, recorded.branch, author=settings.author, sign=settings.sign,
        confirms=confirms or (lambda _image, _base, _proposed: False),
    )  # fmt: skip


def image_of(path: str) -> str | None:
    """The image that a file in state/ belongs to: its lockfile, or what stands in a folder of its name; else None."""
    if not path.startswith(_STATE):
        return None
    kind, *below = path.removeprefix(_STATE).split("/")
    return below[0] if len(below) > 1 else kind.removesuffix(_LOCKFILE)
