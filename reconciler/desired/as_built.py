"""Images that are what their newest recorded build was made of: their templates need not be read."""

from __future__ import annotations

import re
from functools import partial

from reconciler.desired.contents import Contents
from reconciler.desired.declared import Declared, TemplateFiles, locate
from reconciler.desired.inputs import declared_inputs, input_files
from reconciler.desired.located import as_one
from reconciler.desired.packer.json_file import folder_of
from reconciler.model.declaration import Declaration
from reconciler.model.fleet import Template, UnreadImage
from reconciler.model.lockfile import Build, Lockfile
from reconciler.model.tree import REGULAR_MODES
from reconciler.plan.key import of_inputs, unmoved
from reconciler.registries import KINDS, dialect_of

# Templates that can't name a file outside of the folders that their paths begin at, told from their text alone.
#
# That is a hundredth of the work of reading them, and enough for most: the files of an image stand in its folder.

# What a path needs to lead up, or to another place in the repository: two dots in a row, written so or put together
# of a text that ends with one (there a quote, `${`, `%{` or an escape follows) and one that begins with one; a dot
# written as a code; a verb that cuts a text; or `<`, which begins heredocs, whose texts end without a quote, and
# CHECKOUT.
_MAY_LEAD_OUT = re.compile(rb"""\.\.|\.["'$%\\]|\\[uU]|<|%[^a-zA-Z"%]*\.""")
# From the first letter of a word alone: tried from each of its letters it takes five times as long.
_CALL = re.compile(rb"(?<![A-Za-z_])([A-Za-z_][A-Za-z0-9_]{0,64})[ \t]*\(")
# The time of the build is not known, and neither is what is made of it: the most common name of an image.
_OF_THE_BUILD = re.compile(rb"(?:regex_)?replace\([ \t]*timestamp\([ \t]*\)")
_KEEPS_TEXTS_WHOLE = frozenset(
    b"""
    abs abspath alltrue anytrue basename bool can ceil chunklist cidrhost cidrnetmask cidrsubnet cidrsubnets
    coalesce coalescelist compact concat contains convert distinct element endswith env filebase64 fileexists
    flatten floor format formatdate formatlist indent isotime join keys legacy_isotime length list lookup lower
    map max md5 merge min number object optional parseint pow range reverse set setintersection setproduct
    setunion sha1 sha256 sha512 signum slice sort startswith strcontains string sum timeadd timestamp title try
    tuple upper uuidv4 uuidv5 values zipmap
    """.split()
)
"""Functions, and words of types, that make no text but of whole ones. Others may join two dots that were apart, go up
as `dirname` does, or read a path from a file."""
# What reads other files than those that it names: playbooks, scripts that run here, templates of texts, and blocks of
# which only the evaluated template tells what they are. And the regions of copies, which `regions` has not.
_MAY_DRAW_ON_MORE = re.compile(
    rb"ansible|shell-local|templatefile|dynamic|external|mount_commands|command_wrapper|ami_regions"
)


def is_confined(content: bytes, path: str) -> bool:
    """Whether every path in a file of HCL leads to somewhere below the folder that it begins at.

    False means only that it is not known without reading the file; JSON always has to be read.
    """
    if path.endswith(".json") or _MAY_LEAD_OUT.search(content) is not None:
        return False
    if b"timestamp" in content:
        content = _OF_THE_BUILD.sub(b"timestamp(", content)
    calls = _CALL.findall(content)
    return _KEEPS_TEXTS_WHOLE.issuperset(calls)


def names_all(content: bytes) -> bool:
    """Whether a file of HCL itself names all that is read: no file that it names can name another one.

    False means only that it is not known without reading those files.
    """
    return _MAY_DRAW_ON_MORE.search(content) is None


def is_confined_value(value: object) -> bool:
    """The same of a variable's value that was given outside of the template."""
    return _MAY_LEAD_OUT.search(f'"{value}"'.encode()) is None


