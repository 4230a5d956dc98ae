"""Packs the CircleCI orb: its folder of small files as one, the way `circleci orb pack` does, which is not needed here.

    orb.py pack                       print it as it is published, with this clone's address and commit in it
    orb.py inline [CONFIG] [--check]  write it into a config that has an orb `reconciler`; by default, this project's

A packed orb is what CircleCI's own program makes of the folder (read in CircleCI-Public/circleci-cli: `cmd/orb.go`,
`filetree/filetree.go`, `process/process.go`): `@orb.yml`, the files of `commands`, `jobs`, `executors` and `examples`
under their names, and a text that is `<< include(scripts/name.sh) >>` replaced by that file, with `<<` in it escaped.
"""

from __future__ import annotations

import argparse
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from reconciler.git.urls import is_of_this_machine, shareable

ROOT = Path(__file__).resolve().parents[1]
ORB = ROOT / ".circleci" / "orb"
CONFIG = ROOT / ".circleci" / "config.yml"
NAME = "reconciler"

_PARTS = ("commands", "executors", "jobs", "examples")
_ON_ONE_LINE = re.compile(rf"^orbs: *\{{ *{NAME}: *[^\s,{{}}]+ *\}}(?=\s)", re.MULTILINE)
"""`orbs:` with this orb alone, as the README has it."""
_INCLUDE = re.compile(r"<<\s*include\(([\w./-]+)\)\s*>>")


class OrbError(Exception):
    """The orb can't be packed, or the config can't hold it. The message names the file."""


def pack(folder: Path) -> dict[str, Any]:
    """The orb in a folder as one document. Raises OrbError."""
    root = folder / "@orb.yml"
    if not root.is_file():
        raise OrbError(f"{folder} is no orb: it has no @orb.yml")
    orb = _read(root)
    for part in _PARTS:
        entries = dict(orb.get(part, {}))
        for file in sorted(file for suffix in ("*.yml", "*.yaml") for file in (folder / part).glob(suffix)):
            if file.stem in entries:
                raise OrbError(f"{file}: there are two {part} named {file.stem}")
            entry = _read(file)
            entries[file.stem] = entry if part == "examples" else _with_includes(entry, folder)
        if entries:
            orb[part] = entries
    return orb


def published(orb: dict[str, Any], clone: Path) -> dict[str, Any]:
    """The orb with the clone's origin and commit as the default of every `from`: each version installs one commit.

    Raises OrbError where others could not have that commit.
    """
    entries = [entry for part in ("commands", "jobs") for entry in orb.get(part, {}).values()]
    asked = [entry["parameters"]["from"] for entry in entries if "from" in entry.get("parameters", {})]
    if asked:
        source = source_of(clone)
        for parameter in asked:
            parameter["default"] = source
    return orb


def inlined(config: str, orb: Mapping[str, Any]) -> str:
    """A config's text with the orb in place of what its orb `reconciler` was. All else stays as it is written.

    Raises OrbError where the config names no such orb.
    """
    lines = _ON_ONE_LINE.sub(f"orbs:\n  {NAME}: {{}}", config).splitlines(keepends=True)
    orbs = next((at for at, line in enumerate(lines) if re.match(r"orbs:\s*(#.*)?$", line)), len(lines))
    within = itertools.takewhile(lambda at: re.match(r"\s|#", lines[at]), range(orbs + 1, len(lines)))
    first = next((at for at in within if re.match(rf" +{NAME}:", lines[at])), None)
    if first is None:
        raise OrbError(
            f"the config has no `orbs:` with a `{NAME}:` in a line below\n"
            f"  write these two lines, and the orb comes in place of the second:\n    orbs:\n      {NAME}: {{}}"
        )
    depth = len(lines[first]) - len(lines[first].lstrip())
    after = first + 1
    while after < len(lines) and (not lines[after].strip() or len(lines[after]) - len(lines[after].lstrip()) > depth):
        after += 1
    while not lines[after - 1].strip():
        after -= 1
    # An inline orb has neither a version nor examples; its description is for the registry.
    body = {key: orb[key] for key in ("commands", "executors", "jobs") if key in orb}
    text = "".join(f"{' ' * (depth + 2)}{line}" if line.strip() else line for line in _lines(body))
    head = f"{' ' * depth}{NAME}: # packed from .circleci/orb by `make config`\n"
    return "".join([*lines[:first], head, text, *lines[after:]])


