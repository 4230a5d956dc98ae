"""`image.yaml` and `reconciler.yaml` as declarations, every place kept, and the template's files."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Annotated, Any

from pydantic import Field, create_model

from reconciler.desired.contents import Contents
from reconciler.desired.folders import Folder
from reconciler.desired.located import Located, as_one, known_here, merge, validate
from reconciler.desired.packer.json_file import (
    AUTO_VARIABLES,
    FOLDER_SUFFIXES,
    folder_of,
    is_hcl2,
    is_legacy,
    may_be_legacy,
    why_not_legacy,
)
from reconciler.desired.paths import ROOT
from reconciler.desired.yaml_file import Document, read_yaml
from reconciler.model.declaration import Declaration, Settings
from reconciler.model.errors import Place, UserError
from reconciler.model.kind import Kind
from reconciler.model.source import DeclaredSource
from reconciler.model.text import shorten
from reconciler.model.values import SHARED
from reconciler.registries import KINDS, dialect_of

# `image.yaml` as a declaration, with the fleet's defaults under it and every place kept.

# A source is one choice of three. Merged, a default `ssm` beside an image's own `image` would be two.
_WHOLE = frozenset({"source"})
_PLACES = frozenset({"locations", "regions"})
"""Two words for one thing: that of every kind, and that of AMIs."""
_OF_TENDED = (("share_with",), ("deprecate_after",), ("protect",))
_OF_PLACED = (("smoke_test", "instance_type"), ("smoke_test", "subnets"), ("smoke_test", "allow_from"))


@dataclass(frozen=True)
class Declared:
    """A folder with its declaration, and where each part of it was written.

    That is read from image.yaml once more when somebody asks for it: of a thousand images in sync nobody does, and the
    places would take more memory than the declarations.
    """

    folder: Folder
    declaration: Declaration
    written: Callable[[], Located]

    @cached_property
    def document(self) -> Located:
        """What was written in image.yaml and among the defaults, each part with its place."""
        return self.written()

    @property
    def location_key(self) -> str:
        """The key that says where it is to be: `locations`, or its kind's own word."""
        return next((key for key in ("locations",) if self.document.follow((key,))[0]), "regions")

    def place(self, *path: str | int) -> Place:
        """Where a part is written, or the nearest thing above it: in image.yaml or among the defaults."""
        return self.document.place_of(*path)

    def rulings(self) -> Mapping[str, Place]:
        """Where it says what it rules of builds: `hold`, `suspend`, `publish`, and each revoked build by its id."""
        declaration = self.declaration
        kept = {key: self.place(key) for key in ("hold", "suspend") if getattr(declaration, key) is not None}
        places = ("ssm", "tag", "launch_templates", "auto_scaling_groups")
        keys = [key for key in places if getattr(declaration.publish, key)]
        published = {"publish": self.place("publish", keys[0])} if keys else {}
        published |= {f"publish.{key}": self.place("publish", key) for key in keys}
        return kept | published | {one.build: self.place("revoke", at) for at, one in enumerate(declaration.revoke)}

    def unacted(self, kind: Kind) -> Iterator[str]:
        """A note for each key that somebody wrote and that is accepted, but does nothing for an image of a kind."""
        for path in (*(_OF_TENDED if not kind.tended else ()), *(_OF_PLACED if not kind.placed else ())):
            reached, found = self.document.follow(path)
            # Where a mixed fleet boots is said among its defaults, for those images that it is said of.
            of_others = path in _OF_PLACED and found.place.path != self.folder.image_file
            if reached == path and found.value and not of_others:
                yield f"{'.'.join(path)} does nothing for {kind.artifact}: its kind knows no such thing ({found.place})"

    def at_odds(self) -> Iterator[str]:
        """A note for each thing that is ruled of builds or publications and that something beside it undoes.

        No error: what is revoked has to be so whatever stands beside it, and waves may be all images' default.
        """
        declaration = self.declaration
        for at, one in enumerate(declaration.revoke):
            if declaration.hold is not None and declaration.hold.build == one.build:
                yield (
                    f"{one.build} is held ({self.place('hold')}) and revoked ({self.place('revoke', at)}): the "
                    "revocation is carried out, and the hold is refused; hold another build, or none"
                )
        if declaration.publish.waves and not declaration.publish.auto_scaling_groups:
            place = self.place("publish", "waves")
            yield f"publish.waves does nothing: no publish.auto_scaling_groups are declared ({place})"
        elif declaration.publish.waves and declaration.publish.waves[-1].wait:
            last = len(declaration.publish.waves) - 1
            where = self.place("publish", "waves", last, "wait")
            yield f"publish.waves[{last}].wait does nothing: it is for a wave that comes after, and none does ({where})"


