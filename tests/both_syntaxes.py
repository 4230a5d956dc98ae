"""Templates that are drawn, each written twice: in HCL, and in HCL's JSON, where labels are keys.

What a template says does not depend on which of the two it is written in, so neither may what is said of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hypothesis import strategies as st


@dataclass(frozen=True)
class Code:
    """An expression as HCL has it; in JSON it stands within `${…}`."""

    text: str


@dataclass(frozen=True)
class Word:
    """What HCL has as words without quotes, and JSON as a text: a type, the name of an iterator."""

    text: str


Written = str | int | bool | None | Code | Word | list["Written"] | dict[str, "Written"]


@dataclass(frozen=True)
class Block:
    """`type "label" { … }`. `listed` says that JSON has it as a list of one."""

    type: str
    labels: tuple[str, ...] = ()
    attributes: Mapping[str, Written] = field(default_factory=dict)
    blocks: tuple[Block, ...] = ()
    listed: bool = False


def in_hcl(blocks: Iterable[Block], indent: str = "") -> str:
    """A template, or what is in a block, as HCL."""
    lines = []
    for block in blocks:
        labels = "".join(f' "{label}"' for label in block.labels)
        lines.append(f"{indent}{block.type}{labels} {{")
        lines += [f"{indent}  {name} = {_hcl_value(value)}" for name, value in block.attributes.items()]
        lines += [in_hcl(block.blocks, f"{indent}  ").rstrip("\n")] if block.blocks else []
        lines.append(f"{indent}}}")
    return "".join(f"{line}\n" for line in lines)


def in_json(blocks: Iterable[Block]) -> str:
    """The same template in HCL's JSON: several blocks of a type are a list, or have equal keys."""
    return _json_text(_json_blocks(blocks))


class _Members(list[tuple[str, object]]):
    """An object of JSON that may have a key twice."""


def _json_text(value: object) -> str:
    if isinstance(value, (_Members, dict)):
        members = value.items() if isinstance(value, dict) else value
        return "{" + ",\n".join(f"{json.dumps(name)}: {_json_text(one)}" for name, one in members) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_json_text, value))}]"
    return json.dumps(value)


def _hcl_value(value: Written) -> str:
    match value:
        case Code(text) | Word(text):
            return text
        case list():
            return f"[{', '.join(map(_hcl_value, value))}]"
        case dict():
            return f"{{ {', '.join(f'{name} = {_hcl_value(one)}' for name, one in value.items())} }}"
        case _:
            return json.dumps(value)


def _json_value(value: Written) -> object:
    match value:
        case Code(text):
            return f"${{{text}}}"
        case Word(text):
            return text
        case list():
            return [_json_value(one) for one in value]
        case dict():
            return {name: _json_value(one) for name, one in value.items()}
        case _:
            return value


def _json_blocks(blocks: Iterable[Block]) -> _Members:
    by_type: dict[str, list[Block]] = {}
    for block in blocks:
        by_type.setdefault(block.type, []).append(block)
    members = _Members()
    for kind, many in by_type.items():
        bodies = [_json_body(block) for block in many]
        members += [(kind, bodies)] if many[0].listed else [(kind, body) for body in bodies]
    return members


def _json_body(block: Block) -> object:
    body: object = _Members(
        [*((name, _json_value(value)) for name, value in block.attributes.items()), *_json_blocks(block.blocks)]
    )
    for at, label in enumerate(reversed(block.labels)):
        body = _Members([(label, [body] if block.listed and at == 0 else body)])
    return body


# What is drawn: a template that leaves an AMI, with blocks of every kind, and at most one mistake.

_SOURCE: Mapping[str, Written] = {
    "region": "us-east-1", "source_ami": "ami-12345678", "ami_name": "x-{{timestamp}}", "instance_type": "t3.micro",
    "ssh_username": "admin",
}  # fmt: skip
_IMPORT: Mapping[str, Written] = {"region": "us-east-1", "s3_bucket_name": "b"}
AMAZON: Mapping[str, Written] = {"source": "github.com/hashicorp/amazon", "version": ">= 1"}

