"""Which files are a template's, or hold its variables: by their names, and of JSON by what is at its top."""

from __future__ import annotations

import posixpath

from reconciler.desired.packer.json_file import read_json
from reconciler.desired.text import MAX_BYTES
from reconciler.model.errors import UserError

FOLDER_SUFFIXES = (".pkr.hcl", ".pkr.json")
"""What Packer reads of a folder; not its subfolders."""
AUTO_VARIABLES = (".auto.pkrvars.hcl", ".auto.pkrvars.json")


def is_hcl2(path: str) -> bool:
    """Whether a template is HCL2, in either syntax, by its name."""
    return path.endswith(FOLDER_SUFFIXES)


def may_be_legacy(path: str) -> bool:
    """Whether a file may be a JSON template from before HCL2, by its name."""
    return path.endswith(".json") and not path.endswith((".pkr.json", ".pkrvars.json"))


def is_legacy(content: bytes, path: str) -> bool:
    """Whether a JSON file has `builders` at its top. False for anything that can't be read."""
    if len(content) > MAX_BYTES or b'"builders"' not in content.lower():
        return False
    try:
        root = read_json(content, path)
    except UserError:
        # It says that it is one; the reader of templates reports what is wrong with it.
        return True
    return isinstance(root.value, dict) and "builders" in map(str.lower, root.value)


def why_not_legacy(content: bytes) -> str:
    """Why a JSON file is no template, where `is_legacy` says so."""
    if len(content) > MAX_BYTES:
        return f"it has {len(content):,} bytes, and at most {MAX_BYTES:,} are read"
    return 'it has no "builders"' if content.strip() else "it is empty"


def folder_of(path: str) -> str:
    """The folder that a file is in; `.` for the repository's root."""
    return posixpath.dirname(path) or "."
