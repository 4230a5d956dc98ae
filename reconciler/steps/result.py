"""What became of each image in a run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from reconciler.model.difference import Difference
from reconciler.model.errors import DONE, INTERRUPTED, LOST_RACE, PARTIAL, Contention, ReconcilerError
from reconciler.model.lockfile import Build, Lockfile, SmokeTestResult
from reconciler.model.plan import Plan

Status = Literal["built", "adopted", "unchanged", "changed", "superseded", "skipped", "failed", "interrupted"]


@dataclass(frozen=True)
class Deed:
    """One thing that was done to an image beside building or adopting it, as a row says it."""

    verb: Literal["copied", "retagged", "promoted", "rejected", "renamed", "retired", "recorded"]
    what: str


@dataclass(frozen=True)
class Result:
    """One image's end. `lock` is what is recorded of it now.

    `build` is the one that counts from now on: where another run was faster with the same content, that run's.
    """

    image: str
    status: Status
    lock: Lockfile
    build: Build | None = None
    seconds: int = 0
    why: str = ""
    error: ReconcilerError | None = None
    commit: str | None = None
    tags: tuple[str, ...] = ()
    tested: SmokeTestResult | None = None
    did: tuple[Deed, ...] = ()
    """What else was done, in order; of a `changed` image, all of it."""
    difference: Difference | None = None
    """What changed inside since the build that was there; None where one of the two is not known."""

    @property
    def stands(self) -> bool:
        """Whether children may be built on it."""
        return self.status in ("built", "adopted", "unchanged", "changed") or (
            self.status == "superseded" and self.build is not None
        )


@dataclass(frozen=True)
class Report:
    """A whole run: what became of every image that was acted on, and the plan, which tells of the others."""

    results: tuple[Result, ...]
    plan: Plan

    @property
    def exit_code(self) -> int:
        """Interrupted before lost race before some failed: the most urgent thing first."""
        if any(result.status == "interrupted" for result in self.results):
            return INTERRUPTED
        if any(isinstance(result.error, Contention) for result in self.results):
            return LOST_RACE
        if any(result.status in ("failed", "skipped") for result in self.results):
            return PARTIAL
        if any(image.resting for image in self.plan.images):
            return PARTIAL  # it failed a while ago and still does not stand as declared
        return PARTIAL if self.plan.errored or not self.plan.complete else DONE
