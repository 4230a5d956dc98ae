"""From bytes to text: the checks that come before any parser."""

from __future__ import annotations

from reconciler.model.errors import Place, UserError

MAX_BYTES = 1024 * 1024


def decode(content: bytes, path: str) -> str:
    """Decode a file that a person wrote.

    Raises:
        UserError: it is above 1 MiB, or not UTF-8 (the byte's offset is named).
    """
    if len(content) > MAX_BYTES:
        raise UserError(
            f"the file has {len(content):,} bytes; at most {MAX_BYTES:,} are read",
            where=Place(path),
            mend="keep what is not declaration in files of its own",
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode(errors="replace")) + 1
        raise UserError(
            f"byte {error.start} (0x{content[error.start]:02x}) is not UTF-8",
            where=Place(path, before.count(b"\n") + 1, column),
            mend="save the file as UTF-8",
        ) from error
