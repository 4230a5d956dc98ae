"""Facts of templates, kept from one run to the next.

Parsing is most of what a plan of many images does by itself: 0.8 s for 1,000 templates of 60 lines, as much as all the
rest beside the calls to EC2. What a template says depends on its files, on how Packer is run on it and on this
program, and on nothing else. So facts are kept under a digest of exactly that (`templates.py` makes it), and a thousand
of them are read back in 0.04 s.

The file is nobody's memory: it may be deleted at any time, and what is not in it is parsed. It is believed only when
this very code wrote it and not a byte of it has changed since, and only classes in `_KEPT` are made of it, so reading
it runs nothing. Errors are not kept: what is wrong with a template is found anew each time.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pydantic

import reconciler
from reconciler.desired.packer.file_references import Read
from reconciler.desired.packer.template import ReadTemplate
from reconciler.model.errors import Place
from reconciler.model.source import AmiRequest, SourceRequest
from reconciler.model.template import Builder, Reference, Region, Template, Variable

FILE = "templates"

_FACTS = (AmiRequest, Builder, Place, Read, ReadTemplate, Reference, Region, SourceRequest, Template, Variable)
_KEPT: dict[tuple[str, str], type] = {(kind.__module__, kind.__name__): kind for kind in _FACTS}
_SEAL = hashlib.sha256().digest_size


class KnownTemplates:
    """What is known of templates: in a folder's file if one is given, else for as long as this object lives."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._known = _load(folder / FILE) if folder is not None else {}
        self._in_file = frozenset(self._known)
        self._used: dict[str, ReadTemplate] = {}

    def find(self, key: str) -> ReadTemplate | None:
        """The facts under a key, or None."""
        facts = self._known.get(key)
        if facts is not None:
            self._used[key] = facts
        return facts

    def add(self, key: str, facts: ReadTemplate) -> None:
        """Know these facts from now on."""
        self._known[key] = self._used[key] = facts

    def keep(self) -> None:
        """Write what was found or added to the file, if anything was added; the rest is dropped, so it never grows."""
        if self._folder is None or self._used.keys() <= self._in_file:
            return
        payload = pickle.dumps(self._used, protocol=5)
        try:
            _replace(self._folder / FILE, _seal(payload) + payload)
        except OSError:
            return  # a clone that can't be written to is planned all the same, if slower
        self._in_file = frozenset(self._used)


class _Facts(pickle.Unpickler):
    """Makes the classes that facts are made of, and no others."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return _KEPT[module_name, global_name]
        except KeyError as error:
            raise pickle.UnpicklingError(f"{module_name}.{global_name} is no part of a template's facts") from error


def _load(file: Path) -> dict[str, ReadTemplate]:
    try:
        content = file.read_bytes()
    except OSError:
        return {}  # none was written yet
    seal, payload = content[:_SEAL], content[_SEAL:]
    if seal != _seal(payload):
        return {}
    try:
        facts: dict[str, ReadTemplate] = _Facts(io.BytesIO(payload)).load()
    except pickle.UnpicklingError:
        return {}
    return facts


def _seal(payload: bytes) -> bytes:
    return hashlib.sha256(_writer() + payload).digest()


@cache
def _writer() -> bytes:
    """Which code writes these facts: versions, and, since code changes without them too, the state of its files."""
    root = Path(reconciler.__file__).parent
    modules = sorted([*root.glob("desired/**/*.py"), *root.glob("model/*.py")])
    stats = [(str(module), stat.st_size, stat.st_mtime_ns) for module in modules for stat in [module.stat()]]
    return repr((reconciler.__version__, pydantic.VERSION, stats)).encode()


def _replace(file: Path, content: bytes) -> None:
    """Write a file so that another run sees the old one or the new one. Torn by a crash, its seal is broken."""
    file.parent.mkdir(exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as new:
            new.write(content)
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
