"""What is wrong with a file of tests that cannot be read, and in which line. pytest's process does this."""

from __future__ import annotations

import traceback
from pathlib import Path

from reconciler.build.smoke.records import Broken
from reconciler.build.smoke.wording import cut

_DETAILS = 20_000


def broken(nodeid: str, raised: BaseException | None, *, root: Path, details: str) -> Broken:
    """What to say of a file. `nodeid` is what pytest was about to read, from `root`; `raised` is what came of it.

    The path is that of a conftest.py where that is what cannot be read: pytest reads it on its way.
    """
    path = nodeid.partition("::")[0]
    if raised is None:
        return Broken(path, 0, last_line(details), details[-_DETAILS:])
    # pytest's ConftestImportFailure, which has no public name, has both; its CollectError has a cause.
    conftest, cause = getattr(raised, "path", None), getattr(raised, "cause", None) or raised.__cause__ or raised
    if isinstance(conftest, Path):
        path = str(conftest.relative_to(root)) if conftest.is_relative_to(root) else conftest.name
    return Broken(path, _line(root / path, cause), _what(cause), details[-_DETAILS:] or str(cause))


def last_line(text: str) -> str:
    """The last line that says something, without the `E` that pytest puts before errors."""
    lines = [line.removeprefix("E").strip() for line in text.splitlines() if line.strip()]
    return cut(lines[-1]) if lines else "nothing says why"


def _what(cause: BaseException) -> str:
    if isinstance(cause, SyntaxError):
        return cut(f"{type(cause).__name__}: {cause.msg}")
    said = next((line for line in str(cause).splitlines() if line.strip()), "")
    # CollectError has nothing to add to what it says.
    return cut(said if type(cause).__name__ == "CollectError" else f"{type(cause).__name__}: {said}".rstrip(": "))


def _line(path: Path, cause: BaseException) -> int:
    """The line of this file where it went wrong; 0 where it is not in there."""
    if isinstance(cause, SyntaxError) and cause.filename is not None and Path(cause.filename) == path:
        return cause.lineno or 0
    frames = traceback.extract_tb(cause.__traceback__)
    return next((frame.lineno or 0 for frame in reversed(frames) if Path(frame.filename) == path), 0)
