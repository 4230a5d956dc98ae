"""How a repository runs Packer, as it is read, against what shells and make do: they run what stands there.

On their PATH is a program called packer that writes down where it was called and with what, and does nothing else.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.desired.contents import Contents
from reconciler.desired.proposal.commands import files_to_search
from reconciler.desired.proposal.invocations import Invocation, invocations
from tests.unit.desired.proposal.test_invocations import Files

FILES = {
    "web.pkr.hcl": "", "base.json": "{}", "images/api/api.pkr.hcl": "", "images/api/dev.pkrvars.hcl": "",
    "images/my cart/cart.pkr.hcl": "", "images/my cart/ci/build.pkr.hcl": "", "images/old.json": "{}",
    "vars/dev.pkrvars.hcl": "", "vars/prod.pkrvars.hcl": "", "common.pkrvars.json": "{}",
}  # fmt: skip
FOLDERS = [".", "images", "images/api", "images/my cart", "images/my cart/ci", "vars"]
TEMPLATES = [".", "web.pkr.hcl", "base.json", "images/api", "images/my cart/cart.pkr.hcl", "images/my cart/ci",
             "images/old.json"]  # fmt: skip
VAR_FILES = [path for path in FILES if "pkrvars" in path]
RECORDER = '#!/bin/sh\n{ pwd; for one in "$@"; do printf "%s\\n" "$one"; done; echo; } >>"$RECORD"\n'


@dataclass(frozen=True)
class Run:
    """What one run of Packer comes to: everything from the repository's root."""

    template: str
    folder: str
    var_files: tuple[str, ...]
    variables: tuple[tuple[str, str], ...]
    only: tuple[str, ...]


@st.composite
def scripts(draw: st.DrawFn, *, make: bool = False) -> list[str]:
    """Lines that move about and run Packer, written in the ways that people write them. None leaves the repository."""
    lines: list[str] = []
    at, before, pushed = ".", ".", list[str]()
    ways = ["here", "and", "subshell"] if make else ["here", "and", "subshell", "line", "push", "back", "function"]
    for number in range(draw(st.integers(1, 5))):
        way, to = draw(st.sampled_from(ways)), draw(st.sampled_from(FOLDERS))
        move = f"{draw(st.sampled_from(['cd', 'cd --']))} {_quoted(draw, _from(at, to))}"
        match way:
            case "here":
                lines.append(_call(draw, at) + draw(st.sampled_from(["", " # packer build .", ";"])))
            case "and":
                lines.append(f"{move} {draw(st.sampled_from(['&&', ';']))} {_call(draw, to)}")
                at, before = to, at
            case "subshell":
                blank = draw(st.sampled_from(["", " "]))
                lines.append(f"({blank}{move} && {_call(draw, to)}{blank}); {_call(draw, at)}")
            case "line":
                lines += [move, _call(draw, to)]
                at, before = to, at
            case "push":
                lines += [f"pushd {_quoted(draw, _from(at, to))} >/dev/null", _call(draw, to)]
                pushed.append(at)
                at, before = to, at
                if draw(st.booleans()):
                    lines.append("popd > /dev/null")
                    at, before = pushed.pop(), at
            case "back":
                lines += ["cd - >/dev/null", _call(draw, before)]
                at, before = before, at
            case _:
                lines += [f"f{number}() {{", f"  {move} || return", f"  {_call(draw, to)}", "}", f"(f{number})"]
        at = "." if make else at
    return lines


def _call(draw: st.DrawFn, at: str) -> str:
    """One command, run in a folder."""
    words: list[str] = []
    for file in draw(st.lists(st.sampled_from(VAR_FILES), max_size=2, unique=True)):
        form = draw(st.sampled_from(["-var-file=", "-var-file ", "--var-file="]))
        words.append(form + _quoted(draw, _from(at, file)))
    for name, value in draw(
        st.dictionaries(st.sampled_from("ab"), st.sampled_from(["1", "x=y", "a b", "c#d"]))
    ).items():
        words.append(f"-var {_quoted(draw, f'{name}={value}')}")
    words += draw(st.sampled_from([[], ["-only=amazon-ebs.x,file.y"], ["-only", "'file.*'"], ["-force"]]))
    words.append(_quoted(draw, _from(at, draw(st.sampled_from(TEMPLATES)))))
    start = draw(st.sampled_from(["packer build ", "packer -machine-readable build "]))
    end = draw(st.sampled_from(["", " >/dev/null", " 2>&1 | cat", " || true"]))
    return start + draw(st.sampled_from([" ", " \\\n    "])).join(words) + end


def _from(at: str, path: str) -> str:
    written = os.path.relpath(path, at)
    return written if written.startswith("..") or os.sep not in written else f"./{written}"


