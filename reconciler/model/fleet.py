"""All images that a repository declares, as read at one revision."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
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
    """Never empty; the first is where Packer builds."""
    inputs: tuple[InputFile, ...]
    notes: tuple[str, ...] = ()
    """What `validate` has to say that stops nothing."""
    copied_elsewhere: bool = False
    """Whether the template copies to regions that only Packer knows: no region is then one too many."""

    @property
    def build_region(self) -> str:
        """Where Packer builds."""
        return self.regions[0]

    @property
    def input_paths(self) -> tuple[str, ...]:
        """The paths of the inputs from the repository's root."""
        return tuple(posixpath.normpath(posixpath.join(self.folder, file.path)) for file in self.inputs)

    @property
    def parent(self) -> str | None:
        """The name of the image in this fleet that it is built on."""
        return self.source.image if self.source else None


@dataclass(frozen=True, kw_only=True)
class UnreadImage(Image):
    """An image that is what its newest recorded build was made of; its template is read when somebody asks for it.

    That template was read and checked before it was built, and nothing that its facts depend on has changed since. A
    plan that finds the image in sync needs none of them. `notes` are those of a template, and so there are none.
    """

    template: Template = field(init=False, repr=False, compare=False)
    components: Mapping[str, str]
    """The digests of what it is made of but its source, as that build records them (docs/key.md)."""
    read: Callable[[], Template] = field(repr=False, compare=False)
    """Reads the template and checks it. Raises UserError for what is wrong with it."""

    def __getattr__(self, name: str) -> Template:
        # Python asks here for what an instance lacks: the template, once.
        if name != "template":
            raise AttributeError(name)
        template = self.read()
        object.__setattr__(self, name, template)
        return template


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
