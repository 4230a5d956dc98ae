"""Who uses an artifact, as the registry's account tells: what would break, or go on unseen, without it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.model.observation import TemplateVersion

Place = tuple[str, str]
"""An artifact's location and id."""
INSTEAD = "OTHER_ID"
"""Stands in a command for the artifact to use from now on, where none is known."""


@dataclass(frozen=True)
class Use:
    """One thing that uses an artifact. `by` names it for people, and `hint` is the command that moves it away."""

    place: Place
    by: str
    hint: str
    parameter: str | None = None
    """Its name, where it is one under which consumers look the artifact up (`Published.name`)."""
    version: TemplateVersion | None = None
    """Which version, where that name is a launch template's."""
    default: bool = False
    """Whether that version is the template's default."""
    spare: bool = False
    """Whether that template is this fleet's, and nobody gets that version but by its number: neither its default nor
    its newest."""

    def is_left_by(self, build: str) -> bool:
        """Whether it is a spare version that was made for a build: it goes with the build's artifact."""
        return self.spare and self.version is not None and self.version.is_of(build, self.place[1])


@dataclass(frozen=True)
class Usage:
    """All that is known to use some artifacts. What could not be read may be in use."""

    uses: tuple[Use, ...] = ()
    unread: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Why something could not be asked about, by location, one cause a text."""
    unknown: Mapping[Place, str] = field(default_factory=dict)
    """Why it is not known whether those use an artifact who may beside its owner."""

    def of(self, place: Place) -> tuple[Use, ...]:
        """What uses one artifact."""
        return tuple(use for use in self.uses if use.place == place)