def _quoted(draw: st.DrawFn, text: str) -> str:
    plain = not set(text) & set(" #")
    return draw(st.sampled_from(["{}", "'{}'", '"{}"'] if plain else ["'{}'", '"{}"'])).format(text)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files, and beside them the program that is called instead of Packer."""
    root = tmp_path_factory.mktemp("run") / "repository"
    for path, text in FILES.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    packer = root.parent / "bin" / "packer"
    packer.parent.mkdir()
    packer.write_text(RECORDER)
    packer.chmod(0o755)
    return root


def runs_of(repository: Path, name: str, text: str, command: list[str]) -> set[Run]:
    """What Packer is told when a file is run."""
    record = repository.parent / "record"
    record.unlink(missing_ok=True)
    (repository / name).write_text(text)
    path = f"{repository.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "RECORD": str(record), "HOME": str(repository.parent)}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, check=False)
    assert record.exists(), done.stderr
    return {_told(call.splitlines(), repository) for call in record.read_text().split("\n\n") if call}


def _told(lines: list[str], repository: Path) -> Run:
    folder, *words = lines
    var_files, variables, only = list[str](), list[tuple[str, str]](), list[str]()
    for index, word in enumerate(words):
        flag, has_value, value = word.lstrip("-").partition("=")
        given = value if has_value and word.startswith("-") else words[index + 1] if index + 1 < len(words) else ""
        match flag if word.startswith("-") else "":
            case "var-file":
                var_files.append(_rooted(given, folder, repository))
            case "var":
                name, _, value = given.partition("=")
                variables.append((name, value))
            case "only":
                only += given.split(",")
    template = _rooted(words[-1], folder, repository)
    return Run(template, _rooted(".", folder, repository), tuple(var_files), tuple(sorted(variables)), tuple(only))


def _rooted(path: str, folder: str, repository: Path) -> str:
    return os.path.relpath(os.path.join(folder, path), repository)  # noqa: PTH118  `..` is not followed


def read(name: str, text: str, **more: str) -> set[Run]:
    """The same as it is read from the file, and from more of them."""
    contents = Contents(Files({**FILES, name: text, **more}))
    contents.load(files_to_search(contents.paths))
    return {_as_run(one) for one in invocations(contents).runs}


def _as_run(one: Invocation) -> Run:
    assert (one.absent, one.unknown, one.partly) == ((), (), False)
    return Run(one.template, one.folder, one.var_files, tuple(sorted(one.variables.items())), one.only)


UNTIMED = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


@UNTIMED
@given(lines=scripts())
def test_a_script_is_read_as_bash_runs_it(repository: Path, lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    assert read("build.sh", text) == runs_of(repository, "build.sh", text, ["bash", "build.sh"])


@UNTIMED
@given(lines=scripts(make=True))
def test_a_makefile_is_read_as_make_runs_it(repository: Path, lines: list[str]) -> None:
    recipe = "".join("\t" + line.replace("\n", "\n\t") + "\n" for line in lines)
    text = f"all:\n{recipe}"
    assert read("Makefile", text) == runs_of(repository, "Makefile", text, ["make"])


def test_loops_over_folders_and_arrays_are_read_as_bash_runs_them(repository: Path) -> None:
    script = (
        "args=(\n  -var-file=vars/dev.pkrvars.hcl -force # (all\n)\nargs+=(-var 'a=b c')\n"
        'for d in images/a*/; do (cd "$d"; PACKER_LOG=1 packer build -var-file=dev.pkrvars.hcl .); done\n'
        'packer build "${args[@]}" base.json\n'
        "for d in images/a*; do\n  packer build -var-file=$d/dev.pkrvars.hcl $d\ndone\n"
    )
    assert read("build.sh", script) == runs_of(repository, "build.sh", script, ["bash", "build.sh"])


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, str]:
    """A Makefile with a variable of its own, and a script that calls it with others."""
    form = draw(st.sampled_from(["E = dev", "E ?= dev", "E := dev", "t0: E = dev\nt1: E = dev\nE = prod"]))
    needs = draw(st.sampled_from(["", " t1", " | t1"]))
    of_define = draw(st.booleans())
    build = "packer build -var-file=vars/{}.pkrvars.hcl {}"
    if of_define:
        defined = f"define made\n{build.format('$(1)', '$(2)')}\nendef\n"
        bodies = ["$(call made,$(E),images/api)", "@$(call made,$(E),base.json)"]
    else:
        defined = ""
        bodies = [build.format("$(E)", "images/api"), build.format("$(E)", "base.json")]
    makefile = f"{form}\n{defined}all: t0 t1\nt0:{needs}\n\t{bodies[0]}\nt1:\n\t{bodies[1]}\n"
    lines = draw(
        st.lists(
            st.sampled_from([
                "make t0 E=prod", "make -s t1 E=prod", "E=prod make t1", "make", "make E=prod t0 >/dev/null",
                "cd . && make t1 'E=prod' || true", "echo make t0 E=prod", "(export E=prod; true)",
                "for e in prod; do make t1 E=$e; done",
            ]),
            min_size=1, max_size=3,
        )
    )  # fmt: skip
    return makefile, "\n".join([*lines, "make t0; make t1", ""])


@UNTIMED
@given(written=calls())
def test_what_callers_of_make_choose_counts_too(repository: Path, written: tuple[str, str]) -> None:
    makefile, script = written
    (repository / "Makefile").write_text(makefile)
    assert read("Makefile", makefile, **{"ci.sh": script}) == runs_of(repository, "ci.sh", script, ["bash", "ci.sh"])
