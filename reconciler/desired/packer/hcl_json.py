"""`*.pkr.json`: HCL2's own JSON syntax, where labels are nested keys and strings are templates."""

from __future__ import annotations

from reconciler.desired.located import Located
from reconciler.desired.packer.hcl import READS_FILES, names_in, read_template
from reconciler.desired.packer.json_body import attribute, body_of, members, objects
from reconciler.desired.packer.json_file import read_json
from reconciler.desired.packer.syntax import Attribute, Block, Body, Constant, Expression, SourceFile
from reconciler.model.errors import Place, UserError

_LABELS = {
    "source": 2, "data": 2, "variable": 1, "provisioner": 1, "post-processor": 1, "error-cleanup-provisioner": 1,
    "dynamic": 1,
}  # fmt: skip


def read_hcl_json(content: bytes, path: str) -> SourceFile:
    """Parse one `*.pkr.json` file.

    Raises:
        UserError: it is not a JSON object.
    """
    root = read_json(content, path)
    if not isinstance(root.value, dict):
        raise UserError(f"a template is an object, found {root.kind()}", where=root.place, mend="write { … }")
    blocks: list[Block] = []
    for name, value in root.value.items():
        if name == "build":
            blocks += [Block("build", (), value.place, _build(one)) for one in objects(value)]
        else:
            blocks += _blocks(name, value, (), count=_LABELS.get(name, 0))
    text = content.decode(errors="replace")
    return SourceFile(path, Body({}, tuple(blocks)), READS_FILES.search(text) is not None, names_in(text))


def read_template_text(text: str, place: Place) -> Expression:
    """Read a string as HCL reads a quoted template."""
    if "${" not in text and "%{" not in text:
        return Constant(text)
    return read_template(text, place)


def _build(value: Located) -> Body:
    attributes: dict[str, Attribute] = {}
    blocks: list[Block] = []
    for name, member in members(value):
        attributes[name] = attribute(name, member, read_template_text)
        if name == "source":
            blocks += _blocks(name, member, (), count=1)
        elif name == "post-processors":
            blocks += [Block(name, (), one.place, _build(one)) for one in objects(member)]
        else:
            blocks += _blocks(name, member, (), count=_LABELS.get(name, 0))
    return Body(attributes, tuple(blocks))


def _blocks(kind: str, value: Located, labels: tuple[str, ...], *, count: int) -> list[Block]:
    """Blocks whose labels are the next `count` levels of keys."""
    if count == 0:
        return [Block(kind, labels, value.place, body_of(one, read_template_text)) for one in objects(value)]
    found: list[Block] = []
    for label, member in members(value):
        found += _blocks(kind, member, (*labels, label), count=count - 1)
    return found
