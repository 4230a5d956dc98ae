"""A build that came to nothing, with what a person and the next run need to know of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from reconciler.build.provisioner import Provisioner
from reconciler.model.errors import Place, Terminal
from reconciler.model.lockfile import Artifact

Cause = Literal["failed", "timed-out", "cancelled", "killed", "no-artifact", "not-packer"]


class BuildFailed(Terminal):
    """Packer ran, and there is no image to record. Told from other errors so that its attempts are counted.

    `cause` is one of:
        failed: a build ended with an error, in `provisioner` if that is not None.
        timed-out: it was stopped after its time.
        cancelled: it was stopped because it was asked to, by us or by somebody else's signal.
        killed: Packer died by a signal of somebody else, without cleaning up.
        no-artifact: it ended well and left nothing.
        not-packer: what was printed is not what Packer prints.

    `tail` holds the last lines, at most 20, without secrets. `seconds` are whole, since Packer's start. `artifacts` are
    what builds beside the failed one did leave: they carry no key, so they count as partial and are swept.
    `cleaned_up` is False where Packer was killed, so that an instance may be left.
    """

    def __init__(
        self,
        what: str,
        *,
        cause: Cause,
        seconds: int,
        log: Path,
        tail: Sequence[str] = (),
        provisioner: Provisioner | None = None,
        artifacts: Sequence[Artifact] = (),
        cleaned_up: bool = True,
        where: Place | None = None,
        mend: str | Sequence[str] = (),
    ) -> None:
        super().__init__(what, where=where, mend=mend)
        self.cause = cause
        self.seconds = seconds
        self.log = log
        self.tail = tuple(tail)
        self.provisioner = provisioner
        self.artifacts = tuple(artifacts)
        self.cleaned_up = cleaned_up
