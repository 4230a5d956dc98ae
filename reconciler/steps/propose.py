"""Propose: what was recorded on a branch of its own waits in a pull request, where `git.push` is pull-request."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.git.proposal import proposal_branch
from reconciler.steps.run import Run


@dataclass(frozen=True)
class Proposed:
    """What a run has proposed: the images, and what their pull request says, as Markdown."""

    images: tuple[str, ...] = ()
    body: str = ""


NOTHING = Proposed()


def propose(run: Run, images: tuple[str, ...], body: str, *, beside: Proposed = NOTHING) -> Proposed:
    """Have a pull request for what was recorded of images, and for what the run proposed before: there is one branch.

    Nothing where the run pushes what it records, or where nothing was recorded.
    """
    if not run.proposes or not images:
        return beside
    both = tuple(dict.fromkeys((*beside.images, *images)))
    said = "\n\n".join(one for one in (beside.body, body) if one)
    branch = proposal_branch(run.repository.git)
    run.adapters.host(run.known).propose(both, branch=branch, base=run.target.branch, body=said)
    return Proposed(both, said)