# A build is recorded only of an image whose template was read and checked. What the template says, and whether it is
# right, depends on the files that feed the image, on `packer` and `source` in its declaration, on its first region, and
# on where the paths lead that it reads. Where all of that is as it was, reading it again would find the same.
#
# Which files feed an image is known without its template only where that names nothing outside of the image's folder,
# and nothing that names more in its turn: a playbook, a script that runs here. Those templates are always read.


def image_as_built(
    declared: Declared, files: TemplateFiles, contents: Contents, *, recorded: Lockfile
) -> UnreadImage | None:
    """The image, if it is as it was built last; None if it has to be read. The template's files have to be loaded."""
    last = recorded.builds[0] if recorded.builds else None
    declaration, folder = declared.declaration, declared.folder
    if (
        last is None
        or last.artifacts[0].kind not in KINDS
        or not _asks_the_same(declaration, recorded, last)
        or _left_several(last)
    ):
        return None
    inputs = declared_inputs(declared, files, contents)
    if inputs.problems:
        return None
    found = input_files(inputs.paths, contents.paths, folder=folder.path)
    kind = dialect_of(last.artifacts[0].kind).kind
    components = unmoved(last, of_inputs(declaration, found, kind=kind))
    if components is None or not _reads_its_own_folder_alone(declared, files, contents):
        return None
    return UnreadImage(
        name=folder.name,
        folder=folder.path,
        declaration=declaration,
        kind=kind,
        source=recorded.source.requested if recorded.source is not None else None,
        locations=declaration.locations,
        ruled_at=declared.rulings(),
        inputs=found,
        components=components,
        read=partial(_read, declared, contents),
    )


def _asks_the_same(declaration: Declaration, recorded: Lockfile, last: Build) -> bool:
    """Whether the image declares what the template was checked against: its source, and where Packer builds.

    And nothing that only the template tells about, as the formats that its artifacts are kept in.

    The pin of what is built on where it is tells in which location that was; of any other, its one artifact. A child,
    and an image that leaves its source or its locations to the template, is read, and so is one that has copies and is
    not built where its source is.
    """
    source = recorded.source
    pin = last.source.upstream if last.source is not None else None
    if source is None or pin is None or declaration.source is None or declaration.source.image is not None:
        return False
    if declaration.formats:  # which of them there are, its builder says
        return False
    if declaration.source.request != source.requested:
        return False
    where_source_is = dialect_of(last.artifacts[0].kind).kind.builds_where_source_is
    built_in = (pin.location,) if where_source_is else tuple(artifact.location for artifact in last.artifacts)
    return declaration.locations[:1] == built_in


def _left_several(last: Build) -> bool:
    """Whether several builders ran: before each became an image of its own, that was not refused."""
    return len({artifact.builder for artifact in last.artifacts}) > 1


def _reads_its_own_folder_alone(declared: Declared, files: TemplateFiles, contents: Contents) -> bool:
    """Whether no file that is new elsewhere can be one that the template reads: all of the image's folder is input."""
    folder = declared.folder.path
    starts = (files.working_dir, *map(folder_of, files.template))
    if not all(f"{start}/".startswith(f"{folder}/") for start in starts):
        return False
    if not all(is_confined_value(value) for value in declared.declaration.packer.variables.values()):
        return False
    entries = contents.paths.entries
    if files.links or not all(entries[path].mode in REGULAR_MODES for path in files.all):
        return False
    texts = {path: contents.read(path) for path in files.all}
    # One that reads its own declaration, which is in no key unless it is named.
    if any(b"yaml" in text for text in texts.values()):
        return False
    return all(is_confined(text, path) and names_all(text) for path, text in texts.items())


def _read(declared: Declared, contents: Contents) -> Template:
    from reconciler.desired.image import read_alone  # noqa: PLC0415 - 35 ms of parsers that a fleet in sync needs not

    files = locate(declared, contents)
    contents.load(files.all)
    image, problems = read_alone(declared, files, contents)
    if image is None:
        raise as_one(problems)
    return image.template
