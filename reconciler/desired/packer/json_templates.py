"""Templates in JSON, from before HCL2 and of HCL2, as bodies of attributes and blocks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from reconciler.desired.located import Located, members, objects
from reconciler.desired.packer.engine import actions
from reconciler.desired.packer.hcl import READS_FILES, names_in, read_template
from reconciler.desired.packer.json_file import COMMENT, read_json, refuse_twice
from reconciler.desired.packer.json_shape import in_lower_case, refuse_as_packer_does
from reconciler.desired.packer.syntax import (
    Attribute,
    Block,
    Body,
    Constant,
    Expression,
    Interpolation,
    Listing,
    Opaque,
    Pairs,
    SourceFile,
    Traversal,
)
from reconciler.model.constraint import parse_version
from reconciler.model.errors import Place, UserError
from reconciler.model.text import shorten

# JSON objects as bodies of attributes and blocks, so that one reader serves all three syntaxes.

ReadText = Callable[[str, Place], Expression]
"""How a syntax finds expressions within a JSON string."""


def body_of(value: Located, read_text: ReadText, *, any_case: bool = False) -> Body:
    """Read an object both ways: each member is an attribute, and one that holds objects is a block as well.

    JSON doesn't tell the two apart; whoever asks for a name knows which one it is. With `any_case` the names of both
    count in whatever case they are written.
    """
    if not isinstance(value.value, dict):
        return Body()
    named = in_lower_case(value.value) if any_case else value.value
    attributes = {name: attribute(name, member, read_text) for name, member in named.items()}
    blocks = [
        Block(name, (), member.place, body_of(one, read_text, any_case=any_case))
        for name, member in named.items()
        for one in objects(member)
    ]
    return Body(attributes, tuple(blocks))


def attribute(name: str, value: Located, read_text: ReadText) -> Attribute:
    """One member as an attribute."""
    return Attribute(name, value.place, lambda: expression_of(value, read_text))


def expression_of(value: Located, read_text: ReadText) -> Expression:
    """A JSON value as an expression."""
    if isinstance(value.value, dict):
        members = ((Constant(key), expression_of(member, read_text)) for key, member in value.value.items())
        return Pairs(tuple(members))
    if isinstance(value.value, list):
        return Listing(tuple(expression_of(item, read_text) for item in value.value))
    if isinstance(value.value, str):
        return read_text(value.value, value.place)
    return Constant(value.value)


# JSON templates from before HCL2 (`builders`, `provisioners`, `{{user `x`}}`), read as if they had been upgraded.

_USER = re.compile(r"user\s*[`\"]([^`\"]+)[`\"]")
_CALLED = re.compile(r"([A-Za-z_]\w*)(?:\s|$)")
_ENGINES = frozenset({
    "aws_secretsmanager", "build", "build_name", "build_type", "consul_key", "env", "isotime", "join", "lower",
    "packer_version", "pwd", "replace", "replace_all", "sed", "split", "strftime", "template_dir", "timestamp", "upper",
    "user", "uuid", "vault",
    # Those of Go's text/template, and its words.
    "and", "call", "eq", "ge", "gt", "html", "index", "js", "le", "len", "lt", "ne", "not", "or", "print", "printf",
    "println", "slice", "urlquery", "block", "break", "continue", "define", "else", "end", "false", "if", "nil",
    "range", "template", "true", "with",
})  # fmt: skip
"""What an action may begin with (packer-plugin-sdk, template/interpolate/funcs.go; plugins add clean_…_name)."""
_PATHS = {"template_dir": ("path", "root"), "pwd": ("path", "cwd")}


def read_legacy_json(content: bytes, path: str) -> SourceFile:
    """Parse one template.

    Raises:
        UserError: it is not a JSON object, has a key twice, is refused by Packer for its shape (`json_shape`), asks for
            no version of Packer, or a builder or provisioner in it has no type.
    """
    root = read_json(content, path, equal_keys="refused")
    if not isinstance(root.value, dict):
        raise UserError(f"a template is an object, found {root.kind()}", where=root.place, hint="write { … }")
    refuse_as_packer_does(root.value)
    top = in_lower_case(root.value)
    sensitive = _texts(top.get("sensitive-variables"))
    blocks = [_variable(name, value, is_sensitive=name in sensitive) for name, value in members(top.get("variables"))]
    sources = list(_typed("source", top.get("builders")))
    blocks += sources
    if sources:
        blocks.append(Block("build", (), sources[0].place, _build(top, sources)))
    blocks += _packer(top.get("min_packer_version"))
    used = frozenset(("var", name) for name in _used_variables(content))
    return SourceFile(path, Body({}, tuple(blocks)), calls_files=False, names=used)


def read_engine_text(text: str, place: Place | None = None) -> Expression:
    """Read a string as Packer's template engine does: user variables and the two paths; other actions are opaque."""
    del place
    if "{{" not in text:
        return Constant(text)
    parts: list[Expression] = []
    end = 0
    for start, words, after in actions(text):
        parts += [Constant(text[end:start])] if start > end else []
        parts.append(_action(words))
        end = after
    if "{{" in text[end:]:
        parts.append(Opaque(wrong="{{ is never closed: }} is missing"))
    parts += [Constant(text[end:])] if end < len(text) else []
    return Interpolation(tuple(parts))


