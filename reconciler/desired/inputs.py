"""Every file that feeds an image's build, so that its key changes when one of them does."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from sys import intern
from typing import TYPE_CHECKING

from reconciler.desired.contents import MOST_READ, Contents
from reconciler.desired.declared import Declared
from reconciler.desired.paths import ROOT, Paths, contains, relative
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import InputFile
from reconciler.model.text import decoded, joined, shorten
from reconciler.model.tree import shown_alike

if TYPE_CHECKING:
    from reconciler.desired.declared import TemplateFiles
    from reconciler.desired.packer.file_references import Read
import re
from collections.abc import Sequence

from reconciler.desired.ansible.playbooks import SETTINGS_FILE, YAML, Run, drawn_on, is_playbook
from reconciler.desired.packer.file_references import Read
from reconciler.desired.packer.json_file import folder_of
from reconciler.desired.packer.named_files import Use
from reconciler.desired.paths import (
    MAKEFILES,
    MAX_LENGTH,
    folders_entered,
    folders_taken,
    is_a_word,
    mentioned,
)

_STATE, _OWN_STATE = "state", "state/"
_PLUGIN = re.compile(r"packer-(?:plugin|builder|provisioner|post-processor|datasource)-")
_NOWHERE = "/dev/null"
"""The one file outside of a repository that never changes: links to it switch off units of systemd."""


@dataclass
class Inputs:
    """The paths that feed an image, and what is to be said of them."""

    paths: set[str]
    problems: list[UserError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    named: set[str] = field(default_factory=set)
    """Those that something names by themselves, and not only a folder around them."""


def declared_inputs(declared: Declared, files: TemplateFiles, contents: Contents) -> Inputs:
    """What feeds an image whatever its template says.

    That is its folder without image.yaml, what `packer.inputs` names, the template and its var files, and where links
    in all of that lead. A problem tells of each entry of `inputs`, and of each link, that can't be one.
    """
    folder, paths = declared.folder, contents.paths
    found = Inputs(set(paths.under(folder.path)) | set(files.all) | set(_plugins(files.working_dir, paths)))
    for index, written in enumerate(declared.declaration.packer.inputs):
        where = declared.place("packer", "inputs", index)
        target = paths.resolve(written, folder.path)
        problem = _refuse(written, target, name=folder.name, where=where)
        named = [] if target is None or problem else contents.at(target)
        if problem is None and not named:
            problem = UserError(
                f'packer.inputs: "{shorten(written)}" is nothing that is committed',
                where=where,
                hint=f"it was looked for at {target} from the repository's root; name a file or a folder, no pattern",
            )
        if problem is not None:
            found.problems.append(problem)
        found.paths.update(named)
        found.named.update(_by_themselves(target, named, declared, contents) if target is not None else ())
    _follow_links(found, declared, contents)
    found.paths.update(files.links)
    found.problems += all_shown_alike(found.paths | {folder.image_file}, paths)
    return found


def template_inputs(
    declared: Declared, reads: Iterable[Read], contents: Contents, *, working_dir: str, template: str
) -> Inputs:
    """What feeds an image because the template names it, or because what it names draws on it.

    `template` is the template's folder. A problem tells of what Packer needs and would not find.
    """
    from reconciler.desired.inputs import drawn  # noqa: PLC0415 - parsers that a fleet in sync needs not

    found = Inputs(set())
    around = (declared.folder.path, working_dir, template)
    there = []
    passed: set[str] = set()
    for written in reads:
        path = contents.paths.resolve(written.path, ROOT)
        read = written if path in (None, written.path) else replace(written, path=path)
        files = _files_of(read, contents) if path is not None else []
        module = _submodule(read, contents)
        if not files or module is not None:
            if module is not None and read.weight != "mentioned":
                found.problems.append(_not_exported(read, module))
            elif read.weight == "needed":
                found.problems.append(_absent(read, contents, template=template))
        elif read.weight == "mentioned" and not _is_named(read, contents, around=around):
            if not read.is_word and not set(files) <= set(contents.paths.under(declared.folder.path)):
                found.notes.append(_too_wide(read))
        else:
            there.append(read)
            found.paths.update(files)
            found.named.update(_by_themselves(read.path, files, declared, contents))
            followed = contents.follow(read.path)
            passed.update(followed.links if followed.path is not None else ())
            left_out = _left_out(files, found.named, declared, contents)
            if any(contains(one, other) for one, other in ((read.path, _STATE), (_STATE, read.path))):
                left_out = list(dict.fromkeys([_OWN_STATE, *left_out]))  # it need not be there yet
            if left_out:
                found.notes.append(_without(read, left_out))
    more, notes = drawn(there, contents, working_dir=working_dir, template_folder=template)
    found.paths.update(more)
    found.named.update(path for path in more if not path.startswith(_OWN_STATE))
    found.notes += notes
    _follow_links(found, declared, contents)
    # Of the links on the way to a file, that file counts, and not all that they lead to.
    found.paths |= passed
    found.problems += all_shown_alike(found.paths, contents.paths)
    return found


def all_inputs(one: Inputs, other: Inputs) -> Inputs:
    """Both taken together, each problem and each note once."""
    problems = {(str(problem)): problem for problem in (*one.problems, *other.problems)}
    notes = list(dict.fromkeys([*one.notes, *other.notes]))
    return Inputs(one.paths | other.paths, list(problems.values()), notes, one.named | other.named)


def input_files(input_paths: Iterable[str], paths: Paths, *, folder: str) -> tuple[InputFile, ...]:
    """The inputs with their modes and object ids, sorted by the path as it is seen from the image's folder.

    A symbolic link counts by its own blob, a submodule by the commit that it is at.
    """
    entries = (paths.entries[path] for path in input_paths)
    # The same few names in every image: they are kept once.
    return tuple(
        sorted(InputFile(intern(relative(entry.path, folder)), entry.mode, entry.identity) for entry in entries)
    )


def notes_on_submodules(inputs: Iterable[str], paths: Paths) -> Iterator[str]:
    """What stops nothing: submodules among the inputs."""
    for path in sorted(inputs):
        if paths.submodule_of(path) == path:
            yield f"{path} is a submodule, which is not exported: what is in it is missing from the build"


def _files_of(read: Read, contents: Contents) -> list[str]:
    """What is there to be read. Where a link on the way to it leads out of the repository, that link."""
    if read.is_pattern and read.path not in contents.paths.entries:
        return contents.paths.matching(read.path)
    followed = contents.follow(read.path)
    if followed.path is None:
        # Out of the repository: what is needed there is told with the link, what is only mentioned is let be.
        return [] if read.weight == "mentioned" else list(followed.links)
    return contents.paths.at(followed.path)


def _submodule(read: Read, contents: Contents) -> str | None:
    real = contents.follow(read.path).path
    return contents.paths.submodule_of(real) if real is not None else None


def _is_named(read: Read, contents: Contents, *, around: Iterable[str]) -> bool:
    """Whether a command means what it mentions: a file, or a folder that is no mere word and holds none of `around`."""
    real = contents.follow(read.path).path
    if read.is_pattern or real is None or real in contents.paths.entries:
        return True
    return not read.is_word and not any(contains(real, folder) for folder in around)


def _plugins(working_dir: str, paths: Paths) -> Iterator[str]:
    """What Packer takes for plugins where it runs, and starts in the place of its own (seen with 1.6.6; up to 1.10)."""
    for path in paths.directly_in(working_dir):
        if _PLUGIN.match(posixpath.basename(path)):
            yield path


def _by_themselves(target: str, files: Iterable[str], declared: Declared, contents: Contents) -> Iterator[str]:
    """Of the files at a path those that it names by themselves, if they are such as a folder around them leaves out.

    That are the image's own declaration, and what another fleet of the repository recorded.
    """
    real = contents.follow(target).path
    if real is None:
        return
    if real == declared.folder.image_file:
        yield real
    states = tuple(one for one in contents.paths.states if one != _OWN_STATE and f"{real}/".startswith(one))
    if states:
        yield from (path for path in files if path.startswith(states))


def _left_out(files: Iterable[str], named: Collection[str], declared: Declared, contents: Contents) -> list[str]:
    """What is no input although it is among these files, in words: state/, and the image's own declaration."""
    found: dict[str, None] = {}
    own = declared.folder.image_file
    for path in files:
        if path in named:
            continue
        if path == own:
            found[own] = None
        elif path.startswith(contents.paths.states):
            found[next(one for one in contents.paths.states if path.startswith(one))] = None
    return sorted(found, reverse=True)