_ENTRIES: Mapping[str, Written] = {
    "whole": dict(AMAZON),
    "text": ">= 1.2",
    "without a version": {"source": "github.com/hashicorp/amazon"},
    "without a source": {"version": ">= 1"},
    "no source": {**AMAZON, "source": "amazon"},
    "no constraint": {**AMAZON, "version": "newest"},
    "too much": {**AMAZON, "checksum": "x"},
    "of a variable": {**AMAZON, "version": Code("var.text")},
}
_TYPES: Mapping[str, tuple[str, Written]] = {
    "text": ("string", "a"),
    "anything": ("any", "a"),
    "numbers": ("list(number)", [1, 2]),
    "texts": ("map(string)", {"a": "b"}),
    "partly": ("object({ a = optional(string) })", {"a": "b"}),
}
_USES: Mapping[str, str] = {
    "a variable": "upper(var.text)", "a local": "upper(local.one)", "a local of its own": "local.alone",
    "an undeclared variable": "var.nothing", "an undeclared local": "local.nothing", "nothing": '"plain"',
    "what is newer": 'textencodebase64("a", "UTF-8")', "a branch": 'var.text == "a" ? "b" : "c"',
}  # fmt: skip
_NEVER_HERE = ("none", "none", "none", "packer: an argument", "packer: a block", "a block", "a variable twice")


@st.composite
def templates(draw: st.DrawFn) -> tuple[Block, ...]:
    """A template: of every kind of block some, and what is used somewhere is mostly declared."""

    def maybe(*blocks: Block) -> tuple[Block, ...]:
        return blocks if draw(st.booleans()) else ()

    def one_or_list() -> bool:
        return draw(st.booleans())

    mistake = draw(st.sampled_from(_NEVER_HERE))
    use = _USES[draw(st.sampled_from(sorted(_USES)))]
    entry = _ENTRIES[draw(st.sampled_from(["whole"] * 8 + sorted(_ENTRIES)))]
    plugins = Block("required_plugins", (), {"amazon": entry}, listed=one_or_list())
    wanted: dict[str, Written] = {"required_version": draw(st.sampled_from([">= 1.6.0", ">= 1.6, < 2"]))}
    wanted |= {"wanted": "1"} if mistake == "packer: an argument" else {}
    strange = (Block("plugins", (), {"a": "b"}),) if mistake == "packer: a block" else ()
    kind, default = _TYPES[draw(st.sampled_from(sorted(_TYPES)))]
    variables = [
        Block("variable", ("text",), {"type": Word("string"), "default": "a"}, listed=one_or_list()),
        *maybe(Block("variable", ("more",), {"type": Word(kind), "default": default}, listed=one_or_list())),
    ]
    variables += variables[:1] if mistake == "a variable twice" else []
    nested = Block("launch_block_device_mappings", (), {"device_name": "/dev/xvda", "volume_size": 9})
    polling = Block("aws_polling", (), {"delay_seconds": 5, "max_attempts": 3}, listed=one_or_list())
    devices = Block(
        "dynamic", ("launch_block_device_mappings",), {"for_each": ["/dev/sdb", "/dev/sdc"], "iterator": Word("disk")},
        (Block("content", (), {"device_name": Code("disk.value"), "volume_size": 8}, listed=one_or_list()),),
        listed=one_or_list(),
    )  # fmt: skip
    made = Block(
        "dynamic", ("provisioner",), {"for_each": ["a", "b"], "labels": ["shell"]},
        (Block("content", (), {"inline": [Code('"echo ${provisioner.value}"')]}),),
    )  # fmt: skip
    env: dict[str, Written] = {"env": {"A": "b"}} if draw(st.booleans()) else {}
    return (
        *maybe(Block("packer", (), wanted, (*maybe(plugins), *strange), listed=one_or_list())),
        *(maybe(Block("strange", (), {"a": "b"})) if mistake == "a block" else ()),
        *variables,
        Block("locals", (), {"one": "a", "two": Code("local.one")}, listed=one_or_list()),
        *maybe(Block("local", ("alone",), {"expression": Code(use if "local.alone" not in use else "var.text")})),
        *maybe(Block("data", ("null", "a"), {"input": Code(use)}, listed=one_or_list())),
        Block("source", ("amazon-ebs", "web"), _SOURCE, (*maybe(nested), *maybe(devices)), listed=one_or_list()),
        Block(
            "build",
            (),
            {"sources": ["source.amazon-ebs.web"]},
            (
                *maybe(Block("provisioner", ("shell",), {"inline": ["true"], **env}, listed=one_or_list())),
                *maybe(Block("provisioner", ("shell-local",), {"inline": [Code(use)]}, listed=one_or_list())),
                *maybe(made),
                *maybe(Block("error-cleanup-provisioner", ("shell-local",), {"inline": ["true"]})),
                *maybe(Block("post-processor", ("manifest",), {"output": "m.json"}, listed=one_or_list())),
                *maybe(Block("post-processor", ("amazon-import",), _IMPORT, (polling,), listed=one_or_list())),
                *maybe(
                    Block(
                        "post-processors",
                        (),
                        {},
                        (Block("post-processor", ("checksum",), {"checksum_types": ["md5"]}),),
                        listed=one_or_list(),
                    )
                ),
            ),
            listed=one_or_list(),
        ),
    )