def _used_variables(content: bytes) -> Iterator[str]:
    """The user variables that a JSON template mentions, declared or not."""
    text = content.decode(errors="replace").replace('\\"', '"')
    return (match[1] for match in _USER.finditer(text))


def _action(words: str) -> Expression:
    user = _USER.fullmatch(words)
    if user:
        return Traversal(("var", user[1]))
    if words in _PATHS:
        return Traversal(_PATHS[words])
    called = _CALLED.match(words)
    is_none = called is not None and called[1] not in _ENGINES and not called[1].startswith("clean_")
    return Opaque(wrong=f"there is no function {called[1]} in texts of JSON" if called and is_none else "")


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
            raise UserError('"type" is missing', where=one.place, hint="name the type of this builder or provisioner")
        name = inner.get("name")
        named = name.value if name is not None and isinstance(name.value, str) else type_.value
        labels = (type_.value, named) if kind == "source" else (type_.value,)
        yield Block(kind, labels, one.place, body_of(one, read_engine_text, any_case=True))


def _build(root: dict[str, Located], sources: list[Block]) -> Body:
    names = Listing(tuple(Constant(f"source.{block.labels[0]}.{block.labels[1]}") for block in sources))
    blocks = [*_typed("provisioner", root.get("provisioners"))]
    blocks += _typed("error-cleanup-provisioner", root.get("error-cleanup-provisioner"))
    for one in _flat(root.get("post-processors")):
        if isinstance(one.value, str):
            blocks.append(Block("post-processor", (one.value,), one.place, Body()))
        else:
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
    """The version that `min_packer_version` asks for; Packer takes none, and an empty text, for nothing."""
    if version is None or version.value is None or version.value == "":
        return []
    text = version.value if isinstance(version.value, str) else None
    if text is not None and parse_version(text) is None:
        what = f'min_packer_version is "{shorten(text)}", and Packer takes a version alone'
        raise UserError(what, where=version.place, hint='write it as in "1.7.0"')
    wanted = _constant("required_version", Constant(text and f">= {text}"), version.place)
    return [Block("packer", (), version.place, Body({"required_version": wanted}))]


def _constant(name: str, expression: Expression, place: Place) -> Attribute:
    return Attribute(name, place, lambda: expression)


def _texts(value: Located | None) -> frozenset[str]:
    if value is None or not isinstance(value.value, list):
        return frozenset()
    return frozenset(item.value for item in value.value if isinstance(item.value, str))


# `*.pkr.json`: HCL2's own JSON syntax, where labels are nested keys and strings are templates.

_LABELS = {
    "source": 2, "data": 2, "variable": 1, "provisioner": 1, "post-processor": 1, "error-cleanup-provisioner": 1,
    "dynamic": 1, "local": 1,
}  # fmt: skip

