"""Builds the package in a folder of its own. All that there is to say of it stands in pyproject.toml.

setuptools builds in `build/` beside the source, takes what lies there for built already, and packs it. From a clone in
which an older commit was built, modules would be installed that were deleted since (pypa/setuptools#1871).
"""

from __future__ import annotations

import atexit
from tempfile import TemporaryDirectory

from setuptools import setup
from setuptools.command.build import build


class BuildApart(build):
    """Setuptools' `build`, in a temporary folder that goes when this process ends."""

    def initialize_options(self) -> None:
        """Choose the folder; `--build-base` still takes another."""
        super().initialize_options()
        folder = TemporaryDirectory(prefix="reconciler-build-")
        atexit.register(folder.cleanup)
        self.build_base = folder.name


setup(cmdclass={"build": BuildApart})
