"""The files that playbooks draw on: roles, variables, tasks, plugins, and what their texts name.

The folders are those of Ansible 2.19 (docs/docsite/rst/playbook_guide/playbook_pathing.rst; lib/ansible/playbook/role/
definition.py, _load_role_path). A name that a template makes counts as every file that it could come to.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from reconciler.desired.ansible.values import COMPUTED, PLAYBOOK, ROLE, Said, read_settings, sayings_of
from reconciler.desired.contents import Contents
from reconciler.desired.linear import LONGEST, Pattern
from reconciler.desired.packer.json_file import folder_of
from reconciler.desired.paths import ROOT, contains, is_a_word
from reconciler.model.text import decoded

YAML: Final = (".yml", ".yaml")
SETTINGS_FILE = "ansible.cfg"
# Beside a playbook, and loaded without being named.
_VARIABLES = ("group_vars", "host_vars")
_REQUIREMENTS = tuple(f"{folder}requirements{suffix}" for folder in ("", "roles/", "collections/") for suffix in YAML)
_CODE = (
    "collections", "library", "module_utils", "modules", "action_plugins", "become_plugins", "cache_plugins",
    "callback_plugins", "cliconf_plugins", "connection_plugins", "doc_fragments", "filter_plugins", "httpapi_plugins",
    "inventory_plugins", "lookup_plugins", "netconf_plugins", "shell_plugins", "strategy_plugins", "terminal_plugins",
    "test_plugins", "vars_plugins",
)  # fmt: skip
_SEARCHED = ("files", "templates", "vars", "tasks")
"""Where a name is looked for, beside the file that says it and beside the playbook."""
_NOT_READ = frozenset({"files", "templates", "molecule", "tests"})
"""Folders of a role whose YAML is not Ansible's own, or not for this run."""

_INCLUDES_ROLES = frozenset({"include_role", "import_role"})
_INCLUDES_TASKS = frozenset({"include_tasks", "import_tasks", "include"})
_NAMES_FILES = _INCLUDES_TASKS | {
    "src", "script", "file", "files", "dir", "include_vars", "vars_files", "import_playbook", "with_fileglob",
    "with_first_found", "with_file", "with_filetree", "with_template", "paths",
}  # fmt: skip
_READS_YAML = _INCLUDES_TASKS | {"include_vars", "vars_files"}
"""Who names tasks or variables, which no playbook is."""
_FOLDERS = frozenset({"src", "dir", "with_filetree", "paths"})
_ARCHIVES = (".tar.gz", ".tgz", *YAML)
_TEMPLATE = ".j2"
_DRAWN_IN = re.compile(rb"\{%[-+ \t]*(?:include|import|from|extends)\b([^%\n]*)")
_QUOTED = re.compile(rb"""'([^'"{}]+)'|"([^'"{}]+)\"""")
_PATTERN = re.compile(r"[*?]|\[.{1,256}\]")
_MOST_COMPUTED = 4
"""Computed parts of a name of which the rest still tells something."""


Guess: TypeAlias = Literal["", "any", "tasks"]


@dataclass(frozen=True)
class Run:
    """How Ansible is run: paths from the fleet's folder."""

    playbooks: tuple[str, ...]
    working_dir: str
    role_folders: tuple[str, ...] = ()
    """Named in the environment or in an argument; they go before those of ansible.cfg."""
    inventories: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    """Further YAML that the run is given, such as variables and requirements."""


@dataclass(frozen=True)
class _Source:
    """A file of YAML, and what its names are relative to beside its own folder."""

    path: str
    playbook_folder: str
    role: str | None = None
    guess: Guess = ""
    """Whether it is only one of those that a computed name may come to: `tasks` and variables are no playbook."""


@dataclass
class _Reading:
    """What was found so far, and what is still to be read."""

    contents: Contents
    working_dir: str
    role_folders: list[str]
    found: dict[str, None] = field(default_factory=dict)
    waiting: list[_Source] = field(default_factory=list)
    seen: set[_Source] = field(default_factory=set)