def all_shown_alike(inputs: Iterable[str], paths: Paths) -> Iterator[UserError]:
    """An error for each path that stands for two files: one of them would be in no key."""
    if paths.alike:
        yield from map(shown_alike, sorted(paths.alike.intersection(inputs)))


def _follow_links(found: Inputs, declared: Declared, contents: Contents) -> None:
    """Add what the links lead to, and take away what is never an input: state/, and the image's own declaration.

    That is one, and so is what another fleet recorded, where something names it by itself.
    """
    waiting = sorted(found.paths)
    links: dict[str, None] = {}
    while waiting:
        path = waiting.pop()
        target = contents.target(path)
        if target is None or path in links:
            continue
        links[path] = None
        if target == _NOWHERE:
            continue
        if contents.follow(path).path is None:
            is_circle = contents.paths.resolve(target, posixpath.dirname(path)) is not None and not target.startswith(
                "/"
            )
            found.problems.append(_leads_in_a_circle(path, target) if is_circle else _leads_out(path, target))
            continue
        there = contents.at(path)
        new = [one for one in there if one not in found.paths]
        found.paths.update(new)
        found.named.update(_by_themselves(path, there, declared, contents))
        left_out = _left_out(there, found.named, declared, contents)
        if left_out:
            found.notes.append(f"{path}: this link leads to {_which(left_out)} left out of the key")
        waiting += new
    own, states = declared.folder.image_file, contents.paths.states
    found.paths = {path for path in found.paths if (path != own and not path.startswith(states)) or path in found.named}


