"""All images that a repository declares, as read at one revision, with what their templates say of themselves."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from reconciler.model.declaration import Declaration, Settings
from reconciler.model.errors import Place, UserError
from reconciler.model.kind import Kind
from reconciler.model.source import SourceRequest

# What a Packer template says of itself, read without running Packer.

GIVEN_TEXTS = frozenset({"image_name", "build_id", "build_key", "run_id"})
GIVEN_TAGS = frozenset({"image_tags", "run_tags"})
"""Variables that the controller gives values to, where the template declares them; and the source's, by its kind."""


@dataclass(frozen=True)
class Variable:
    """A declared variable. `type` is as written (`string`, `map(string)`, empty where absent)."""

    name: str
    type: str
    place: Place
    default: object = None
    sensitive: bool = False
    has_default: bool = False
    """Whether it has one at all, known or not."""

    @property
    def holds_texts(self) -> bool:
        """Whether any text can be its value. Without a type, it has that of its default."""
        if not self._type:
            return self.default is None or isinstance(self.default, str)
        return self._type in ("string", "any")

    @property
    def holds_tags(self) -> bool:
        """Whether any mapping of texts can be its value."""
        if not self._type:
            return self.default is None or isinstance(self.default, dict)
        return self._type in ("map(string)", "map(any)", "any")

    @property
    def _type(self) -> str:
        return "".join(self.type.split()).strip('"')


@dataclass(frozen=True)
class Program:
    """A program that Packer runs where it is run itself. `user` is what needs it: `provisioner "ansible"`."""

    name: str
    user: str
    place: Place


@dataclass(frozen=True)
class BuildLocation:
    """Where a builder builds: a literal, or the variable that it is taken from with that variable's value."""

    value: str | None
    variable: str | None
    place: Place


@dataclass(frozen=True)
class Copies:
    """Where a builder copies to by itself. `all_known` is False where there may be more."""

    locations: tuple[str, ...]
    all_known: bool
    place: Place
    attribute: str = ""
    """The builder's attribute that says so."""


@dataclass(frozen=True)
class MachineUse:
    """How a builder uses the machine that Packer is run on, where there is a choice.

    `value` is as the template says; None where it says nothing, or nothing that is known. `variable` is that which is
    empty, and so is given what is found on the machine.
    """

    value: str | None
    variable: str | None
    place: Place
    is_said: bool = True
    """Whether the template says it at all."""


@dataclass(frozen=True)
class Builder:
    """One build that `packer build` would run. `name` is as `-only` takes it."""

    name: str
    type: str
    place: Place
    location: BuildLocation | None = None
    source: SourceRequest | None = None
    """What the template itself says that it is built on; None where it is a variable."""
    source_place: Place | None = None
    unpinned: str | None = None
    """Why it can't be known what it is built on, in words; None where it can, or where it is built on nothing."""
    ssh_username: str | None = None
    """Who Packer logs in as, where the template says it in so many words."""
    communicator: str = "ssh"
    tags: Mapping[str, str | None] = field(default_factory=dict)
    """Those that it puts on what it leaves, as far as their names are known; None for a value that is not."""
    part_tags: Mapping[str, str | None] = field(default_factory=dict)
    clears_keys: bool = False
    """Whether Packer takes its temporary key off the image again (`ssh_clear_authorized_keys`)."""
    copies: Copies | None = None
    """Where it copies what it made to by itself; None where it does not."""
    kind: Kind | None = None
    """Of what it leaves; None where it leaves nothing."""
    programs: tuple[str, ...] = ()
    """What it needs beside Packer where that is run, also to keep and to test what it leaves."""
    formats: tuple[str, ...] = ()
    """The formats that what it leaves can be converted to, and kept in beside it."""
    converter: str = ""
    """The program that does so; empty where there is none."""
    machine: MachineUse | None = None
    """How it uses the machine; None where there is no choice."""

    @property
    def how_reached(self) -> str:
        """Why what it leaves is not booted to be tested, where its communicator is not SSH: words behind its name."""
        if self.communicator == "none":
            return "has no communicator"
        return f"is reached by {self.communicator}, not SSH"


