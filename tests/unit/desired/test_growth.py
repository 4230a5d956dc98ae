"""Whatever somebody writes, to read it takes a time that grows as its length does, and no faster.

What a pull request of a fork brings is read before anybody looked at it. Each reader is given texts of one fragment, or
fleets of one thing, over and over; what is compared is the CPU time of one and of four times as much (tests/cpu.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.desired import declared
from reconciler.desired.fleet import read_fleet
from reconciler.desired.paths import Paths, folders_entered, folders_taken, mentioned
from reconciler.desired.yaml_file import Document, read_yaml
from reconciler.model.errors import UserError
from reconciler.model.tree import TreeEntry
from reconciler.state.lockfiles import parse
from tests.cpu import cpu_seconds, growth
from tests.unit.desired.conftest import BUILDER, COMPLETE, SOURCE, MemoryTree

Files = Mapping[str, str | bytes]
TEMPLATE = "desired/web/web.pkr.hcl"
MOST = 9.0
"""Times as long as a quarter of it; read twice for each of its parts it would be sixteen."""
LARGEST = 128 * 1024


def read(files: Files) -> None:
    """Read a fleet with these files in it, and put what is wrong into words."""
    complete = {"desired/web/image.yaml": SOURCE, TEMPLATE: COMPLETE}
    try:
        fleet = read_fleet(MemoryTree({**complete, **files}, {}))
    except UserError:
        return
    assert all(str(one) for found in fleet.problems.values() for one in found)


def local(provisioner: str) -> str:
    """A template that runs this on the machine of the build."""
    return f'build {{\n  sources = ["source.amazon-ebs.a"]\n  provisioner {provisioner}\n}}\n{BUILDER}'


def command(text: str) -> Files:
    return {TEMPLATE: local(f'"shell-local" {{\n inline = [{_hcl(text)}]\n }}')}


def _hcl(text: str) -> str:
    """A text as HCL writes it: no expression begins in it."""
    return json.dumps(text).replace("${", "$${").replace("%{", "%%{")


def playbook(play: str, **more: str) -> Files:
    runs = local('"ansible" {\n playbook_file = "p.yml"\n }')
    return {TEMPLATE: runs, "desired/web/p.yml": play, **{f"desired/web/{name}": text for name, text in more.items()}}


READERS: dict[str, Callable[[str], Files]] = {
    "HCL": lambda text: {TEMPLATE: COMPLETE + text},
    "a comment": lambda text: {TEMPLATE: f"{COMPLETE}# {text}\n"},
    "a text": lambda text: {TEMPLATE: f'{COMPLETE}locals {{\n a = "{text}"\n}}\n'},
    "an expression": lambda text: {TEMPLATE: f"{COMPLETE}locals {{\n a = {text}\n}}\n"},
    "a heredoc": lambda text: {TEMPLATE: f"{COMPLETE}locals {{\n a = <<E\n{text}\nE\n}}\n"},
    "a command": command,
    "a script": lambda text: {
        TEMPLATE: local('"shell-local" {\n script = "x.sh"\n }'),
        "desired/web/x.sh": f"#!/bin/sh\n{text}",
    },
    "a format": lambda text: {
        TEMPLATE: local(f'"shell-local" {{\n inline = [format({_hcl(text)}, var.z)]\n }}')
        + 'variable "z" { default = env("Z") }\n'
    },
    "functions": lambda text: {
        TEMPLATE: local('"shell-local" {\n inline = [chomp(local.a), base64decode(local.a), title(local.a)]\n }')
        + f"locals {{\n a = {_hcl(text)}\n}}\n"
    },
    "a fileset": lambda text: {
        TEMPLATE: local(f'"shell" {{\n scripts = fileset(".", {_hcl(text[:900])})\n }}'),
        **{f"desired/web/{'a' * 200}/{'b' * 20}{number}": "" for number in range(20)},
    },
    "JSON": lambda text: {"desired/other/t.json": f'{{"builders":[{{"type":"amazon-ebs"}}], "x": {text}'},
    "a text of JSON": lambda text: {
        "desired/other/t.json": json.dumps(
            {
                "variables": {"a": text},
                "builders": [{"type": "amazon-ebs", "region": "us-east-1", "source_ami": "{{user `a`}}"}],
            }
        )
    },
    "a var file": lambda text: {"desired/web/a.auto.pkrvars.hcl": f"x = {text}\n"},
    "a version": lambda text: {TEMPLATE: f"{COMPLETE}packer {{\n required_version = {_hcl(text)}\n}}\n"},
    "YAML": lambda text: {"desired/web/image.yaml": text},
    "inputs": lambda text: {"desired/web/image.yaml": f"{SOURCE}packer: {{inputs: [{json.dumps(text)}]}}\n"},
    "only": lambda text: {"desired/web/image.yaml": f"{SOURCE}packer: {{only: [{json.dumps(text)}]}}\n"},
    "a playbook": lambda text: playbook(f"- hosts: all\n  tasks:\n  - template: {{src: {json.dumps(text)}}}\n"),
    "its shell": lambda text: playbook(f"- hosts: all\n  tasks:\n  - shell: {json.dumps(text)}\n"),
    "a template of Jinja": lambda text: playbook(
        "- hosts: all\n  tasks:\n  - template: {src: x.j2, dest: /x}\n", **{"templates/x.j2": text}
    ),
}
FRAGMENTS = (
    "a", "file", "filea ", "a1", "$", "%{if a}", "${", "$(", "`", "'", "' a", '"', "\\", "\n", " ", "\r\n", "#", "/*",
    "/**/", "{", "[", "(", "{{", "{%", "<<E\n", "../", "*", "**/", "[a", "=", "--a ", "cd ", "PATH=", "!", "0", "%0",
    "[],", "&a ", "- ", "a: ", "é", "var.a ", "1+", "a?b:", "[0]", "a(",
)  # fmt: skip


NOT_AS_THEY_ARE = {"HCL", "JSON", "YAML", "inputs", "only", "a version", "a text of JSON"}


@pytest.mark.parametrize("reader", sorted(READERS.keys() - NOT_AS_THEY_ARE))
def test_each_of_these_texts_is_read(reader: str) -> None:
    complete = {"desired/web/image.yaml": SOURCE, TEMPLATE: COMPLETE}
    fleet = read_fleet(MemoryTree({**complete, **READERS[reader]("1")}, {}))
    assert [str(one) for found in fleet.problems.values() for one in found if "is not declared" not in str(one)] == []


def grows(reader: str, fragment: str) -> float:
    def text_of(length: int) -> str:
        return fragment * (length // len(fragment) + 1)

    with cpu_seconds(30):
        return growth(lambda text: read(READERS[reader](text)), text_of, largest=LARGEST, most=MOST)


@pytest.mark.long
@pytest.mark.parametrize("fragment", FRAGMENTS)
@pytest.mark.parametrize("reader", READERS)
def test_no_fragment_is_read_again_and_again(reader: str, fragment: str) -> None:
    assert grows(reader, fragment) <= MOST


@pytest.mark.long
@settings(max_examples=200)
@given(st.sampled_from(sorted(READERS)), st.lists(st.sampled_from(FRAGMENTS), min_size=2, max_size=4).map("".join))
def test_no_few_fragments_are_read_again_and_again(reader: str, fragment: str) -> None:
    assert grows(reader, fragment) <= MOST


# What did take minutes, or hours, by what it is read with alone: these few are quick.

WORDS = {
    "blanks in quotes": "' a a a" * 3,
    "one quote": "'" + " a" * 20,
    "an option": "--inventory ",
    "assignments": "PATH=a ",
    "computed": "$(a ${b} `",
    "folders": "cd a && ",
}


@pytest.mark.parametrize("fragment", WORDS.values(), ids=WORDS)
def test_what_a_command_may_name_is_found_in_one_pass(fragment: str) -> None:
    def found(text: str) -> object:
        return [*mentioned(text), *folders_entered(text), *folders_taken(text)]

    def text_of(length: int) -> str:  # the quote that is never closed comes first
        return fragment[0] + fragment[1:] * (length // len(fragment))

    with cpu_seconds(20):
        assert growth(found, text_of, largest=LARGEST, most=MOST) <= MOST


@pytest.mark.parametrize(
    ("pattern", "path"),
    [("a*a*a*a*a*a*b", "a" * 2000), ("**/" + "a*" * 5 + "b", "/".join(["a" * 100] * 20)), ("[" * 100_000, "[a")],
)
def test_a_pattern_of_paths_takes_one_pass(pattern: str, path: str) -> None:
    with cpu_seconds(5):
        Paths({path: TreeEntry(path, "100644", "0" * 40)}).matching(pattern)


def test_a_pattern_that_is_none_matches_whatever_it_could() -> None:
    paths = Paths({name: TreeEntry(name, "100644", "0" * 40) for name in ("z", "b")})
    assert paths.matching("[z-a]") == ["b", "z"]


ONCE = {
    "line ends that chomp cuts": READERS["functions"]("\r\n" * 5000 + "x"),
    "digits of a format": READERS["a format"]("%" + "0" * 200_000),
    "a pattern of only": READERS["only"]("[" * 200_000),
    "a path without end": READERS["inputs"]("/*" * 200_000),
}  # fmt: skip


@pytest.mark.parametrize("files", ONCE.values(), ids=ONCE)
def test_what_took_minutes_takes_a_moment(files: Files) -> None:
    with cpu_seconds(10):
        read(files)


def chain(length: int, last: str, each: str = "local.{}") -> str:
    """Locals that each name the next one."""
    links = "".join(f"  a{number} = {each.format(f'a{number + 1}')}\n" for number in range(length))
    return f"locals {{\n{links}  a{length} = {last}\n}}\n"


USED = local('"shell-local" {\n inline = [local.a0]\n }')
MANY: dict[str, Callable[[int], Files]] = {
    "locals that nothing uses": lambda count: {TEMPLATE: COMPLETE + chain(count, '"x"')},
    "locals that are used": lambda count: {TEMPLATE: USED + chain(count, '"x"')},
    "locals that are not known": lambda count: {TEMPLATE: USED + chain(count, 'env("X")', '"${{local.{}}}x"')},
    "locals in a circle": lambda count: {TEMPLATE: COMPLETE + chain(count, "local.a0")},
    "names that nothing declares": lambda count: {
        TEMPLATE: COMPLETE
        + "".join(f'variable "v{number}" {{ default = "x" }}\n' for number in range(count))
        + "locals {\n" + "".join(f"  a{number} = var.w{number}\n" for number in range(count)) + "}\n"
    },
    "blocks that there are none of": lambda count: {TEMPLATE: COMPLETE + "".join(f"v{n} {{}}\n" for n in range(count))},
    "builds": lambda count: {TEMPLATE: COMPLETE + 'build { sources = ["source.amazon-ebs.a"] }\n' * count},
    "commands": lambda count: {
        TEMPLATE: 'build {\n sources = ["source.amazon-ebs.a"]\n'
        + 'provisioner "shell-local" {\n inline = ["cat a/b c/d"]\n }\n' * count + f"}}\n{BUILDER}"
    },
    "variables in image.yaml": lambda count: {
        "desired/web/image.yaml": "packer:\n  variables:\n" + "".join(f"    k{at}: 1\n" for at in range(count)),
        TEMPLATE: COMPLETE + "".join(f'variable "v{at}" {{ default = "x" }}\n' for at in range(count)),
    },
    "images on each other": lambda count: {
        f"desired/i{number}/{name}": text
        for number in range(count // 8)
        for name, text in (("image.yaml", f"source: {{image: i{number + 1}}}\n"), ("t.pkr.hcl", "a {}\n"))
    },
    "images that were one": lambda count: {
        f"desired/i{number}/{name}": text
        for number in range(count // 8)
        for name, text in (("image.yaml", "moved_from: old\n"), ("t.pkr.hcl", "a {}\n"))
    },
}  # fmt: skip


@pytest.mark.forms(quick=5)
@pytest.mark.parametrize("many", MANY)
def test_many_of_a_thing_are_each_read_once(many: str) -> None:
    def text_of(count: int) -> str:
        return str(count)

    with cpu_seconds(30):
        assert growth(lambda count: read(MANY[many](int(count))), text_of, largest=16_384, most=MOST) <= MOST


# Lockfiles, which a branch may write as well.


LOCKS = {
    "builds": ('{"schema":1,"image":"web","builds":[', "{},", "{}]}"),
    "numbers": ('{"schema":1,"image":"web","builds":[', "1,", "1]}"),
    "keys": ('{"schema":1,"image":"web",', '"a":1,', '"b":1}'),
    "brackets": ("", "[", ""),
    "conflicts": ("", "<<<<<<<", ""),
    "line ends": ("", "\n", ""),
}


@pytest.mark.parametrize(("begins", "each", "ends"), LOCKS.values(), ids=LOCKS)
def test_what_is_wrong_with_a_lockfile_is_found_in_one_pass(begins: str, each: str, ends: str) -> None:
    def told(text: str) -> str:
        with pytest.raises(UserError) as refused:
            parse(text.encode(), "state/web.lock.json")
        return str(refused.value)

    with cpu_seconds(30):
        assert (
            growth(told, lambda length: begins + each * (length // len(each)) + ends, largest=LARGEST, most=MOST)
            <= MOST
        )
        assert told(begins + each * (1_000_000 // len(each)) + ends).startswith("state/web.lock.json")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b" " * (4 << 20) + b"{}", "the file has more than 4,194,304 bytes, and no more are read of a lockfile"),
        (b"[" + b"1," * 200_000 + b"1]", "the file holds more values than any lockfile"),
    ],
)
def test_a_lockfile_that_is_larger_than_any_is_not_read(content: bytes, what: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(content, "state/web.lock.json")
    assert str(refused.value).startswith(f"state/web.lock.json: {what}")
    assert "git checkout" in str(refused.value)


def test_no_declaration_is_read_twice_where_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    # With its places it takes three times what is kept of it: of 10,000 images 30 MiB, and a second.
    taken: list[str] = []

    def counted(content: bytes, path: str) -> Document:
        taken.append(path)
        return read_yaml(content, path)

    monkeypatch.setattr(declared, "read_yaml", counted)
    declaration = f"{SOURCE}tags: {{team: web}}\nretain: {{builds: 3}}\n"
    fleet = read_fleet(MemoryTree({"desired/web/image.yaml": declaration, TEMPLATE: COMPLETE}, {}))
    assert (sorted(fleet.images), dict(fleet.problems)) == (["web"], {})
    assert [path for path in taken if path.endswith("image.yaml")] == ["desired/web/image.yaml"]
