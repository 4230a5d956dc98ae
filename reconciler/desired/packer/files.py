"""The files of a template and of its variables: which ones Packer reads, and each one parsed."""

from __future__ import annotations

import posixpath

from reconciler.desired.located import Located
from reconciler.desired.packer.hcl import read_hcl
from reconciler.desired.packer.hcl_json import read_hcl_json
from reconciler.desired.packer.json_body import body_of
from reconciler.desired.packer.json_file import read_json
from reconciler.desired.packer.legacy_json import read_legacy_json
from reconciler.desired.packer.syntax import Constant, SourceFile
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
    if b'"builders"' not in content or len(content) > MAX_BYTES:
        return False
    try:
        root = read_json(content, path)
    except UserError:
        # It says that it is one; the reader of templates reports what is wrong with it.
        return True
    return isinstance(root.value, dict) and "builders" in root.value


def parse_template(content: bytes, path: str) -> SourceFile:
    """Parse one file of a template, by the suffix that Packer goes by.

    Raises:
        UserError: it can't be read, with line and column.
    """
    if path.endswith(".pkr.json"):
        return read_hcl_json(content, path)
    return read_hcl(content, path) if path.endswith(".hcl") else read_legacy_json(content, path)


def parse_variables(content: bytes, path: str) -> SourceFile:
    """Parse a file of variables, HCL or JSON.

    Raises:
        UserError: it can't be read, with line and column.
    """
    if not path.endswith(".json"):
        return read_hcl(content, path)
    root: Located = read_json(content, path)
    if not isinstance(root.value, dict):
        raise UserError(f"a file of variables is an object, found {root.kind()}", where=root.place, mend="write { … }")
    return SourceFile(path, body_of(root, lambda text, _place: Constant(text)), calls_files=False)


def folder_of(path: str) -> str:
    """The folder that a file is in; `.` for the repository's root."""
    return posixpath.dirname(path) or "."
