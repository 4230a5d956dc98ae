"""What an artifact is beside its content and its marks: who may use it, until when, and whether it may be removed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Self

from pydantic import Field

from reconciler.model.values import LAST, Instant, Model, format_instant, is_empty


class Grants(Model):
    """Who may use an artifact beside its owner, each list in order. Accounts, organizations and units by their ids."""

    accounts: tuple[str, ...] = Field((), exclude_if=is_empty)
    organizations: tuple[str, ...] = Field((), exclude_if=is_empty)
    organizational_units: tuple[str, ...] = Field((), exclude_if=is_empty)
    everybody: bool = Field(False, exclude_if=is_empty)

    @classmethod
    def of(
        cls,
        accounts: Iterable[str] = (),
        organizations: Iterable[str] = (),
        organizational_units: Iterable[str] = (),
        *,
        everybody: bool = False,
    ) -> Self:
        """Grants in their one order, each once."""
        return cls(
            accounts=tuple(sorted(set(accounts))), organizations=tuple(sorted(set(organizations))),
            organizational_units=tuple(sorted(set(organizational_units))), everybody=everybody,
        )  # fmt: skip

    def __bool__(self) -> bool:
        """Whether anybody may use it."""
        return any(self._each())

    def __sub__(self, other: Grants) -> Grants:
        """Those who are not among the others."""
        return Grants.of(
            set(self.accounts) - set(other.accounts), set(self.organizations) - set(other.organizations),
            set(self.organizational_units) - set(other.organizational_units),
            everybody=self.everybody and not other.everybody,
        )  # fmt: skip

    def __or__(self, other: Grants) -> Grants:
        """These and the others."""
        return Grants.of(
            (*self.accounts, *other.accounts), (*self.organizations, *other.organizations),
            (*self.organizational_units, *other.organizational_units), everybody=self.everybody or other.everybody,
        )  # fmt: skip

    def __and__(self, other: Grants) -> Grants:
        """Those who are among the others, too."""
        return self - (self - other)

    def __str__(self) -> str:
        """Everyone by id, an organization and its unit without what all such ids begin with; `nobody else` for none."""
        return ", ".join(self._each()) or "nobody else"

    def _each(self) -> Iterator[str]:
        yield from self.accounts
        yield from (one.rpartition("/")[2] for one in (*self.organizations, *self.organizational_units))
        if self.everybody:
            yield "everybody"


NOBODY = Grants()


class Care(Model):
    """What was done to an artifact beside making and marking it, so that just this can be undone.

    It is recorded before it is done, and dropped after it is undone: a run that is killed between leaves no grant of
    which nobody knows.
    """

    shared: Grants = Field(NOBODY, description="Whom it was shared with.", exclude_if=is_empty)
    deprecated: Instant | None = Field(
        None, description="From when it was to count as deprecated.", exclude_if=is_empty
    )
    protected: bool = Field(False, description="Whether it was protected from removal.", exclude_if=is_empty)
    withheld: Grants | None = Field(
        None, description="Who could use it before it was disabled as its build was revoked."
    )

    @property
    def undated(self) -> Care:
        """The same for every date from which it is deprecated."""
        return self.model_copy(update={"deprecated": format_instant(LAST)}) if self.deprecated is not None else self


NO_CARE = Care()
"""Of an artifact that was only made and marked."""


# Dates from which an artifact is deprecated.

AHEAD = timedelta(minutes=2)
"""A registry takes no date that is past, and its clock is not ours."""


def soon(now: datetime) -> datetime:
    """The first date that a registry surely takes, in whole minutes."""
    return whole_minute(now + AHEAD)


def whole_minute(moment: datetime) -> datetime:
    """The minute that is not before a moment: EC2 rounds to the nearest one, and that might be past."""
    whole = moment.astimezone(UTC).replace(second=0, microsecond=0)
    return whole if whole == moment else whole + timedelta(minutes=1)