def is_playbook(content: bytes) -> bool:
    """Whether a file is one, of which nobody said so."""
    return _says_plays(sayings_of(content) or ())


def is_requirements(content: bytes) -> bool:
    """Tell by its content whether a file lists what `ansible-galaxy` installs."""
    return any(_is_installed(said) for said in sayings_of(content) or ())


def _says_plays(sayings: Iterable[Said]) -> bool:
    starts = {"hosts", "import_playbook"}
    return any(
        len(said.keys) == 2 and isinstance(said.keys[0], int) and not starts.isdisjoint(said.names) for said in sayings
    )


def drawn_on(run: Run, contents: Contents) -> list[str]:
    """Every path that the run draws on and that is there: files, and links on the way to them."""
    reading = _Reading(contents, run.working_dir, list(run.role_folders))
    _settings(run, reading)
    for path in run.playbooks:
        _playbook(path, reading)
    for inventory in run.inventories:
        _variables(inventory, reading)
        _variables(folder_of(inventory), reading)
    folder = folder_of(run.playbooks[0]) if run.playbooks else run.working_dir
    for path in run.others:
        _take(path, _Source(path, folder), reading)
    while reading.waiting:
        sources, reading.waiting = reading.waiting, []
        sources = [one for one in dict.fromkeys(sources) if one not in reading.seen and contents.is_file(one.path)]
        reading.seen.update(sources)
        contents.load(one.path for one in sources)
        for source in sources:
            _read(source, reading)
    return list(reading.found)


def _settings(run: Run, reading: _Reading) -> None:
    """`ansible.cfg` of the folder where it runs, unless the environment names another one."""
    contents, working_dir = reading.contents, run.working_dir
    files = run.settings or (posixpath.normpath(posixpath.join(working_dir, SETTINGS_FILE)),)
    files = tuple(path for path in files if contents.is_file(path))
    contents.load(files)
    for path in files:
        here = _Source(path, working_dir)
        _take(path, here, reading)
        settings = read_settings(contents.read(path), folder=folder_of(path), working_dir=working_dir)
        reading.role_folders += settings.role_folders
        for other in settings.others:
            if not contains(other, folder_of(path)):
                _take(other, here, reading, read=False)
                _variables(folder_of(other), reading)


def _variables(folder: str, reading: _Reading) -> None:
    """The variables of groups and hosts in a folder."""
    for name in _VARIABLES:
        path = posixpath.join(folder, name)
        _take(path, _Source(path, folder), reading)


def _playbook(path: str, reading: _Reading) -> None:
    """A playbook, and what Ansible takes from its folder without being told."""
    here = _Source(path, folder_of(path))
    _take(path, here, reading)
    reading.waiting.append(here)  # whatever its name ends with
    _variables(here.playbook_folder, reading)
    for name in _REQUIREMENTS:
        _take(posixpath.join(here.playbook_folder, name), here, reading)
    for name in _CODE:
        _take(posixpath.join(here.playbook_folder, name), here, reading, read=False)


def _read(source: _Source, reading: _Reading) -> None:
    """Take what one file draws on: tasks, variables, a playbook, or a template of Jinja."""
    if source.path.endswith(_TEMPLATE):
        _template(source, reading)
    else:
        _read_yaml(source, reading)


def _read_yaml(source: _Source, reading: _Reading) -> None:
    sayings = reading.contents.kept(source.path, sayings_of)
    if sayings is None:
        reading.found[source.path] = None
        # What can't be read here is either no YAML, which Ansible refuses, or stranger than ours: all of it counts.
        for name in (*_SEARCHED, "roles"):
            _take(posixpath.join(source.playbook_folder, name), source, reading, read=False)
        return
    if source.guess and _says_plays(sayings):
        return  # Nobody goes from a role into the playbook beside the one that it is in.
    reading.found[source.path] = None
    names = reading.contents.paths.names
    for said in sayings:
        if _is_role(said):
            _role(said.words[1 if said.words[:1] == ("name",) else 0 :][:1], source, reading)
            continue
        _installed(said, source, reading)
        is_import = said.names[-1:] == ("import_playbook",)
        for word in said.words:
            # Most words are words: nothing in the repository is called so.
            if COMPUTED not in word and _PATTERN.search(word) is None and word.rpartition("/")[2] not in names:
                continue
            for path in _existing(word, said, source, reading):
                if is_import:
                    _playbook(path, reading)
                else:
                    _take(path, source, reading, guess=_guess(word, said))


