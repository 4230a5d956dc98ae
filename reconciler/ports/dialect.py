"""What reading and building a fleet asks of a kind: how its artifacts are spoken of, by people and by Packer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from reconciler.model.declaration import Settings
from reconciler.model.errors import Place
from reconciler.model.fleet import Builder
from reconciler.model.kind import Kind
from reconciler.model.lockfile import Artifact
from reconciler.model.source import Pin, SourceRequest


class Value(Protocol):
    """An attribute of a template, as far as it is known before the build."""

    @property
    def place(self) -> Place:
        """The place where the attribute is written."""

    @property
    def text(self) -> str | None:
        """The attribute as a text; None where it is not known, or is none."""

    @property
    def is_empty(self) -> bool:
        """Whether it is null or an empty text: most of Packer takes both for absent."""

    @property
    def texts(self) -> tuple[str, ...] | None:
        """The attribute as a list of texts, a single text as one of one; None where one of them is not known."""

    @property
    def listed(self) -> tuple[str | None, ...]:
        """The same, with None for each that is not known; empty where it is null."""

    @property
    def members(self) -> Mapping[str, tuple[str, ...] | None] | None:
        """The attribute as a mapping, each value as `texts` has it; None where it is not known, or is none."""

    @property
    def named(self) -> Mapping[str, str | None]:
        """The members of a mapping whose names are known, whatever else it is put together of."""

    @property
    def why_unknown(self) -> str:
        """Why it is not known, in words; empty where it is."""

    @property
    def variable(self) -> str | None:
        """The variable whose value it is, where it is nothing else; also through locals."""

    @property
    def data(self) -> Written | None:
        """The data source that it is taken of, where it is nothing else. Raises UserError where there is no such."""


class Written(Protocol):
    """A block of a template: a builder, a post-processor, a data source, or a block in one of them."""

    @property
    def name(self) -> str:
        """What `-only` calls a builder; the label of any other block."""

    @property
    def type(self) -> str:
        """Its type, as the template has it."""

    @property
    def place(self) -> Place:
        """Where it begins."""

    @property
    def declares_run_tags(self) -> bool:
        """Whether its template takes marks for what a build needs while it runs."""

    def get(self, attribute: str) -> Value | None:
        """An attribute, or None where it has none of that name."""

    def blocks(self, *types: str) -> Sequence[Written]:
        """The blocks in it of these types, in order; of any type without one."""

    @property
    def after(self) -> Sequence[Written]:
        """The post-processors that run on what a builder leaves, in order."""


@dataclass(frozen=True)
class Made:
    """One artifact that Packer reported: by which builder or post-processor, its id, and its files, as Packer says.

    `builder_id` is what the Go type calls itself, such as `mitchellh.amazonebs`.
    """

    builder: str
    builder_id: str
    id: str
    files: tuple[str, ...] = ()


class Dialect(Protocol):
    """How one kind is spoken of."""

    @property
    def kind(self) -> Kind:
        """Its words and limits."""

    @property
    def sources(self) -> Mapping[str, Any]:
        """What stands behind the words that `source:` takes for it: a pydantic model, or an annotated text."""

    def builder(self, written: Written) -> Builder:
        """The facts of a builder. Raises UserError for what can't be right."""

    def notes(self, written: Written) -> Iterator[str]:
        """What `validate` says of a builder that works, and could be better kept."""

    def wrong_location(self, location: str) -> str | None:
        """What a location is not: `the whole path of a folder`; None where it has the right form."""

    def wrong_name(self, name: str) -> str | None:
        """Why no channel can be published under a name that `publish:` gives; None where one can."""

    def artifacts(self, made: Made) -> Sequence[Artifact]:
        """What Packer's artifact stands for; empty where it is none of this kind's."""

    def built_on(self, said: str) -> str | None:
        """The id of what a build is built on, where a line of its output says so."""

    def left(self, said: str) -> str | None:
        """The id of what a build leaves, where a line of its output says so before the build is through."""

    def name_taken(self, said: str) -> tuple[str, tuple[str, ...]] | None:
        """The line that says that another artifact has the name already, and the ids of those that have it."""

    def meant_earlier(self, asked: Any, named: str, *, now: Pin, resolve: Callable[[SourceRequest], Pin]) -> Pin | None:
        """The whole pin of what a mark names as a source, where the registry's own word is that it may have been meant.

        None where it is something else, or where no registry tells. Raises as `resolve` does.

        Args:
            asked: What the source asks for, as its kind wrote it.
            named: The id that the mark names.
            now: What is meant now.
            resolve: Asks the registry, in the place of `now`. Raises UserError for what is not there.
        """

    def environment(
        self, settings: Settings, inherited: Mapping[str, str], *, folder: Path, location: str
    ) -> dict[str, str]:  # fmt: skip
        """The environment in which Packer builds in a location. What it has to read is written to `folder`."""

    def subject(self, location: str, artifact_id: str) -> Mapping[str, str]:
        """What an artifact is named by in its provenance: a digest, by the name of its algorithm (in-toto)."""
