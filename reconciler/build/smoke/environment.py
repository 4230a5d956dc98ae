"""What the tests of an image run in: a pytest of their own, that nothing around it has an influence on."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import reconciler
from reconciler.build.process import Command
from reconciler.build.smoke.client_config import ALIAS, ClientConfig
from reconciler.build.smoke.records import LIMIT, PLUGIN

# All that tests are handed. A suite is code from the repository, and needs no credentials: no AWS_*, no CI's tokens,
# no agent's socket, no proxy.
_KEPT = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ")

_KEEPER = Path(__file__).with_name("keeper.py")
_GRACE = 3.0
"""Seconds for tests to end after SIGTERM. They hold nothing that a kill would leave behind."""

_LATE = 30
"""Seconds after its time a run ends itself: whoever follows it is to end it first, and to know why."""


def bare(inherited: Mapping[str, str], *, home: Path) -> dict[str, str]:
    """The environment of the OpenSSH client, and what that of tests is made of."""
    kept = {name: inherited[name] for name in _KEPT if name in inherited}
    return {**kept, "HOME": str(home)}


def pytest_command(
    target: Path,
    config: ClientConfig,
    *,
    folder: Path,
    environment: Mapping[str, str],
    limit: float,
) -> Command:
    """Run the tests in a file or folder against the instance, by whatever Python runs us.

    Of the repository only the suite's own conftest.py files count: the settings are an empty file of ours, and nothing
    above the suite is looked at. Plugins that happen to be installed here are not loaded (a suite may ask for some by
    `pytest_plugins`). `limit` is in seconds. A `keeper` of this process runs it, and ends all that the tests start.
    """
    root = target if target.is_dir() else target.parent
    settings = folder / "pytest.ini"
    settings.write_text("[pytest]\n", encoding="utf-8")
    arguments = [
        sys.executable, "-I", "-S", str(_KEEPER), str(os.getpid()), str(_GRACE),
        sys.executable, "-B", "-P", "-u", "-m", "pytest",
        "-p", PLUGIN, "-p", "testinfra.plugin", "-p", "no:cacheprovider",
        "-c", str(settings), "--rootdir", str(root), "--confcutdir", str(root),
        "--basetemp", str(folder / "tmp"),
        # testinfra would share a connection in its own way, and override our settings.
        f"--hosts=ssh://{ALIAS}?controlpersist=0", f"--ssh-config={config.file}",
        "--continue-on-collection-errors", "--color=no", "--tb=short", "--verbose", "-rfEsP",
        f"{LIMIT}={int(limit) + _LATE}",
        str(target),
    ]  # fmt: skip
    return Command(
        arguments,
        root,
        {
            **environment,
            "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
            "PYTHONUTF8": "1",
            # Where we are not installed but run from a checkout.
            "PYTHONPATH": str(Path(reconciler.__file__).parents[1]),
        },
    )
