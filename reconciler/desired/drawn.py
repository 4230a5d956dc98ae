"""What the files that a template names draw on in their turn: playbooks, scripts that run here, templates of texts."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterator, Sequence

from reconciler.desired.ansible.playbooks import SETTINGS_FILE, YAML, Run, drawn_on, is_playbook, is_requirements
from reconciler.desired.contents import MOST_READ, Contents
from reconciler.desired.packer.file_references import Read
from reconciler.desired.packer.json_file import folder_of
from reconciler.desired.packer.naming import Use
from reconciler.desired.paths import (
    MAKEFILES,
    MAX_LENGTH,
    ROOT,
    contains,
    folders_entered,
    folders_taken,
    is_a_word,
    mentioned,
)
from reconciler.model.text import decoded, shorten

_SHELLS = re.compile(rb"#!\s*\S*[/ ](?:ba|da|k|z|a)?sh\b")
_SHELL_SUFFIXES = (".sh", ".bash")
_FILE_CALL = re.compile(r"\bfile[a-z0-9]*\(\s*\"([^\"$%\\]+)\"")
_ANY_FILE_CALL = re.compile(r"\b(?:template)?file[a-z0-9]*(?:\s|/\*.*?\*/)*\(", re.DOTALL)
_MAY_NAME_MORE: frozenset[Use] = frozenset({"playbook", "requirements", "settings", "script", "template"})
_DEPTH = 4
"""Scripts that call scripts that call scripts: further down nothing is looked for."""


def drawn(
    reads: Sequence[Read], contents: Contents, *, working_dir: str, template_folder: str
) -> tuple[list[str], list[str]]:
    """The files that nobody but the named files names, and links on the way to them; and what no key can tell.

    `reads` are those whose paths are there.
    """
    scripts = [one.path for one in reads if "script" in one.uses or _is_command(one)]
    notes: list[str] = []
    shells = frozenset(one.path for one in reads if "script" in one.uses)
    called = _of_scripts(scripts, contents, shells=shells, working_dir=working_dir, notes=notes)
    texts = [one.path for one in reads if "template" in one.uses]
    within = _of_templates(texts, contents, folder=template_folder, notes=notes)
    run = _run(reads, [*(one.path for one in reads if one.weight == "mentioned"), *called], contents, working_dir)
    found = [file for path in (*called, *within) for file in contents.at(path)]
    return [*found, *(drawn_on(run, contents) if run is not None else ())], notes


def files_to_read(reads: Sequence[Read], *, working_dir: str) -> Iterator[str]:
    """The files that `drawn` reads first; not all of them have to be there."""
    for read in reads:
        if not _MAY_NAME_MORE.isdisjoint(read.uses) or (
            _is_command(read) and read.path.endswith((*YAML, *_SHELL_SUFFIXES, *MAKEFILES))
        ):
            yield read.path
        if "playbook" in read.uses:
            yield posixpath.normpath(posixpath.join(working_dir, SETTINGS_FILE))


def _is_command(read: Read) -> bool:
    return read.weight == "mentioned" and not read.is_pattern


def _run(reads: Sequence[Read], mentioned: Sequence[str], contents: Contents, working_dir: str) -> Run | None:
    """How Ansible is run, if it is: by its provisioner, or by a command that names a playbook, or requirements."""

    def used(use: Use) -> tuple[str, ...]:
        return tuple(one.path for one in reads if use in one.uses)

    yaml = [path for path in mentioned if path.endswith(YAML) and contents.is_file(path)]
    contents.load(yaml)
    playbooks = (*used("playbook"), *(path for path in yaml if contents.kept(path, is_playbook)))
    # Of a command: `ansible-galaxy install -r requirements.yml`, which may come without a playbook.
    requirements = (*used("requirements"), *(path for path in yaml if contents.kept(path, is_requirements)))
    if not playbooks and not requirements:
        return None
    return Run(
        playbooks=tuple(dict.fromkeys(playbooks)),
        working_dir=working_dir,
        role_folders=used("roles"),
        # Whatever an argument names may be an inventory; variables beside it are read then.
        inventories=(*used("inventory"), *mentioned) if playbooks else (),
        settings=tuple(path for path in used("settings") if contents.is_file(path)),
        others=tuple(dict.fromkeys((*requirements, *yaml))) if playbooks else requirements,
    )


def _of_scripts(
    scripts: Sequence[str], contents: Contents, *, shells: Collection[str], working_dir: str, notes: list[str]
) -> list[str]:  # fmt: skip
    """Files that shell scripts of this machine name, and the scripts that they call."""
    found: dict[str, None] = {}
    level, seen = list(dict.fromkeys(scripts)), set(scripts)
    for _ in range(_DEPTH):
        level = [path for path in level if contents.is_file(path)]
        contents.load(level)
        notes += [_too_long(path, MAX_LENGTH) for path in level if _is_too_long(path, contents)]
        # What is named as a script and does not say what runs it, the shell does.
        named = [
            one for path in level for one in _named_by_script(path, contents, working_dir, is_script=path in shells)
        ]
        found |= dict.fromkeys(named)
        level = [path for path in dict.fromkeys(named) if path not in seen]
        seen.update(level)
        if not level:
            break
    return list(found)


def _is_too_long(path: str, contents: Contents) -> bool:
    content = contents.read(path)
    return len(content) > MAX_LENGTH and (path.endswith((*_SHELL_SUFFIXES, *MAKEFILES)) or bool(_SHELLS.match(content)))


def _too_long(path: str, most: int) -> str:
    return (
        f"{shorten(path, limit=120)} has more than {most:,} bytes, and is not looked through: what it reads outside of "
        "packer.inputs would not be in the key"
    )


def _named_by_script(path: str, contents: Contents, working_dir: str, *, is_script: bool) -> Iterator[str]:
    content = contents.read(path)
    if len(content) > MAX_LENGTH or not (
        path.endswith((*_SHELL_SUFFIXES, *MAKEFILES))
        or _SHELLS.match(content)
        or (is_script and not content.startswith(b"#!"))
    ):
        return
    text = "\n".join(line for line in decoded(content).splitlines() if not line.lstrip().startswith("#"))
    here = folder_of(path)
    bases = list(dict.fromkeys([working_dir, here]))
    for folder in folders_entered(text):
        bases += [posixpath.join(base, folder) for base in bases if len(bases) < 8]
    for folder in folders_taken(text):
        for base in bases:
            yield from _existing(f"{folder}/", base, contents, around=(working_dir, here))
    for mention in mentioned(text):
        name = posixpath.basename(mention.path.rstrip("/"))
        if name not in contents.paths.names:
            continue
        for base in (*bases, ROOT) if mention.anywhere else bases:
            yield from _existing(mention.path, base, contents, around=(working_dir, here))


def _existing(written: str, base: str, contents: Contents, *, around: Sequence[str]) -> Iterator[str]:
    """A mentioned path, if it is there and no mere word: a file, or a folder in which none of `around` is."""
    path = contents.paths.resolve(posixpath.join(base, written), ROOT)
    real = contents.follow(path).path if path is not None else None
    if path is None or real is None:
        return
    is_folder = real not in contents.paths.entries
    if is_folder and (is_a_word(written) or any(contains(real, one) for one in around)):
        return
    if contents.paths.at(real):
        yield path


def _of_templates(paths: Sequence[str], contents: Contents, *, folder: str, notes: list[str]) -> list[str]:
    """Files that `file()` names within the texts of `templatefile()`."""
    paths = [path for path in dict.fromkeys(paths) if contents.is_file(path)]
    contents.load(paths)
    named: list[str] = []
    for path in paths:
        content = contents.read(path)
        if len(content) > MOST_READ:
            notes.append(_too_long(path, MOST_READ))
        text = decoded(content)
        plain = _FILE_CALL.findall(text)
        named += plain
        if len(_ANY_FILE_CALL.findall(text)) > len(plain):
            notes.append(
                f"{shorten(path, limit=120)} computes the name of a file that it reads: files outside of packer.inputs "
                "would not be in the key"
            )
    return [one for name in named for one in _existing(name, folder, contents, around=(folder,))]
