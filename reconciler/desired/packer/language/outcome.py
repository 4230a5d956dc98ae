"""Why an expression has no value: it is none, or Packer refuses it, or it can't be told what Packer makes of it."""

from __future__ import annotations


class Refused(Exception):
    """Packer ends with an error when it evaluates this."""


class Undecided(Exception):
    """What Packer makes of this can't be told without running it; the message says why."""


class Later(Undecided):
    """Only the build has this value: the time, the environment, a data source. It has one then, and can't fail."""


class Wrong(Exception):
    """The text is not HCL, seen at an offset."""

    def __init__(self, at: int, what: str, *, too_deep: bool = False) -> None:
        super().__init__(what)
        self.at = at
        self.what = what
        self.too_deep = too_deep
        """Whether it may be HCL, nested deeper than is read."""
