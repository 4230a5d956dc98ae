"""Facts of templates, kept from one run to the next.

Parsing is most of what a plan of many images does by itself: 0.8 s for 1,000 templates of 60 lines, as much as all the
rest beside the calls to EC2. What a template says depends on its files, on how Packer is run on it and on this
program, and on nothing else. So facts are kept under a digest of exactly that (`templates.py` makes it), and a thousand
of them are read back in 0.04 s. Errors are not kept: what is wrong with a template is found anew each time.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path

from reconciler.desired import sealed
from reconciler.desired.packer.file_references import Read
from reconciler.desired.packer.template import ReadTemplate
from reconciler.model.errors import Place
from reconciler.model.source import AmiRequest, SourceRequest
from reconciler.model.template import Builder, Reference, Region, Template, Variable

FILE = "templates"

_FACTS = (AmiRequest, Builder, Place, Read, ReadTemplate, Reference, Region, SourceRequest, Template, Variable)


class KnownTemplates:
    """What is known of templates: in a folder's file if one is given, else for as long as this object lives."""

    def __init__(self, folder: Path | None = None) -> None:
        self._file = folder / FILE if folder is not None else None
        self._used: dict[str, ReadTemplate] = {}

    @cached_property
    def _known(self) -> dict[str, ReadTemplate]:
        kept = sealed.load(self._file, _FACTS) if self._file is not None else None
        return dict(kept) if isinstance(kept, dict) else {}

    @cached_property
    def _in_file(self) -> frozenset[str]:
        return frozenset(self._known)

    def find(self, key: str) -> ReadTemplate | None:
        """The facts under a key, or None."""
        facts = self._known.get(key)
        if facts is not None:
            self._used[key] = facts
        return facts

    def add(self, key: str, facts: ReadTemplate) -> None:
        """Know these facts from now on."""
        self._in_file  # noqa: B018 - what is in the file is noted before anything is added
        self._known[key] = self._used[key] = facts

    def keep(self) -> None:
        """Write what was found or added to the file, if anything was added; the rest is dropped, so it never grows."""
        if self._file is not None and not self._used.keys() <= self._in_file and sealed.save(self._file, self._used):
            self._in_file = frozenset(self._used)
