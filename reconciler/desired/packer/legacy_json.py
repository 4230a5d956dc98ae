"""JSON templates from before HCL2 (`builders`, `provisioners`, `{{user `x`}}`), read as if they had been upgraded."""

from __future__ import annotations

import re
from collections.abc import Iterator

from reconciler.desired.complaints import did_you_mean
from reconciler.desired.located import Located, shorten
from reconciler.desired.packer.json_body import attribute, body_of, in_lower_case, members, objects
from reconciler.desired.packer.json_file import read_json
from reconciler.desired.packer.syntax import (
    Attribute,
    Block,
    Body,
    Constant,
    Expression,
    Interpolation,
    Listing,
    Opaque,
    SourceFile,
    Traversal,
)
from reconciler.model.errors import Place, UserError

_USER = re.compile(r"user\s*[`\"]([^`\"]+)[`\"]")
# packer-plugin-sdk/template/parse.go (rawTemplate); mapstructure compares without case.
_ROOT = frozenset({
    "min_packer_version", "description", "builders", "comments", "error-cleanup-provisioner", "post-processors",
    "provisioners", "sensitive-variables", "variables", "push",
})  # fmt: skip
_PATHS = {"template_dir": ("path", "root"), "pwd": ("path", "cwd")}


def read_legacy_json(content: bytes, path: str) -> SourceFile:
    """Parse one template.

    Raises:
        UserError: it is not a JSON object, has a key that Packer does not know, or a builder or provisioner in it has
            no type.
    """
    root = read_json(content, path)
    if not isinstance(root.value, dict):
        raise UserError(f"a template is an object, found {root.kind()}", where=root.place, mend="write { … }")
    _refuse_unknown(root.value)
    top = in_lower_case(root.value)
    sensitive = _texts(top.get("sensitive-variables"))
    blocks = [_variable(name, value, is_sensitive=name in sensitive) for name, value in members(top.get("variables"))]
    sources = list(_typed("source", top.get("builders")))
    blocks += sources
    if sources:
        blocks.append(Block("build", (), sources[0].place, _build(top, sources)))
    blocks += _packer(top.get("min_packer_version"))
    return SourceFile(path, Body({}, tuple(blocks)), calls_files=False)


def _refuse_unknown(root: dict[str, Located]) -> None:
    """Packer takes a key that begins with `_` for a comment, which is a text, and refuses what it does not know."""
    for name, value in root.items():
        if name.startswith("_"):
            if not isinstance(value.value, str):
                what = f'the comment "{shorten(name)}" is {value.kind()}, and Packer takes only a text for one'
                raise UserError(what, where=value.place, mend="write it as one text, or remove it")
        elif name.lower() not in _ROOT:
            raise UserError(
                f'there is no key "{shorten(name)}" at the top of a JSON template',
                where=value.place,
                mend=did_you_mean(name, _ROOT, none="remove it"),
            )


def read_engine_text(text: str, place: Place | None = None) -> Expression:
    """Read a string as Packer's template engine does: user variables and the two paths; other actions are opaque."""
    del place
    if "{{" not in text:
        return Constant(text)
    parts: list[Expression] = []
    end = 0
    for start, words, after in _actions(text):
        parts += [Constant(text[end:start])] if start > end else []
        parts.append(_action(words))
        end = after
    parts += [Constant(text[end:])] if end < len(text) else []
    return Interpolation(tuple(parts))


def _actions(text: str) -> Iterator[tuple[int, str, int]]:
    """Every `{{ … }}`: where it begins, what stands in it, and where the text goes on.

    Not by a pattern: that would look for the end anew from each brace of a long run.
    """
    after = 0
    while (start := text.find("{{", after)) >= 0 and (end := text.find("}}", start + 2)) >= 0:
        after = end + 2
        yield start, text[start + 2 : end].removeprefix("-").removesuffix("-").strip(), after


def _action(words: str) -> Expression:
    user = _USER.fullmatch(words)
    if user:
        return Traversal(("var", user[1]))
    return Traversal(_PATHS[words]) if words in _PATHS else Opaque()


def _variable(name: str, value: Located, *, is_sensitive: bool) -> Block:
    attributes = {} if value.value is None else {"default": attribute("default", value, read_engine_text)}
    if is_sensitive:
        attributes["sensitive"] = _constant("sensitive", Constant(True), value.place)
    return Block("variable", (name,), value.place, Body(attributes))


def _typed(kind: str, value: Located | None) -> Iterator[Block]:
    """Objects with a `type`, as blocks labelled with it; sources have their name for a second label."""
    for one in objects(value):
        inner = in_lower_case(one.value) if isinstance(one.value, dict) else {}
        type_ = inner.get("type")
        if type_ is None or not isinstance(type_.value, str):
            raise UserError('"type" is missing', where=one.place, mend="name the type of this builder or provisioner")
        name = inner.get("name")
        named = name.value if name is not None and isinstance(name.value, str) else type_.value
        labels = (type_.value, named) if kind == "source" else (type_.value,)
        yield Block(kind, labels, one.place, body_of(one, read_engine_text, any_case=True))


def _build(root: dict[str, Located], sources: list[Block]) -> Body:
    names = Listing(tuple(Constant(f"source.{block.labels[0]}.{block.labels[1]}") for block in sources))
    blocks = [*_typed("provisioner", root.get("provisioners"))]
    blocks += _typed("error-cleanup-provisioner", root.get("error-cleanup-provisioner"))
    for one in _flat(root.get("post-processors")):
        if isinstance(one.value, dict):
            blocks += _typed("post-processor", one)
    return Body({"sources": _constant("sources", names, sources[0].place)}, tuple(blocks))


def _flat(value: Located | None) -> Iterator[Located]:
    if value is None:
        return
    if isinstance(value.value, list):
        for one in value.value:
            yield from _flat(one)
    else:
        yield value


def _packer(version: Located | None) -> list[Block]:
    if version is None or not isinstance(version.value, str):
        return []
    wanted = _constant("required_version", Constant(f">= {version.value}"), version.place)
    return [Block("packer", (), version.place, Body({"required_version": wanted}))]


def _constant(name: str, expression: Expression, place: Place) -> Attribute:
    return Attribute(name, place, lambda: expression)


def _texts(value: Located | None) -> frozenset[str]:
    if value is None or not isinstance(value.value, list):
        return frozenset()
    return frozenset(item.value for item in value.value if isinstance(item.value, str))
