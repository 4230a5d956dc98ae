"""Is the suite that an image declares there to be run?"""

from __future__ import annotations

from fnmatch import fnmatchcase

from reconciler.desired.declared import Declared
from reconciler.desired.located import shorten
from reconciler.desired.paths import Paths
from reconciler.model.errors import Place, UserError
from reconciler.model.tree import REGULAR_MODES

_TESTS = ("test_*.py", "*_test.py")
"""What pytest looks for in a folder (its default for `python_files`)."""


def wrong_suite(declared: Declared, paths: Paths) -> UserError | None:
    """What is wrong with `smoke_test.suite`, or None. That its tests can be read is found out by running them."""
    written = declared.declaration.smoke_test.suite
    if written is None:
        return None
    where = declared.place("smoke_test", "suite")
    path = paths.resolve(written, declared.folder.path)
    if path is None:
        return UserError(
            f'smoke_test.suite: "{shorten(written)}" leads out of the repository',
            where=where,
            mend="commit the tests to this repository",
        )
    entry = paths.entries.get(path)
    if entry is not None:
        # Behind a link or a submodule may be a folder.
        return _no_tests(written, where) if entry.mode in REGULAR_MODES and not path.endswith(".py") else None
    files = paths.under(path)
    if not files:
        return UserError(
            f'smoke_test.suite: "{shorten(written)}" is nothing that is committed',
            where=where,
            mend=f"it was looked for at {path} from the repository's root",
        )
    if not any(fnmatchcase(file.rpartition("/")[2], pattern) for file in files for pattern in _TESTS):
        return UserError(
            f'smoke_test.suite: the folder "{shorten(written)}" holds no tests',
            where=where,
            mend=f"pytest runs files named {' or '.join(_TESTS)}",
        )
    return None


def _no_tests(written: str, where: Place) -> UserError:
    return UserError(
        f'smoke_test.suite: "{shorten(written)}" is no file of Python, and pytest reads no other',
        where=where,
        mend="name a file such as smoke/test_web.py, or a folder of them",
    )