def _leads_in_a_circle(path: str, target: str) -> UserError:
    return UserError(
        f"this link leads to {shorten(target, limit=120)}, and by that out of the repository, or back to itself",
        where=Place(path),
        hint="let it lead to a file of the repository, or remove the link",
    )


def _leads_out(path: str, target: str) -> UserError:
    return UserError(
        f"this link leads to {shorten(target, limit=120)}, which is outside of the repository: "
        "a change of it would go unnoticed",
        where=Place(path),
        hint="commit what it leads to, or remove the link",
    )


def _refuse(written: str, target: str | None, *, name: str, where: Place) -> UserError | None:
    what = f'packer.inputs: "{shorten(written)}"'
    if target is None:
        return UserError(
            f"{what} leads out of the repository", where=where, hint="commit what the build needs to this repository"
        )
    if contains(target, _STATE) or target.startswith(f"{_STATE}/"):
        return UserError(
            f"{what} contains state/, where every build of {name} is recorded: each build would call for the next",
            where=where,
            hint="name the folders that the build reads",
        )
    return None


def _without(read: Read, left_out: Sequence[str]) -> str:
    what = "the whole repository" if contains(read.path, ROOT) else shorten(read.path, limit=120)
    more = "; any other commit calls for a build" if contains(read.path, ROOT) else ""
    return f"{read.place}: the template reads {what}, {_which(left_out, ' included')} left out of the key{more}"


def _which(left_out: Sequence[str], included: str = "") -> str:
    """What is left out, as the beginning of a clause: `state/ included, which is`."""
    verb = "is" if len(left_out) == 1 else "are"
    return f"{joined([shorten(one, limit=120) for one in left_out])}{included}, which {verb}"


def _too_wide(read: Read) -> str:
    return (
        f"{read.place}: a command names {shorten(read.path, limit=120)}, which holds more than the image: "
        "if it reads what is not in packer.inputs, a change would go unnoticed"
    )


def _not_exported(read: Read, submodule: str) -> UserError:
    return UserError(
        f"the template reads {shorten(read.path, limit=120)}, which is in the submodule {shorten(submodule)}: "
        "submodules are not exported, and the build would not find it",
        where=read.place,
        hint="commit it to this repository",
    )


def _absent(read: Read, contents: Contents, *, template: str) -> UserError:
    if contents.paths.resolve(read.path, ROOT) is None:
        return UserError(
            "the template reads a file that is outside of the repository",
            where=read.place,
            hint=f"it leads to {read.path} from the repository's root; paths are relative to packer.working_dir",
        )
    hint = "is it committed? Paths in a template are relative to packer.working_dir, by default the image's folder"
    beside = posixpath.normpath(posixpath.join(template, posixpath.relpath(read.path, read.base)))
    if read.from_root is not None and contents.paths.at(read.from_root):
        hint = f"there is {shorten(read.from_root, limit=120)} at the root: to run Packer there, set working_dir: /"
    elif beside != read.path and contents.paths.at(beside):
        hint = f"there is {shorten(beside, limit=120)}: to run Packer in the template's folder, name it as working_dir"
    return UserError(f"there is no file {shorten(read.path, limit=120)} at this commit", where=read.place, hint=hint)


# What the files that a template names draw on in their turn: playbooks, scripts that run here, templates of texts.

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
    """How Ansible is run, if it is: by its provisioner, or by a command that names a playbook."""

    def used(use: Use) -> tuple[str, ...]:
        return tuple(one.path for one in reads if use in one.uses)

    yaml = [path for path in mentioned if path.endswith(YAML) and contents.is_file(path)]
    contents.load(yaml)
    playbooks = (*used("playbook"), *(path for path in yaml if contents.kept(path, is_playbook)))
    if not playbooks:
        return None
    requirements = used("requirements")
    return Run(
        playbooks=tuple(dict.fromkeys(playbooks)),
        working_dir=working_dir,
        role_folders=used("roles"),
        # Whatever an argument names may be an inventory; variables beside it are read then.
        inventories=(*used("inventory"), *mentioned),
        settings=tuple(path for path in used("settings") if contents.is_file(path)),
        others=(*requirements, *yaml),
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
