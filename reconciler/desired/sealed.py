"""Values kept in a file from one run to the next, and believed only if this very code wrote them.

Nobody's memory: such a file may be deleted at any time, and what is not in it is worked out anew. It is believed only
when not a byte of it has changed since this code wrote it, and only the classes that are asked for are made of it, so
that reading it runs nothing.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import pydantic

import reconciler

_SEAL = hashlib.sha256().digest_size


def load(file: Path, classes: Iterable[type]) -> Any | None:
    """The value in a file, made of these classes and plain ones alone; None where there is none to believe."""
    try:
        content = file.read_bytes()
    except OSError:
        return None  # none was written yet
    seal, payload = content[:_SEAL], content[_SEAL:]
    if seal != _seal(payload):
        return None
    try:
        return _Known(payload, classes).load()
    except pickle.UnpicklingError:
        return None


def save(file: Path, value: object) -> bool:
    """Write a value; whether that was possible. A clone that can't be written to works all the same, if slower."""
    payload = pickle.dumps(value, protocol=5)
    try:
        _replace(file, _seal(payload) + payload)
    except OSError:
        return False
    return True


class _Known(pickle.Unpickler):
    """Makes the given classes, and no others."""

    def __init__(self, payload: bytes, classes: Iterable[type]) -> None:
        super().__init__(io.BytesIO(payload))
        self._classes = {(kind.__module__, kind.__qualname__): kind for kind in classes}

    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return self._classes[module_name, global_name]
        except KeyError as error:
            raise pickle.UnpicklingError(f"{module_name}.{global_name} is not expected here") from error


def _seal(payload: bytes) -> bytes:
    return hashlib.sha256(_writer() + payload).digest()


@cache
def _writer() -> bytes:
    """Which code writes: versions, and, since code changes without them too, the state of its files."""
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