def _guess(word: str, said: Said) -> Guess:
    if COMPUTED not in word:
        return ""
    return "any" if _READS_YAML.isdisjoint(said.names[-3:]) else "tasks"


def _template(source: _Source, reading: _Reading) -> None:
    """What a template of Jinja includes, which is looked for where the template is, and where any other would be."""
    bases = dict.fromkeys([folder_of(source.path), source.playbook_folder])
    places = (one for base in bases for one in (base, posixpath.join(base, "templates")))
    named = [name for tag in _DRAWN_IN.findall(reading.contents.read(source.path)) for name in _QUOTED.findall(tag)]
    for place in places:
        for name in named:
            _take(posixpath.join(place, decoded(b"".join(name))), source, reading)


def _is_role(said: Said) -> bool:
    """Whether a text names a role: in a play's `roles`, among a role's dependencies, or in a task that includes one."""
    match said.keys:
        case (int(), "roles", int()) | (int(), "roles", int(), "role" | "name"):
            return True
        case ("dependencies", int()) | ("dependencies", int(), "role" | "name" | "src"):
            return True
    match said.names:
        case (*_, name) if name in _INCLUDES_ROLES:
            return True
        case (*_, name, "name") if name in _INCLUDES_ROLES:
            return True
    return False


def _is_installed(said: Said) -> bool:
    """Whether a text says where a role or a collection is, as one of a file of requirements does."""
    match said.keys:
        case ("collections", int()) | ("collections", int(), "source" | "name"):
            return True
        case ("roles", int()) | ("roles", int(), "src" | "name" | "include") | (int(), "src"):
            return True
    return False


def _installed(said: Said, source: _Source, reading: _Reading) -> None:
    """What `ansible-galaxy` installs of the repository: paths begin where it runs (seen with Ansible 2.19).

    A folder is a collection, or has some in it; the name of one, or of a role, is none.
    """
    if not _is_installed(said):
        return
    is_collection = said.keys[0] == "collections"
    for word in said.words:
        if COMPUTED not in word and ("/" in word or word.endswith(_ARCHIVES) or said.keys[-1] == "source"):
            path = posixpath.join(reading.working_dir, word)
            for one in _there(path, reading, folders=is_collection, but=(source.path,)):
                _take(one, source, reading, read=said.keys[-1] == "include")


def _role(names: Sequence[str], source: _Source, reading: _Reading) -> None:
    """A role is looked for beside the playbook, in the configured folders, beside the role that needs it; then by path.

    The first that is there is taken, with all its files; where the name is computed, every role that it may be.
    """
    folder, paths = source.playbook_folder, reading.contents.paths
    searched = [posixpath.join(folder, "roles"), *reading.role_folders]
    if source.role is not None:
        searched.append(folder_of(source.role))
    for name in names:
        if COMPUTED in name:
            start = name.partition(COMPUTED)[0].rpartition("/")[0]
            for one in searched:
                _roles_in(posixpath.join(one, start), source, reading)
            continue
        placed = _placed(name, source)
        for one in (ROOT,) if placed else (*searched, folder, reading.working_dir):
            path = _inside(posixpath.join(one, placed or name), reading)
            if path is not None and (paths.under(path) or paths.submodule_of(path) is not None):
                _take(path, _Source(path, folder, path), reading)
                break


def _roles_in(folder: str, source: _Source, reading: _Reading) -> None:
    """Every role of a folder."""
    path = _inside(folder, reading)
    if path is None:
        return
    inside = reading.contents.paths.under(path)
    for role in dict.fromkeys(posixpath.join(path, file[len(path) + 1 :].partition("/")[0]) for file in inside):
        _take(role, _Source(role, source.playbook_folder, role), reading)