def source_of(clone: Path) -> str:
    """Where a clone's HEAD can be had by others: git+ADDRESS@COMMIT. Raises OrbError where it can't."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=clone, capture_output=True, text=True, check=True).stdout.strip()

    try:
        address, commit = git("remote", "get-url", "origin"), git("rev-parse", "HEAD")
        held = git("branch", "--remotes", "--contains", commit)
        changed = git("status", "--porcelain", "--", ".circleci/orb")
    except subprocess.CalledProcessError as error:
        raise OrbError(f"{clone}: {error.stderr.strip()}") from error
    if not held:
        raise OrbError(f"{commit} is on no branch of origin: push it first, or nobody could install it")
    if changed:
        raise OrbError(f"{clone}/.circleci/orb is not as {commit} has it: commit and push it first")
    if is_of_this_machine(address):
        raise OrbError(
            f"origin is {shareable(address)}, which is on this machine alone: nobody else could install from there\n"
            "  give it the address that others clone: git remote set-url origin ADDRESS"
        )
    # A published orb is read by many: what a clone's own address has of credentials stays out of it.
    return f"git+{shareable(address)}@{commit}"


def _read(file: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise OrbError(f"{file}: {error}") from error
    if not isinstance(found, dict):
        raise OrbError(f"{file}: a mapping is expected")
    return found


def _with_includes(value: Any, folder: Path) -> Any:
    if isinstance(value, dict):
        return {key: _with_includes(one, folder) for key, one in value.items()}
    if isinstance(value, list):
        return [_with_includes(one, folder) for one in value]
    if not isinstance(value, str) or not (found := _INCLUDE.search(value)):
        return value
    if found[0] != value:
        raise OrbError(f"an include has to be all of its text: {value!r}")
    file = (folder / found[1]).resolve()
    if not file.is_relative_to(folder.resolve()) or not file.is_file():
        raise OrbError(f"{found[1]} is no file of {folder}")
    return file.read_text(encoding="utf-8").replace("<<", "\\<<")


class _Dumper(yaml.SafeDumper):
    """Writes scripts as they read, in block style."""


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _represent_text)


def _lines(value: Mapping[str, Any]) -> Iterator[str]:
    text: str = yaml.dump(dict(value), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    yield from text.splitlines(keepends=True)


def main() -> int:
    """Do what the command line says. Returns the exit code."""
    parser = argparse.ArgumentParser(description="Pack the CircleCI orb of the reconciler.")
    parser.add_argument("--orb", type=Path, default=ORB, help="its folder")
    verbs = parser.add_subparsers(dest="verb", required=True)
    verbs.add_parser("pack", help="print it as it is published")
    inline = verbs.add_parser("inline", help="write it into a config that has an orb `reconciler`")
    inline.add_argument("config", type=Path, nargs="?", default=CONFIG)
    inline.add_argument("--check", action="store_true", help="write nothing; fail if that would change the config")
    asked = parser.parse_args()
    try:
        orb = pack(asked.orb)
        if asked.verb == "pack":
            sys.stdout.writelines(_lines(published(orb, ROOT)))
            return 0
        # In this very project the checkout says where the reconciler is, and a commit could not name itself.
        before = asked.config.read_text(encoding="utf-8")
        after = inlined(before, orb if asked.config.resolve() == CONFIG else published(orb, ROOT))
    except (OrbError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if asked.check and after != before:
        print(f"error: {asked.config} does not hold the orb as .circleci/orb has it\n  make config", file=sys.stderr)
        return 1
    if not asked.check:
        asked.config.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
