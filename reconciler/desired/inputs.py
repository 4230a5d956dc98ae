"""Every file that feeds an image's build, so that its key changes when one of them does."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from sys import intern
from typing import TYPE_CHECKING

from reconciler.desired.contents import Contents
from reconciler.desired.declared import Declared
from reconciler.desired.drawn import drawn
from reconciler.desired.packer.file_references import Read
from reconciler.desired.paths import ROOT, Paths, contains, relative
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import InputFile
from reconciler.model.text import joined, shorten
from reconciler.model.tree import shown_alike

if TYPE_CHECKING:
    from reconciler.desired.declared import TemplateFiles

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
    """The paths of the files that are read. Where a link on the way leads out of the repository, that link."""
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
    elif "\\" in read.path and contents.paths.at(slashed := read.path.replace("\\", "/")):
        hint = (
            f"there is {shorten(slashed, limit=120)}: write it with /, as a backslash is part of a name but on Windows"
        )
    return UserError(f"there is no file {shorten(read.path, limit=120)} at this commit", where=read.place, hint=hint)
