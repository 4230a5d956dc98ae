"""What `reconciler verify` found out about a build. Its JSON is an interface (docs/provenance.md)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from reconciler.model.values import BuildId, Model

SCHEMA: Literal[1] = 1

Outcome = Literal["proven", "not proven", "wrong"]
Provenance = Literal["ours", "reviewed", "registry", "hearsay"]
"""What a fact rests on, the best first: what each means stands in `reconciler.plan.trust`."""
Check = Literal[
    "lockfile", "standing", "content", "commit", "record", "channel", "change", "commit-signature", "statement",
    "statement-signature", "smoke-test", "sbom", "tag", "tag-signature", "source", "registry", "published",
]  # fmt: skip
"""Stable codes: scripts choose by them. Each is explained in docs/provenance.md."""


class Finding(Model):
    """One claim, and whether it is proven. `wrong` is a claim that something contradicts."""

    check: Check
    outcome: Outcome
    what: str = Field(description="In plain words.")
    required: bool = Field(description="Whether the build counts as verified only when this is proven.")
    rests_on: tuple[Provenance, ...] = Field(
        (),
        description="What says so, the best first, whether that proves it or not; hearsay alone where nothing confirms "
        "it. Empty where nothing says so, or something says otherwise.",
    )


class Verification(Model):
    """A build, and all that was found out about it; `source` is the same of the parent's build that it is built on."""

    schema_version: Literal[1] = Field(SCHEMA, alias="schema")
    image: str
    build: BuildId
    verified: bool = Field(description="Nothing is wrong, here and below, and all that is required is proven.")
    findings: tuple[Finding, ...]
    source: Verification | None = Field(None, description="Of the parent's build; null where it is an upstream image.")

    def of(self, check: Check) -> tuple[Finding, ...]:
        """What was found by one check, in order."""
        return tuple(finding for finding in self.findings if finding.check == check)


@dataclass(frozen=True)
class Signature:
    """Whether something is signed, and by whom.

    `good`: by a key that is trusted. `untrusted`: it is valid, but the key is not in the allowed signers file.
    `unchecked`: nothing here says whose keys are trusted. `bad`: it does not fit what it stands beside.
    """

    state: Literal["good", "untrusted", "unchecked", "bad", "absent"]
    form: str = ""
    """`ssh`, `openpgp` or `x509`; empty where there is none."""
    by: str = ""
    key: str = ""
    why: str = ""
