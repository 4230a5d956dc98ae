"""How artifacts of no known kind are spoken of: as Packer does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from reconciler.model.fleet import Builder, BuildLocation
from reconciler.model.kind import Kind
from reconciler.model.lockfile import Artifact
from reconciler.ports.dialect import Made, Written
from reconciler.registries.plain import PlainDialect

OTHER = Kind(
    name="other", artifact="an artifact", location="location", registry="Packer", key="locations",
    example_location="packer", observed=False, boots=False,
)  # fmt: skip
_PLACE = OTHER.example_location
"""Where it is, for all that is known: wherever Packer put it."""


class OtherDialect(PlainDialect):
    """The `Dialect` of all builders that no other kind names."""

    kind: Kind = OTHER

    def builder(self, written: Written) -> Builder:
        """That it is one."""
        return Builder(written.name, written.type, written.place, BuildLocation(_PLACE, None, written.place))

    def notes(self, written: Written) -> Iterator[str]:
        """That nothing will be known of what it leaves."""
        yield (
            f"{written.place}: what {written.type} leaves is of no kind that is known here: it is built and recorded "
            "as what Packer says, and neither looked for, tested nor retired"
        )

    def wrong_location(self, location: str) -> str | None:
        """There is one."""
        return None if location == _PLACE else f"`{_PLACE}`, where all is that only Packer knows of"

    def artifacts(self, made: Made) -> Sequence[Artifact]:
        """Whatever Packer calls it."""
        return [Artifact(kind=OTHER.name, builder=made.builder, location=_PLACE, id=made.id)]

    def subject(self, location: str, artifact_id: str) -> Mapping[str, str]:
        """Its id; that it is a digest of anything, nobody knows."""
        del location
        return {OTHER.name: artifact_id}


DIALECT = OtherDialect()
