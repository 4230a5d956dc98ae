"""Every file that feeds an image's build, so that its key changes when one of them does."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from sys import intern
from typing import TYPE_CHECKING

from reconciler.desired.contents import Contents
from reconciler.desired.declared import Declared
from reconciler.desired.paths import ROOT, Paths, contains, relative
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import InputFile
from reconciler.model.text import shorten

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

_STATE = "state"
_NOWHERE = "/dev/null"
"""The one file outside of a repository that never changes: links to it switch off units of systemd."""


@dataclass
class Inputs:
    """The paths that feed an image, and what is to be said of them."""

    paths: set[str]
    problems: list[UserError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def declared_inputs(declared: Declared, files: TemplateFiles, contents: Contents) -> Inputs:
    """What feeds an image whatever its template says.

    That is its folder without image.yaml, what `packer.inputs` names, the template and its var files, and where links
    in all of that lead. A problem tells of each entry of `inputs`, and of each link, that can't be one.
    """
    folder, paths = declared.folder, contents.paths
    found = Inputs(set(paths.under(folder.path)) | set(files.all))
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
    _follow_links(found, declared, contents)
    found.paths.update(files.links)
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
            followed = contents.follow(read.path)
            passed.update(followed.links if followed.path is not None else ())
            if any(contains(one, other) for one, other in ((read.path, _STATE), (_STATE, read.path))):
                found.notes.append(_without_state(read))
    found.paths.update(drawn(there, contents, working_dir=working_dir, template_folder=template))
    _follow_links(found, declared, contents)
    # Of the links on the way to a file, that file counts, and not all that they lead to.
    found.paths |= passed
    return found


def all_inputs(one: Inputs, other: Inputs) -> Inputs:
    """Both taken together, each problem and each note once."""
    problems = {(str(problem)): problem for problem in (*one.problems, *other.problems)}
    return Inputs(one.paths | other.paths, list(problems.values()), list(dict.fromkeys([*one.notes, *other.notes])))


def input_files(input_paths: Iterable[str], paths: Paths, *, folder: str) -> tuple[InputFile, ...]:
    """The inputs with their modes and object ids, sorted by the path as it is seen from the image's folder.

    A symbolic link counts by its own blob, a submodule by the commit that it is at.
    """
    entries = (paths.entries[path] for path in input_paths)
    # The same few names in every image: they are kept once.
    return tuple(sorted(InputFile(intern(relative(entry.path, folder)), entry.mode, entry.oid) for entry in entries))


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


def _follow_links(found: Inputs, declared: Declared, contents: Contents) -> None:
    """Add what the links lead to, and take away what is never an input: state/, and the image's own declaration."""
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
        new = [one for one in contents.at(path) if one not in found.paths]
        found.paths.update(new)
        waiting += new
    found.paths.discard(declared.folder.image_file)
    found.paths = {path for path in found.paths if not path.startswith(contents.paths.states)}


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


def _without_state(read: Read) -> str:
    what = "the whole repository" if contains(read.path, ROOT) else shorten(read.path, limit=120)
    more = "; any other commit calls for a build" if contains(read.path, ROOT) else ""
    return f"{read.place}: the template reads {what}, state/ included, which is left out of the key{more}"


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
_FILE_CALL = re.compile(r"\bfile[a-z0-9]*\(\s*\"([^\"$%]+)\"")
_MAY_NAME_MORE: frozenset[Use] = frozenset({"playbook", "requirements", "settings", "script", "template"})
_DEPTH = 4
"""Scripts that call scripts that call scripts: further down nothing is looked for."""


def drawn(reads: Sequence[Read], contents: Contents, *, working_dir: str, template_folder: str) -> list[str]:
    """The files that nobody but the named files names, and links on the way to them.

    `reads` are those whose paths are there.
    """
    scripts = [one.path for one in reads if "script" in one.uses or _is_command(one)]
    called = _of_scripts(scripts, contents, working_dir=working_dir)
    within = _of_templates([one.path for one in reads if "template" in one.uses], contents, folder=template_folder)
    run = _run(reads, [*(one.path for one in reads if one.weight == "mentioned"), *called], contents, working_dir)
    found = [file for path in (*called, *within) for file in contents.at(path)]
    return [*found, *(drawn_on(run, contents) if run is not None else ())]


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


def _of_scripts(scripts: Sequence[str], contents: Contents, *, working_dir: str) -> list[str]:
    """Files that shell scripts of this machine name, and the scripts that they call."""
    found: dict[str, None] = {}
    level, seen = list(dict.fromkeys(scripts)), set(scripts)
    for _ in range(_DEPTH):
        level = [path for path in level if contents.is_file(path)]
        contents.load(level)
        named = [one for path in level for one in _named_by_script(path, contents, working_dir)]
        found |= dict.fromkeys(named)
        level = [path for path in dict.fromkeys(named) if path not in seen]
        seen.update(level)
        if not level:
            break
    return list(found)


def _named_by_script(path: str, contents: Contents, working_dir: str) -> Iterator[str]:
    content = contents.read(path)
    if len(content) > MAX_LENGTH or not (path.endswith((*_SHELL_SUFFIXES, *MAKEFILES)) or _SHELLS.match(content)):
        return
    text = "\n".join(
        line for line in content.decode(errors="replace").splitlines() if not line.lstrip().startswith("#")
    )
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


def _of_templates(paths: Sequence[str], contents: Contents, *, folder: str) -> list[str]:
    """Files that `file()` names within the texts of `templatefile()`."""
    paths = [path for path in dict.fromkeys(paths) if contents.is_file(path)]
    contents.load(paths)
    named = [name for path in paths for name in _FILE_CALL.findall(contents.read(path).decode(errors="replace"))]
    return [one for name in named for one in _existing(name, folder, contents, around=(folder,))]
