"""The beginning of a disk as it was looked at, over the file that qemu reads the rest of.

A header says which files a disk stands on, and who may write to the file may change it after it was looked at: also
unseen, as what is written by a mapping of the file moves none of its times before it is on the disk, or never (tmpfs).
So qemu is given the header that was looked at: as a layer, with the file below it.
"""

from __future__ import annotations

import struct
import tempfile
from typing import IO, Any

FRONT = 1 << 16
"""Bytes that are held: one cluster of the layer. Of all formats that lead to other files the header is in these."""
_BITS = 16
_OF_A_TABLE = FRONT // 8 * FRONT
"""Bytes of a disk for which one table of the layer is."""
_SECTOR = 512
_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
"""Of a qcow2 of version 2 (QEMU, docs/interop/qcow2.txt): no backing file, no encryption, no snapshots."""
_ENTRY = struct.Struct(">Q")
_OWN = 1 << 63
"""The flag of an entry that nothing else refers to what it is of."""
_REFERENCES, _TABLE, _DATA, _TABLES = (FRONT * cluster for cluster in (1, 2, 3, 4))
"""Where the layer has what counts references, of which a reader needs none, its one table, the front, and its list."""


def layer_of(front: bytes, size: int) -> IO[bytes]:
    """A layer that holds the front of a file of so many bytes. It has no name, and is the caller's to close."""
    tables, sectors = max(1, -(-size // _OF_A_TABLE)), -(-size // _SECTOR)
    layer = tempfile.TemporaryFile("w+b")  # noqa: SIM115 - the caller's
    parts = {
        0: _HEADER.pack(b"QFI\xfb", 2, 0, 0, _BITS, sectors * _SECTOR, 0, tables, _TABLES, _REFERENCES, 1, 0, 0),
        _TABLE: _ENTRY.pack(_DATA | _OWN),
        _DATA: front[:FRONT].ljust(FRONT, b"\0"),
        _TABLES: _ENTRY.pack(_TABLE | _OWN).ljust(tables * _ENTRY.size, b"\0"),
    }
    try:
        for where, what in parts.items():
            layer.seek(where)
            layer.write(what)
        layer.truncate(_TABLES + -(-tables * _ENTRY.size // FRONT) * FRONT)
        layer.flush()
    except BaseException:
        layer.close()
        raise
    return layer


def over(layer: str, below: str) -> dict[str, Any]:
    """What qemu is to read as one file: a layer, and the file below it, each by its path."""
    return {
        "driver": "qcow2", "file": {"driver": "file", "filename": layer},
        "backing": {"driver": "raw", "file": {"driver": "file", "filename": below}},
    }  # fmt: skip
