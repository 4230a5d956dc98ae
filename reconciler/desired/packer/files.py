"""The files of a template and of its variables, each parsed by the suffix that Packer goes by."""

from __future__ import annotations

from reconciler.desired.located import Located
from reconciler.desired.packer.hcl import read_hcl
from reconciler.desired.packer.hcl_json import read_hcl_json
from reconciler.desired.packer.json_body import body_of
from reconciler.desired.packer.json_file import read_json
from reconciler.desired.packer.legacy_json import read_legacy_json
from reconciler.desired.packer.syntax import Constant, SourceFile
from reconciler.model.errors import UserError


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
