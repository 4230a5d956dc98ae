"""The Packer templates of a repository, how each is run today, and names for what they build."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import cached_property

from reconciler.desired.contents import Contents
from reconciler.desired.folders import DESIRED
from reconciler.desired.located import MAX_BYTES
from reconciler.desired.packer.json_file import AUTO_VARIABLES, FOLDER_SUFFIXES, folder_of, is_legacy, may_be_legacy
from reconciler.desired.packer.template import ReadTemplate, Setting, parse_template, parse_variables, read_template
from reconciler.desired.packer.variables import read_variables
from reconciler.desired.paths import ROOT, Paths
from reconciler.desired.proposal.commands import files_to_search
from reconciler.desired.proposal.invocations import Found, Invocation, invocations
from reconciler.model.declaration import IMAGE_NAME_PATTERN, PackerSettings
from reconciler.model.errors import Place, UserError
from reconciler.model.fleet import GIVEN_TAGS, GIVEN_TEXTS
from reconciler.model.tree import REGULAR_MODES, Tree

_NOT_OURS = frozenset({"node_modules", "vendor", ".terraform", "packer_cache", "..", DESIRED})
_HAS_BUILD = re.compile(rb"^[ \t]*build[ \t]*\{", re.MULTILINE)
_AT_ONCE = 500
"""Files that are held in memory at once, where only few of them matter."""
_DECLARED = f"{DESIRED}/image"
"""Where paths of a declaration are seen from: any image's folder."""
_NEAR = 2
"""Levels at which files of variables are looked for: beside a template and in folders there, else beside its folder."""


