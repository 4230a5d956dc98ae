"""All images that a repository declares, as read at one revision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.model.declaration import Declaration, Settings
from reconciler.model.errors import UserError
from reconciler.model.source import SourceRequest
from reconciler.model.template import Template


@dataclass(frozen=True, order=True)
class InputFile:
    """One file that feeds a build: its path relative to the image's folder, git mode and blob id."""

    path: str
    mode: str
    oid: str


@dataclass(frozen=True)
class Image:
    """One folder `desired/<name>/`: what was declared, what the template says, and every input file."""

    name: str
    folder: str
    declaration: Declaration
    template: Template
    source: SourceRequest | None
    """Declared, or else read from the template; None for a template that builds on nothing we can pin."""
    regions: tuple[str, ...]
    """Never empty for AMIs; the first is where Packer builds."""
    inputs: tuple[InputFile, ...]
    notes: tuple[str, ...] = ()
    """What `validate` has to say that stops nothing."""

    @property
    def build_region(self) -> str:
        """Where Packer builds."""
        return self.regions[0]

    @property
    def parent(self) -> str | None:
        """The name of the image in this fleet that it is built on."""
        return self.source.image if self.source else None


@dataclass(frozen=True)
class Fleet:
    """What was read at one revision. An invalid image stands in `problems` and not in `images`."""

    settings: Settings
    images: Mapping[str, Image]
    problems: Mapping[str, tuple[UserError, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Every declared image, valid or not, in order of name."""
        return tuple(sorted({*self.images, *self.problems}))
