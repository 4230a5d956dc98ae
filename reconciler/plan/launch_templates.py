"""Launch templates that get a numbered version for each build that is stable: what one has, and what is to be done."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Lockfile, Reason
from reconciler.model.observation import Template
from reconciler.model.publish import Published
from reconciler.model.usage import Use


def templates_of(image: Image | None) -> Mapping[str, bool]:
    """The templates that an image is published to, by name, and whether the version is to be the default one."""
    declared = image.declaration.publish.launch_templates if image is not None else ()
    return {one.name.replace("{image}", image.name if image is not None else ""): one.set_default for one in declared}


@dataclass(frozen=True)
class VersionChange:
    """A version that is to be made of a template's default one, or that is to be its default, or both."""

    at: Published
    template: Template
    build: str
    artifact: str
    number: int | None
    """The version that is there already; None: it is made."""
    set_default: bool

    @property
    def reasons(self) -> Iterator[Reason]:
        """The same for people."""
        said = f"{self.at.location} {self.at.name}"
        if self.number is None:
            was = f"{said}: no version of {self.build}"
            now = f"a version of its default {self.template.default} with {self.artifact}"
            yield Reason(code="publication-changed", was=was, now=now)
        if self.moves_default:
            now = f"default {self.number or 'is that version'}"
            yield Reason(code="publication-changed", was=f"{said}: default {self.template.default}", now=now)

    @property
    def moves_default(self) -> bool:
        """Whether another version is the default now, and is not to be."""
        return self.set_default and self.number != self.template.default


@dataclass(frozen=True)
class Standing:
    """How one template stands: what is to be done, or why nothing is, and the version that is to be recorded."""

    change: VersionChange | None = None
    version: int | None = None
    refused: str | None = None
    lacking: str | None = None
    gone: bool = False
    """Whether `stable` points to nothing, so that no version is that of it."""


def standing(at: Published, lock: Lockfile, template: Template | None, *, set_default: bool) -> Standing:
    """Compare a template with where `stable` points. A version of its build that is there is taken, never made anew.

    `at` is as it is recorded, where it is.
    """
    if template is None:
        return Standing(refused="it is not there: make it, tagged with this fleet, or take the name away")
    if not template.ours:
        return Standing(refused="it does not carry this fleet's tag: give another name, or tag it reconciler:fleet")
    build = lock.build(lock.channels.stable)
    if build is None:
        return Standing(gone=True, refused=_left(lock, template) if set_default else None)
    artifact = build.artifact_in(at.location)
    if artifact is None:
        return Standing(lacking=f"{at.location} {at.name} waits for {build.id} in {at.location}")
    there = template.of(build.id, artifact.id, recorded=at.version)
    number = there.number if there is not None else None
    change = VersionChange(at, template, build.id, artifact.id, number, set_default)
    if template.misfit is not None and (number is None or change.moves_default):
        return Standing(version=number, refused=template.misfit)
    return Standing(change=change if number is None or change.moves_default else None, version=number)


def _left(lock: Lockfile, template: Template) -> str | None:
    """What stays of a default that nothing takes the place of; None where it launches nothing that is revoked."""
    revoked = {one.id for build in lock.builds if build.phase == "revoked" for one in build.artifacts}
    if template.launches not in revoked:
        return None
    return (
        f"its default stays version {template.default} with {template.launches}, which is revoked, as stable points to "
        "nothing: set another default by hand, or have a good build be stable"
    )


def leaves(use: Use, after: Lockfile, *, set_default: bool) -> bool:
    """Whether a version of a template that uses an artifact is one of ours that nobody gets by default then."""
    version = use.version
    ours = version is not None and any(version.is_of(build.id, use.place[1]) for build in after.builds)
    return ours and (set_default or not use.default)