class Templates:
    """The templates of a tree, and how each is run."""

    def __init__(self, contents: Contents, tree: Tree) -> None:
        self._contents = contents
        self._paths = contents.paths
        ours = [path for path in self._paths.entries if _is_ours(path, self._paths)]
        self._hcl = [path for path in ours if path.endswith(FOLDER_SUFFIXES)]
        contents.load([*self._hcl, *files_to_search(self._paths), *contents.links()])
        self._json = frozenset(path for path in ours if may_be_legacy(path))
        self._legacy = self._legacy_among(sorted(self._json), tree)

    def with_runs(self) -> Iterator[tuple[str, tuple[Invocation, ...]]]:
        """Every template, a file or a folder, with the commands that run it."""
        runs: defaultdict[str, list[Invocation]] = defaultdict(list)
        of_any: defaultdict[str, list[Invocation]] = defaultdict(list)
        for one in self._invocations.runs:
            (of_any if one.anything else runs)[one.template].append(one)
        for folder in sorted({folder_of(path) for path in self._hcl}):
            files = [path for path in self._hcl if folder_of(path) == folder]
            for path in self._templates_of(folder, files, run=runs.keys()):
                of_files = files if path == folder else [path]
                yield path, (*runs[path], *(one for file in of_files for one in of_any[file]))
        for path in self._legacy:
            yield path, (*runs[path], *of_any[path])

    def files(self, path: str) -> list[str]:
        """What Packer reads of a template."""
        return [path] if path in self._paths.entries else self._of_folder(path, FOLDER_SUFFIXES)

    def variables(self, path: str) -> frozenset[str]:
        """The names of a template's variables, whichever values they have. Raises UserError.

        Those of a JSON template need not be declared: a var file may give a value to any that it uses.
        """
        parsed = [self._contents.parsed(file, parse_template) for file in self.files(path)]
        used = {name for file in parsed for _, name in file.names} if path in self._legacy else set()
        return frozenset({*used, *read_variables([block for file in parsed for block in file.body.blocks])})

    def read(self, path: str, packer: PackerSettings) -> ReadTemplate:
        """The facts of a template, run as an image declares it. Raises UserError."""
        auto = self._of_folder(path, AUTO_VARIABLES) if path not in self._paths.entries else []
        named = [self._paths.resolve(file, _DECLARED) or file for file in packer.var_files]
        self._contents.load([*self.files(path), *auto, *named])
        files = [self._contents.parsed(file, parse_template) for file in self.files(path)]
        setting = Setting(
            folder=folder_of(files[0].path),
            working_dir=self._paths.resolve(packer.working_dir, _DECLARED) or ROOT,
            only=dict.fromkeys(packer.only, Place(path)),
            variables=packer.variables,
            var_files=tuple(self._contents.parsed(file, parse_variables) for file in (*auto, *named)),
        )
        return read_template(files, "json" if may_be_legacy(files[0].path) else "hcl2", setting=setting)

    def var_files_for(self, path: str, facts: ReadTemplate, *, given: Collection[str] = ()) -> list[list[str]]:
        """The files near a template that give values to its variables which have none, and are not `given` any.

        Files that give values to the same variables are alternatives, and stand in one list, those that complement
        each other in several: what there is but one of first, so that the choice has the last word.
        """
        variables = facts.template.variables.values()
        missing = {one.name for one in variables if not one.has_default} - GIVEN_TEXTS - GIVEN_TAGS
        missing -= {*facts.template.source_variables, *given}
        folder = folder_of(self.files(path)[0])
        alike = self._giving(missing, folder) or self._giving(missing, folder_of(folder) if folder != ROOT else folder)
        chosen: list[list[str]] = []
        for names, files in sorted(alike.items(), key=lambda one: (len(one[1]), -len(one[0]))):
            if names & missing:
                chosen.append(files)
                missing -= names
        return chosen

    def given_by(self, files: Iterable[str]) -> set[str]:
        """The variables that files give values to."""
        return {name for file in files for name in self._given_by(file)}

    def given_unasked(self, path: str) -> set[str]:
        """The variables that get a value from the files that Packer reads without being told."""
        return self.given_by(self._of_folder(path, AUTO_VARIABLES) if path not in self._paths.entries else ())

    def _giving(self, missing: set[str], folder: str) -> Mapping[frozenset[str], list[str]]:
        """The files near a folder that give values to variables, by those to which they do."""
        alike: defaultdict[frozenset[str], list[str]] = defaultdict(list)
        for file in self._near(folder) if missing else ():
            given = self._given_by(file) & missing
            if given:
                alike[frozenset(given)].append(file)
        return alike

    def _legacy_among(self, files: list[str], tree: Tree) -> list[str]:
        """Those that are templates from before HCL2. Read in parts: most JSON of a repository is something else."""
        found: list[str] = []
        for begin in range(0, len(files), _AT_ONCE):
            part = files[begin : begin + _AT_ONCE]
            blobs = tree.read([self._paths.entries[path].oid for path in part], most=MAX_BYTES)
            found += [path for path in part if is_legacy(blobs.get(self._paths.entries[path].oid, b""), path)]
        self._contents.load(found)
        return found

    def _near(self, folder: str) -> list[str]:
        """The files in a folder, or in one there, that may hold values of variables."""
        depth = 0 if folder == ROOT else folder.count("/") + 1
        return [
            file
            for file in self._paths.under(folder)
            if file.count("/") - depth < _NEAR
            and not file.endswith(AUTO_VARIABLES)
            and file not in self._legacy
            and (file.endswith((".pkrvars.hcl", ".pkrvars.json")) or file in self._json)
        ]

    def _given_by(self, file: str) -> set[str]:
        self._contents.load([file])
        try:
            return set(self._contents.parsed(file, parse_variables).body.attributes)
        except UserError:
            return set()

    def folders_to_run_in(self, path: str, run: Invocation | None) -> list[str]:
        """Where Packer may be run on a template, the likeliest first: where it is, beside it, above it."""
        beside = path if path not in self._paths.entries else folder_of(path)
        above = [beside]
        while above[-1] != ROOT:
            above.append(folder_of(above[-1]))
        top = self._paths.top
        return list(dict.fromkeys([*([run.folder] if run is not None else []), beside, ROOT, *above, top]))

    def is_one_of_several(self, path: str) -> bool:
        """Whether there are more templates beside a file that is one by itself."""
        return path in self._paths.entries and len(self._of_folder(folder_of(path), FOLDER_SUFFIXES)) > 1

    @property
    def not_followed(self) -> tuple[Place, ...]:
        """The commands that build what is only known when they run, and fits no template."""
        return self._invocations.not_followed

    @cached_property
    def _invocations(self) -> Found:
        return invocations(self._contents)

    def _of_folder(self, folder: str, suffixes: tuple[str, ...]) -> list[str]:
        return [path for path in self._paths.directly_in(folder) if path.endswith(suffixes)]

    def _templates_of(self, folder: str, files: list[str], *, run: Iterable[str]) -> list[str]:
        """A folder of HCL2 files as one template, or each of its files that builds something as one."""
        alone = [path for path in files if path in run]
        builds = [path for path in files if _HAS_BUILD.search(self._contents.read(path)) or path.endswith(".json")]
        if folder in run or (not alone and len(builds) < 2):
            return [folder]
        if not alone:
            try:
                self.read(folder, PackerSettings(working_dir=f"/{folder}"))
            except UserError:
                return builds
            return [folder]
        return list(dict.fromkeys([*alone, *builds]))


