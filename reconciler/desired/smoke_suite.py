"""Is the suite that an image declares there to be run?"""

from __future__ import annotations

from fnmatch import fnmatchcase

from reconciler.desired.declared import Declared
from reconciler.desired.located import shorten
from reconciler.desired.paths import Paths, resolve
from reconciler.model.errors import UserError

_TESTS = ("test_*.py", "*_test.py")
"""What pytest looks for in a folder (its default for `python_files`)."""


def wrong_suite(declared: Declared, paths: Paths) -> UserError | None:
    """What is wrong with `smoke_test.suite`, or None. That its tests can be read is found out by running them."""
    written = declared.declaration.smoke_test.suite
    if written is None:
        return None
    where = declared.place("smoke_test", "suite")
    path = resolve(written, declared.folder.path)
    if path is None:
        return UserError(
            f'smoke_test.suite: "{shorten(written)}" leads out of the repository',
            where=where,
            mend="commit the tests to this repository",
        )
    if path in paths.entries:
        return None
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