def _take(path: str, source: _Source, reading: _Reading, *, read: bool = True, guess: Guess = "") -> None:
    """Take a file, or all of a folder, and read the YAML in it. Nothing happens where nothing is there.

    What may be a playbook, where tasks or variables are meant, is taken when it was read.
    """
    real = _inside(path, reading)
    for file in reading.contents.at(posixpath.normpath(path)) if real is not None else ():
        if read and file.endswith(YAML) and _NOT_READ.isdisjoint(file[len(real or "") :].split("/")[1:-1]):
            reading.waiting.append(_Source(file, source.playbook_folder, source.role, guess))
            if guess == "tasks" and reading.contents.is_file(file):
                continue
        reading.found[file] = None
        if source.role is None and file.endswith(_TEMPLATE):
            reading.waiting.append(_Source(file, source.playbook_folder))


def _inside(path: str, reading: _Reading) -> str | None:
    """A path without links and steps back; None where it leaves the repository."""
    found = reading.contents.paths.resolve(path, ROOT)
    return reading.contents.follow(found).path if found is not None else None


def _existing(word: str, said: Said, source: _Source, reading: _Reading) -> Iterator[str]:
    """The files and folders that are there and that a word may name."""
    names_files = not _NAMES_FILES.isdisjoint(said.names[-3:])
    bases = list(dict.fromkeys([folder_of(source.path), source.playbook_folder, source.role or source.playbook_folder]))
    placed = _placed(word, source)
    if COMPUTED in word:
        if names_files:
            tasks = not _INCLUDES_TASKS.isdisjoint(said.names)
            yield from _computed(placed or word, [ROOT] if placed else bases, reading, tasks=tasks)
    elif placed:
        yield from _there(placed, reading, folders=True)
    else:
        folders = "/" in word or not _FOLDERS.isdisjoint(said.names[-2:])
        for base in bases:
            if names_files or not is_a_word(word):
                yield from _there(posixpath.join(base, word), reading, folders=folders, but=bases)
            for name in _SEARCHED:
                yield from _there(posixpath.join(base, name, word), reading, folders=names_files, but=bases)


def _placed(word: str, source: _Source) -> str | None:
    """What begins with `{{ playbook_dir }}` or `{{ role_path }}`, from the fleet's folder."""
    for mark, folder in ((PLAYBOOK, source.playbook_folder), (ROLE, source.role or source.playbook_folder)):
        if word.startswith(mark):
            return posixpath.normpath(posixpath.join(folder, word.removeprefix(mark).lstrip("/")))
    return None


def _there(path: str, reading: _Reading, *, folders: bool, but: Iterable[str] = ()) -> Iterator[str]:
    """The path, if something is there. A folder in which the reader itself stands is no name of a file."""
    path = posixpath.normpath(path)
    if _PATTERN.search(path) is not None:
        yield from reading.contents.paths.matching(path)
        return
    real = _inside(path, reading)
    if real is None:
        return
    is_folder = real not in reading.contents.paths.entries
    if is_folder and (not folders or any(contains(real, one) for one in but)):
        return
    if reading.contents.paths.at(real):
        yield path


def _computed(word: str, bases: Sequence[str], reading: _Reading, *, tasks: bool) -> Iterator[str]:
    """The files that a name may come to of which a part is computed."""
    searched = [posixpath.normpath(posixpath.join(base, name)) for base in bases for name in _SEARCHED]
    says_something = re.search(r"\w", word.replace(COMPUTED, "")) and word.count(COMPUTED) <= _MOST_COMPUTED
    if not says_something or len(word) > LONGEST:
        yield from (one for one in searched if one.endswith("tasks") or not tasks)
        return
    # Without a folder of its own a name is one in the folder; else it is anything below.
    anything = ".*" if "/" in word else "[^/]*"
    pattern = Pattern(anything.join(map(re.escape, posixpath.normpath(word).split(COMPUTED))))
    for base in (*bases, *searched):
        real = _inside(base, reading)
        for path in reading.contents.paths.under(real) if real is not None else ():
            if pattern.matches(path if real == ROOT else path[len(real or "") + 1 :]):
                yield path