def _is_ours(path: str, paths: Paths) -> bool:
    return paths.entries[path].mode in REGULAR_MODES and _NOT_OURS.isdisjoint(path.split("/")[:-1])


# Names for proposed images: what says what an image is, and a name of its own for each.

# Names of files, folders and builders that say nothing of what the image is.
_SAYS_NOTHING = frozenset({
    "ami", "amis", "amazon", "amazon-ebs", "aws", "build", "builder", "builders", "builds", "default", "ebs", "hcl",
    "hcl2", "image", "images", "infra", "infrastructure", "json", "linux", "machine-images", "main", "packer",
    "packer-templates", "source", "sources", "src", "template", "templates", "this", "vm",
})  # fmt: skip

# What a source is called after that tells what it is made of, and not what for.
_DISTRIBUTIONS = (
    "al2",
    "alma",
    "alpine",
    "amazon-linux",
    "amzn",
    "centos",
    "debian",
    "fedora",
    "rhel",
    "rocky",
    "ubuntu",
)


def words_for(
    files: Sequence[str], builder: str, run: Invocation | None, *, several: bool, runs: int, repository: str
) -> tuple[str, ...]:
    """What an image may be called by: what tells it from its siblings, then the file, the folders, the repository.

    `files` are those of its template; `several` says that it makes several images, `runs` with how many sets of var
    files each is built.
    """
    rest, _, label = builder.rpartition(".")
    group = rest.rpartition(".")[0]  # the name of its `build`
    stems = [re.sub(r"\.(?:pkr\.hcl|pkr\.json|json|hcl)$", "", posixpath.basename(file)) for file in files]
    parts = folder_of(files[0]).split("/")
    telling = [one for one in (*(stems if len(stems) == 1 else ()), *reversed(parts)) if _tells(one)]
    told = group if _tells(group) and label.lower().startswith(_DISTRIBUTIONS) else label
    base = telling[0] if telling else told if _tells(told) else repository
    name = [base]
    if several:
        own = group if group and not _tells(label) else label
        name = [own] if own.lower().startswith(base.lower()) else [*name, own]
    if runs > 1 and run is not None and run.var_files:
        told_by = posixpath.basename(run.var_files[-1]).split(".")[0]
        name += [told_by] if told_by not in name else []
    grouped = [f"{base}-{group}-{label}"] if several and group else []
    return ("-".join(name), *grouped, *("-".join([one, *name]) for one in telling[1:]))


def _tells(word: str) -> bool:
    return word not in ("", ROOT) and word.lower() not in _SAYS_NOTHING


def names_for(drafts: Sequence[Sequence[str]], *, taken: Collection[str]) -> list[str]:
    """A name of its own for each image, of what it may be called by, the likeliest first. None of them is taken."""
    wanted = Counter(_as_name(words[0]) for words in drafts)
    given: list[str] = []
    used = set(taken)
    for words in drafts:
        names = [_as_name(word) for word in words]
        first = names[1:] if wanted[names[0]] > 1 and len(names) > 1 else names
        free = (name for name in (*first, *names) if name not in used)
        numbered = (f"{names[0][:60]}-{number}" for number in range(2, len(drafts) + 3))
        given.append(next(free, None) or next(name for name in numbered if name not in used))
        used.add(given[-1])
    return given


def _as_name(text: str) -> str:
    """A text as the name of an image."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    name = re.sub(r"[^a-z0-9._-]+", "-", plain).strip("._-")[:64].strip("._-")
    name = re.sub(r"\.{2,}", ".", name).removesuffix(".lock")
    return name if re.fullmatch(IMAGE_NAME_PATTERN, name) else "image"
