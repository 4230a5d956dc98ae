"""The blocks at the top of a template: those that no Packer knows, and those that are there twice."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from reconciler.desired.complaints import did_you_mean
from reconciler.desired.packer.syntax import Attribute, Block, SourceFile
from reconciler.model.errors import Place, UserError

# Packer 1.16, hcl2template/parser.go (configSchema). Older ones know fewer; which one builds is not known here.
_KNOWN = frozenset(
    {
        "build", "communicator", "data", "hcp_packer_registry", "local", "locals", "packer", "source", "variable",
        "variables",
    }
)  # fmt: skip
_UNIQUE = frozenset({"variable", "source", "data"})
_COMMENT = "//"
"""In JSON, a key that begins so is a comment."""

Declared = tuple[tuple[str, ...], Place]
"""What is declared, by type and labels, and where."""


def wrong_blocks(files: Sequence[SourceFile]) -> Iterator[UserError]:
    """What Packer refuses of an HCL2 template before it looks into any block."""
    for file in files:
        for attribute in file.body.attributes.values():
            yield UserError(
                f'"{attribute.name}" is set outside of any block', where=attribute.place, mend="move it into its block"
            )
        for block in file.body.blocks:
            if block.type not in _KNOWN and not block.type.startswith(_COMMENT):
                yield UserError(
                    f'there is no block "{block.type}" at the top of a template',
                    where=block.place,
                    mend=did_you_mean(block.type, _KNOWN, none="remove it"),
                )
    for (kind, *labels), place, first in _twice(_declared(block for file in files for block in file.body.blocks)):
        name = " ".join([kind, *(f'"{label}"' for label in labels)])
        yield UserError(f"{name} is declared a second time; the first is {first}", where=place, mend="keep one of them")


def builders_named_twice(sources: Iterable[Block]) -> Iterator[UserError]:
    """The same of a JSON template from before HCL2, where the names of all builders are different."""
    for (name,), place, first in _twice(((block.labels[1],), block.place) for block in sources):
        yield UserError(
            f'a builder before is called "{name}", too ({first})', where=place, mend='give it a "name" of its own'
        )


def local_attributes(blocks: Iterable[Block]) -> Iterator[tuple[str, Attribute]]:
    """Every local by name, of `locals { x = … }` and `local "x" { expression = … }`."""
    for block in blocks:
        if block.type == "locals":
            yield from block.body.attributes.items()
        elif block.type == "local" and block.labels and "expression" in block.body.attributes:
            yield block.labels[0], block.body.attributes["expression"]


def notes_on_locals(attributes: Iterable[tuple[str, Attribute]]) -> Iterator[str]:
    """A note for each local that is there twice: Packer 1.6 takes one of them, later ones refuse the template."""
    for (name,), place, first in _twice(((name,), attribute.place) for name, attribute in attributes):
        yield (
            f"{place}: local.{name} is set a second time; the first is {first}. Packer 1.6 takes one of them, "
            "later ones refuse it"
        )


def _declared(blocks: Iterable[Block]) -> Iterator[Declared]:
    for block in blocks:
        if block.type in _UNIQUE and block.labels:
            yield (block.type, *block.labels), block.place
        elif block.type == "variables":
            yield from ((("variable", name), one.place) for name, one in block.body.attributes.items())


def _twice(declared: Iterable[Declared]) -> Iterator[tuple[tuple[str, ...], Place, Place]]:
    """What was declared before, where it is again, and where it was first."""
    first: dict[tuple[str, ...], Place] = {}
    for name, place in declared:
        if name in first:
            yield name, place, first[name]
        else:
            first[name] = place