def read_declared(
    folder: Folder, contents: Contents, *, defaults: Located
) -> tuple[Declared | None, tuple[UserError, ...]]:
    """Read a folder's image.yaml, or take the defaults where there is none.

    Returns:
        The declaration and nothing, or None and every problem.
    """
    try:
        document = _document(folder, contents)
    except UserError as error:
        return None, (error,)
    if document.problems:
        # What else is wrong with a file that could be read in part is reported as well, but only once.
        _, more = validate(_model_for(document.root), document.root)
        return None, (*document.problems, *more)
    merged = _merged(defaults, document.root)
    declaration, problems = validate(_model_for(merged), merged)
    if declaration is None:
        return None, problems

    return Declared(folder, declaration, partial(_written, folder, contents, defaults)), ()


def _written(folder: Folder, contents: Contents, defaults: Located) -> Located:
    return _merged(defaults, _document(folder, contents).root)


def _merged(defaults: Located, own: Located) -> Located:
    """What an image says, over the defaults. Its `locations` stand in place of the `regions` of other images."""
    if isinstance(defaults.value, dict) and isinstance(own.value, dict) and not _PLACES.isdisjoint(own.value):
        under = {key: member for key, member in defaults.value.items() if key not in _PLACES}
        defaults = Located(under, defaults.place)
    return merge(defaults, own, whole=_WHOLE)


def _document(folder: Folder, contents: Contents) -> Document:
    """What a folder's image.yaml says by itself: nothing where there is none. Raises UserError if it can't be read."""
    if folder.image_file not in folder.files:
        return Document(Located({}, Place(folder.path)), ())
    return read_yaml(contents.read_itself(folder.image_file), folder.image_file)


@cache
def declaration_model(kinds: frozenset[str] = frozenset(KINDS)) -> type[Declaration]:
    """The model of image.yaml: that of a declaration, with what kinds have to say of a source under their words."""
    if not kinds:
        return Declaration
    words: dict[str, Any] = {
        word: (asked | None, None) for kind in sorted(kinds) for word, asked in dialect_of(kind).sources.items()
    }
    source: Any = create_model("DeclaredSource", __base__=DeclaredSource, __doc__=DeclaredSource.__doc__, **words)
    field = Declaration.model_fields["source"]
    declared: Any = (Annotated[source | None, SHARED], Field(None, description=field.description))
    return create_model("Declaration", __base__=Declaration, __doc__=Declaration.__doc__, source=declared)


def _model_for(document: Located) -> type[Declaration]:
    """The model that a document is read by: with the kinds that it names, or with all, for what is no source at all."""
    source = document.follow(("source",))[1].plain() if document.follow(("source",))[0] else None
    named = set(source) - {"channel", "variable"} if isinstance(source, dict) else set()
    if source is None or named == {"image"}:
        return declaration_model(frozenset())
    known = {kind for kind, entry in KINDS.items() if not named.isdisjoint(entry.sources)}
    told = {"image", *(word for kind in known for word in KINDS[kind].sources)}
    return declaration_model(frozenset(known)) if named and named <= told else declaration_model()


# `desired/reconciler.yaml`: the controller's settings, and the defaults of every image.

SETTINGS_FILE = "desired/reconciler.yaml"


@dataclass(frozen=True)
class Defaults:
    """The settings as a model, and `defaults` with places for merging under each image."""

    settings: Settings
    defaults: Located


def read_settings(content: bytes | None) -> Defaults:
    """Read the file; None stands for an absent one.

    Raises:
        UserError: for the first problem, naming the others. It stops the run, as it concerns every image.
    """
    document = read_yaml(content or b"", SETTINGS_FILE)
    _stop(document.problems)
    settings, problems = validate(Settings, document.root)
    _stop(problems)
    root = document.root.value
    defaults = root.get("defaults") if isinstance(root, dict) else None
    if defaults is None or defaults.value is None:
        defaults = Located({}, Place(SETTINGS_FILE))
    _stop(_problems_of_defaults(defaults))
    _stop(tuple(_unknown_kinds(settings or Settings(), document.root)))
    return Defaults(settings or Settings(), defaults)


def _problems_of_defaults(defaults: Located) -> tuple[UserError, ...]:
    """Check the defaults once, here, and not once an image. What an image may still complete is left to it."""
    _, problems = validate(_model_for(defaults), defaults)
    return tuple(problem for problem in problems if "is missing" not in problem.what)


def _unknown_kinds(settings: Settings, root: Located) -> Iterator[UserError]:
    for name in settings.limits.kinds:
        if name not in KINDS:
            what = f'limits.kinds: "{shorten(name)}" is no kind of artifact'
            hint = known_here(name, KINDS, none="")
            yield UserError(what, where=root.place_of("limits", "kinds", name), hint=hint)