_ARGUMENTS = {
    "build": frozenset({"name", "description", "sources"}),
    "variable": frozenset({"type", "default", "description", "sensitive"}),
    "local": frozenset({"expression", "sensitive"}),
    **dict.fromkeys(
        ["provisioner", "error-cleanup-provisioner", "post-processor"], frozenset({"only", "except", "override"})
    ),
}
"""What is no block in blocks whose arguments Packer itself knows. In `locals` all are; of others a plugin knows."""


def read_hcl_json(content: bytes, path: str) -> SourceFile:
    """Parse one `*.pkr.json` file.

    Raises:
        UserError: it is not a JSON object, or has a key twice that is of no block.
    """
    root = read_json(content, path, equal_keys="blocks")
    if not isinstance(root.value, dict):
        raise UserError(f"a template is an object, found {root.kind()}", where=root.place, hint="write { … }")
    attributes: dict[str, Attribute] = {}
    blocks: list[Block] = []
    for name, value in root.value.items():
        if name == COMMENT:
            continue
        if not isinstance(value.value, (dict, list, type(None))):
            attributes[name] = attribute(name, value, read_template_text)
        elif name == "build":
            blocks += [Block("build", (), value.place, _hcl_build(one)) for one in objects(value)]
        elif name == "packer":
            blocks += [Block("packer", (), value.place, _packer_body(one)) for one in objects(value)]
        else:
            blocks += _blocks(name, value, (), count=_LABELS.get(name, 0))
    text = content.decode(errors="replace")
    return SourceFile(path, Body(attributes, tuple(blocks)), READS_FILES.search(text) is not None, names_in(text))


def read_template_text(text: str, place: Place) -> Expression:
    """Read a string as HCL reads a quoted template."""
    if "${" not in text and "%{" not in text:
        return Constant(text)
    return read_template(text, place)


def _packer_body(value: Located) -> Body:
    """What is asked of Packer: `required_plugins` is a block, and every other member here and in it an attribute."""
    attributes: dict[str, Attribute] = {}
    blocks: list[Block] = []
    for name, member in members(value):
        inner = list(objects(member))
        if name == "required_plugins" and (inner == _all_of(member)):
            blocks += [Block(name, (), member.place, _only_attributes(one)) for one in inner]
        elif name != COMMENT:
            attributes[name] = attribute(name, member, read_template_text)
    return Body(attributes, tuple(blocks))


def _only_attributes(value: Located) -> Body:
    named = [(name, one) for name, one in members(value) if name != COMMENT]
    for name, one in named:
        refuse_twice(name, one)
    return Body({name: attribute(name, one, read_template_text) for name, one in named})


def _all_of(value: Located) -> list[Located]:
    """What may be blocks of one name: a value, or those that it lists; null is none."""
    if isinstance(value.value, list):
        return value.value
    return [] if value.value is None else [value]


def _refuse_arguments_twice(kind: str, value: Located) -> None:
    known = _ARGUMENTS.get(kind, frozenset())
    for name, member in members(value):
        if name != COMMENT and (kind == "locals" or name in known):
            refuse_twice(name, member)


def _hcl_build(value: Located) -> Body:
    _refuse_arguments_twice("build", value)
    attributes: dict[str, Attribute] = {}
    blocks: list[Block] = []
    for name, member in members(value):
        if name == COMMENT:
            continue
        attributes[name] = attribute(name, member, read_template_text)
        if name == "source":
            blocks += _blocks(name, member, (), count=1)
        elif name == "post-processors":
            blocks += [Block(name, (), one.place, _hcl_build(one)) for one in objects(member)]
        else:
            blocks += _blocks(name, member, (), count=_LABELS.get(name, 0))
    return Body(attributes, tuple(blocks))


def _blocks(kind: str, value: Located, labels: tuple[str, ...], *, count: int) -> list[Block]:
    """Blocks whose labels are the next `count` levels of keys."""
    found: list[Block] = []
    if count == 0:
        for one in objects(value):
            _refuse_arguments_twice(kind, one)
            found.append(Block(kind, labels, value.place, body_of(one, read_template_text)))
        return found
    for label, member in members(value):
        if label != COMMENT:
            found += _blocks(kind, member, (*labels, label), count=count - 1)
    return found
