"""Lets `python -m reconciler` be the `reconciler` command."""

from reconciler.cli.main import run

run()
