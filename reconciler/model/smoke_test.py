"""The result of booting an image and testing it, as a record has it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from reconciler.model.values import Digest, Model, is_empty


class FailedTest(Model):
    """A test that did not pass: its name as pytest gives it, and what it said, in one line."""

    test: str
    what: str


class HygieneFinding(Model):
    """Something of the build that stays in the image, and breaks nothing. `hint` says how to get rid of it."""

    code: str = Field(pattern=r"^[a-z][a-z-]*$", description="What it is, such as packer-key (docs/smoke-test.md).")
    text: str
    hint: str
    keys: tuple[str, ...] = Field((), description="Fingerprints of the keys it is about, `SHA256:…`.")


class SmokeTestResult(Model):
    """What the booted image was found to be. `skipped` is an image that was not booted, and `why` says so."""

    status: Literal["passed", "failed", "skipped"]
    tests: int = Field(0, ge=0, description="How many tests ran: the once-over that every image gets, and its suite.")
    seconds: int = Field(0, ge=0, description="From the request for an instance to the last test's end.")
    failed: tuple[FailedTest, ...] = ()
    why: str | None = None
    findings: tuple[HygieneFinding, ...] = Field(
        (), description="What of the build stays in the image and breaks nothing.", exclude_if=is_empty
    )
    suite: Digest | None = Field(
        None, description="Of what it was tested by: its suite's files and its settings.", exclude_if=is_empty
    )