def _stop(problems: Sequence[UserError]) -> None:
    if problems:
        raise as_one(problems)


# From a declaration to the files of the template that it names.


@dataclass(frozen=True)
class TemplateFiles:
    """What Packer would read for an image, in its order. Paths are from the repository's root."""

    template: tuple[str, ...]
    auto_variables: tuple[str, ...]
    var_files: tuple[str, ...]
    working_dir: str
    links: tuple[str, ...] = ()
    """Symbolic links on the way to the template's folder and to where Packer runs."""

    @property
    def all(self) -> tuple[str, ...]:
        """Every one of them."""
        return (*self.template, *self.auto_variables, *self.var_files)


def locate(declared: Declared, contents: Contents) -> TemplateFiles:
    """Find the files that `packer` in an image.yaml names.

    Raises:
        UserError: one is not there, or no template is.
    """
    packer = declared.declaration.packer
    named = _path(declared, contents, packer.template, "template")
    paths = contents.paths
    links: list[str] = []
    if contents.is_file(named):
        template = [_in_real_folder(named, contents, links)]
        folder = folder_of(template[0])
        auto = []  # Pointed at a file, Packer reads that one alone.
    else:
        folder = _followed(named, contents, links)
        files = paths.directly_in(folder)
        template = [path for path in files if path.endswith(FOLDER_SUFFIXES)]
        template = template or _only_legacy(declared, files, contents)
        # Those of HCL first, and then those of JSON (seen with 1.6.6 and 1.16.0).
        auto = sorted((path for path in files if path.endswith(AUTO_VARIABLES)), key=lambda path: path[-5:] == ".json")
    if not is_hcl2(template[0]) and template[0].endswith(".json"):
        auto = []  # Packer reads them beside HCL2 only.
    var_files = [
        _path(declared, contents, written, "var_files", index) for index, written in enumerate(packer.var_files)
    ]
    for index, path in enumerate(var_files):
        var_files[index] = _in_real_folder(path, contents, links)
        if not contents.is_file(path):
            written = packer.var_files[index]
            raise UserError(
                f'packer.var_files: there is no file "{shorten(written)}" at this commit',
                where=declared.place("packer", "var_files", index),
                hint=f"it was looked for at {path} from the repository's root; is it committed?",
            )
    working_dir = _followed(_path(declared, contents, packer.working_dir, "working_dir"), contents, links)
    # The image's own folder is there once it is declared.
    if working_dir not in (ROOT, declared.folder.path) and not paths.under(working_dir):
        raise UserError(
            f'packer.working_dir: there is no folder "{shorten(packer.working_dir)}" at this commit',
            where=declared.place("packer", "working_dir"),
            hint=f"it was looked for at {working_dir} from the repository's root",
        )
    return TemplateFiles(tuple(template), tuple(auto), tuple(var_files), working_dir, tuple(links))


def _in_real_folder(path: str, contents: Contents, links: list[str]) -> str:
    """A file without links on the way to it. That it is a link itself is no matter: Packer reads through it."""
    return posixpath.normpath(posixpath.join(_followed(folder_of(path), contents, links), posixpath.basename(path)))


def _followed(folder: str, contents: Contents, links: list[str]) -> str:
    """Where a folder is, once the links on the way to it are followed; they are added to `links`."""
    followed = contents.follow(folder)
    links += followed.links
    return followed.path or folder


def _path(declared: Declared, contents: Contents, written: str, *key: str | int) -> str:
    path = contents.paths.resolve(written, declared.folder.path)
    if path is None:
        raise UserError(
            f'packer.{key[0]}: "{shorten(written)}" leads out of the repository',
            where=declared.place("packer", *key),
            hint="commit what the build needs to this repository",
        )
    return path


def _only_legacy(declared: Declared, files: list[str], contents: Contents) -> list[str]:
    contents.load(path for path in files if may_be_legacy(path))
    candidates = [path for path in files if may_be_legacy(path) and contents.is_file(path)]
    found = [path for path in candidates if is_legacy(contents.read(path), path)]
    written = declared.declaration.packer.template
    where = declared.place("packer", "template")
    if not found:
        raise UserError(
            f'packer.template: there is no Packer template at "{shorten(written)}"',
            where=where,
            hint=(
                "commit a *.pkr.hcl, *.pkr.json or *.json template there, or name the one to use",
                *(f"{shorten(path)} is none: {why_not_legacy(contents.read(path))}" for path in candidates),
            ),
        )
    if len(found) > 1:
        names = ", ".join(path.rpartition("/")[2] for path in found)
        raise UserError(
            f"packer.template: there is more than one JSON template: {names}", where=where, hint="name the one to use"
        )
    return found