@dataclass(frozen=True)
class Template:
    """The facts of one template: a file, or a folder of HCL files that Packer reads as one."""

    format: Literal["hcl2", "json"]
    files: tuple[str, ...]
    builders: tuple[Builder, ...]
    variables: Mapping[str, Variable] = field(default_factory=dict)
    plugins: Mapping[str, str] = field(default_factory=dict)
    """Required plugins: name to `source constraint`."""
    plugin_places: Mapping[str, Place] = field(default_factory=dict)
    """Where each of them is required."""
    required_version: str = ""
    required_version_place: Place | None = None
    components: tuple[str, ...] = ()
    """Types of the builders, provisioners, post-processors and data sources that Packer has to know to build this."""
    constructs: Mapping[str, Place] = field(default_factory=dict)
    """The blocks and functions that it is written with, `data` or `regex()`, and where each is first; of HCL2 alone."""
    programs: tuple[Program, ...] = ()
    """What has to be on the machine that Packer is run on, each once."""
    undeclared: frozenset[str] = frozenset()
    """The variables that a JSON template uses and does not declare, which may be given a value all the same."""

    @property
    def makers(self) -> tuple[Builder, ...]:
        """The builders that leave an artifact. Of a valid image it is one; Packer's `null` builder leaves none."""
        return tuple(builder for builder in self.builders if builder.kind is not None)

    @property
    def place(self) -> Place:
        """Where to point a reader who asks for the template as a whole."""
        return Place(self.files[0])

    @property
    def chooses_source(self) -> bool:
        """Whether one of its builders is built on something that only Packer knows."""
        return any(builder.unpinned is not None for builder in self.builders)

    @property
    def source_variables(self) -> frozenset[str]:
        """The variables that its builders take a source from, by their kinds."""
        kinds = (builder.kind for builder in self.builders if builder.kind is not None)
        return frozenset(kind.source_variable for kind in kinds if kind.source_variable)

    def taking(self, attribute: str, variable: str) -> str:
        """How an attribute takes its value from a variable, in the template's own syntax."""
        if self.format == "json":
            return f'"{attribute}": "{{{{user `{variable}`}}}}"'
        if self.files[0].endswith(".json"):
            return f'"{attribute}": "${{var.{variable}}}"'
        return f"{attribute} = var.{variable}"

    def declares(self, variable: str) -> bool:
        """Whether a value may be passed for this variable; Packer refuses undeclared ones."""
        return variable in self.variables

    def takes(self, variable: str) -> bool:
        """Whether it declares this variable so that what the controller gives can be its value.

        A template may have had a `build_id` of its own, a number, before the controller came.
        """
        declared = self.variables.get(variable)
        if declared is None:
            return False
        return declared.holds_tags if variable in GIVEN_TAGS else declared.holds_texts


# All images that a repository declares, as read at one revision.


@dataclass(frozen=True, order=True, slots=True)
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
    kind: Kind
    source: SourceRequest | None
    """Declared, or else read from the template; None for a template that builds on nothing we can pin."""
    locations: tuple[str, ...]
    """Never empty; the first is where Packer builds."""
    inputs: tuple[InputFile, ...]
    notes: tuple[str, ...] = ()
    """What `validate` has to say that stops nothing."""
    copied_elsewhere: bool = False
    """Whether the template copies to where only Packer knows: no location is then one too many."""
    ruled_at: Mapping[str, Place] = field(default_factory=dict, compare=False)
    """Where image.yaml, or a default, says what of its builds: `hold`, `suspend`, `publish`, and each revoked build."""

    @property
    def source_variable(self) -> str:
        """The template's variable that is given the source: as declared, else its kind's."""
        return self.kind.variable_of(self.declaration.source)

    @property
    def names(self) -> tuple[str, ...]:
        """Its name, and the one that it had before, if it was moved: what its artifacts may say that they are of."""
        former = self.declaration.moved_from
        return (self.name, former) if former is not None else (self.name,)

    @property
    def build_location(self) -> str:
        """Where Packer builds."""
        return self.locations[0]

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats that its artifacts are kept in beside what Packer left, in order of name."""
        known = self.template.makers[0].formats if self.declaration.formats else ()
        return tuple(sorted(one for one in self.declaration.formats if one in known))

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
