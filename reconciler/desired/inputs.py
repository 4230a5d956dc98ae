"""Every file that feeds an image's build, so that its key changes when one of them does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from reconciler.desired.contents import Contents
from reconciler.desired.declared import Declared
from reconciler.desired.located import shorten
from reconciler.desired.packer.names import folder_of
from reconciler.desired.paths import ROOT, Paths, relative, resolve
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import InputFile

if TYPE_CHECKING:
    from reconciler.desired.packer.file_references import Read

_STATE = "state"


def input_paths(declared: Declared, paths: Paths, *, read: Iterable[str]) -> tuple[list[str], tuple[UserError, ...]]:
    """The paths that feed an image: its folder without image.yaml, what `packer.inputs` names, and what was `read`.

    Returns:
        The paths in order, each once, and a problem for each entry of `inputs` that can't be one.
    """
    folder = declared.folder
    found = set(paths.under(folder.path)) | set(read)
    problems = []
    for index, written in enumerate(declared.declaration.packer.inputs):
        where = declared.place("packer", "inputs", index)
        target = resolve(written, folder.path)
        problem = _refuse(written, target, name=folder.name, where=where)
        files = [] if target is None or problem else paths.at(target)
        if problem is None and not files:
            problem = UserError(
                f'packer.inputs: "{shorten(written)}" is nothing that is committed',
                where=where,
                mend=f"it was looked for at {target} from the repository's root; name a file or a folder, no pattern",
            )
        if problem is not None:
            problems.append(problem)
        found.update(files)
    found.discard(folder.image_file)
    return sorted(found), tuple(problems)


def input_files(input_paths: Iterable[str], paths: Paths, *, folder: str) -> tuple[InputFile, ...]:
    """The inputs with their modes and object ids, sorted by the path as it is seen from the image's folder.

    A symbolic link counts by its own blob, a submodule by the commit that it is at.
    """
    entries = (paths.entries[path] for path in input_paths)
    return tuple(sorted(InputFile(relative(entry.path, folder), entry.mode, entry.oid) for entry in entries))


def unlisted_reads(
    reads: Sequence[Read], inputs: Iterable[str], declared: Declared, paths: Paths
) -> tuple[UserError, ...]:
    """A problem for each path that the template reads and that a change of would go unnoticed, or that is not there."""
    known = frozenset(inputs)
    problems = []
    for read in reads:
        files = [] if read.path.startswith("..") else paths.at(read.path)
        submodule = paths.submodule_of(read.path)
        if not files or submodule is not None:
            if not read.may_be_absent:
                problems.append(_absent(read, paths) if submodule is None else _not_exported(read, submodule))
            continue
        # An image.yaml is read by us, and not by a build.
        missing = [path for path in files if path not in known and path != declared.folder.image_file]
        if missing:
            problems.append(_unlisted(read, missing[0], declared))
    return tuple(problems)


def notes_on_inputs(mentions: Sequence[Read], inputs: Iterable[str], paths: Paths) -> Iterator[str]:
    """What stops nothing: submodules, and files outside of the inputs that a command of the template may read."""
    known = frozenset(inputs)
    for path in sorted(known):
        if paths.submodule_of(path) == path:
            yield f"{path} is a submodule, which is not exported: what is in it is missing from the build"
    for mention in mentions:
        if any(path not in known for path in paths.at(mention.path)):
            yield (
                f"{mention.place}: a command names {shorten(mention.path, limit=120)}, which is not among the image's "
                "inputs: if it reads that, a change would go unnoticed"
            )


def unlisted_targets(inputs: Iterable[str], declared: Declared, contents: Contents) -> Iterator[UserError]:
    """A problem for each symbolic link among the inputs that leads to something that is not among them.

    The link counts by its own blob: what it leads to, in the repository or out of it, could change without the key.
    """
    known = frozenset(inputs)
    for path in sorted(known):
        written = contents.target(path)
        if written is None:
            continue
        target = None if written.startswith("/") else resolve(written, folder_of(path))
        if target is None:
            yield UserError(
                f"this link leads to {shorten(written, limit=120)}, which is outside of the repository: "
                "a change of it would go unnoticed",
                where=Place(path),
                mend="commit what it leads to, or remove the link",
            )
            continue
        if all(file in known for file in contents.paths.at(target)):
            continue
        entry = relative(target, declared.folder.path)
        yield UserError(
            f"this link leads to {shorten(target, limit=120)}, which is not among the image's inputs: "
            "a change of it would go unnoticed",
            where=Place(path),
            mend=f'add "{entry}" to packer.inputs in {declared.folder.image_file}',
        )


def _refuse(written: str, target: str | None, *, name: str, where: Place) -> UserError | None:
    what = f'packer.inputs: "{shorten(written)}"'
    if target is None:
        return UserError(
            f"{what} leads out of the repository", where=where, mend="commit what the build needs to this repository"
        )
    if target in (ROOT, _STATE) or target.startswith(f"{_STATE}/"):
        return UserError(
            f"{what} contains state/, where every build of {name} is recorded: each build would call for the next",
            where=where,
            mend="name the folders that the build reads",
        )
    return None


def _not_exported(read: Read, submodule: str) -> UserError:
    return UserError(
        f"the template reads {shorten(read.path, limit=120)}, which is in the submodule {shorten(submodule)}: "
        "submodules are not exported, and the build would not find it",
        where=read.place,
        mend="commit it to this repository",
    )


def _absent(read: Read, paths: Paths) -> UserError:
    if read.path.startswith(".."):
        return UserError(
            "the template reads a file that is outside of the repository",
            where=read.place,
            mend=f"it leads to {read.path} from the repository's root; paths are relative to packer.working_dir",
        )
    mend = "is it committed? Paths in a template are relative to packer.working_dir, by default the image's folder"
    if read.from_root is not None and paths.at(read.from_root):
        mend = f"there is {shorten(read.from_root, limit=120)} at the root: to run Packer there, set working_dir: /"
    return UserError(f"there is no file {shorten(read.path, limit=120)} at this commit", where=read.place, mend=mend)


def _unlisted(read: Read, missing: str, declared: Declared) -> UserError:
    folder = declared.folder
    if read.path == ROOT:
        return UserError(
            "the template reads the whole repository, so that every commit would call for a build",
            where=read.place,
            mend="let it read the folders that it needs",
        )
    # Naming the folder of a file beside others is what people mean for roles; the file alone is what is known.
    entry = relative(read.path, folder.path)
    beside = f" (or the folder {relative(folder_of(missing), folder.path)})" if missing == read.path else ""
    return UserError(
        f"the template reads {shorten(read.path, limit=120)}, which is not among the image's inputs: "
        "a change of it would go unnoticed",
        where=read.place,
        mend=f'add "{entry}" to packer.inputs in {folder.image_file}{beside}',
    )
