"""Lockfiles: read from a tree, written in their one canonical form.

Canonical, so that writing what was read changes no byte: then a run that finds nothing to do commits nothing, and a
diff shows what happened and no more.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from pydantic import BaseModel

from reconciler.model.declaration import IMAGE_NAME_PATTERN
from reconciler.model.errors import Place, Terminal, UserError, no_image
from reconciler.model.json_text import Places
from reconciler.model.lockfile import Artifact, Build, Lockfile
from reconciler.model.tree import REGULAR_MODES, Tree, TreeEntry, content_at
from reconciler.state.faults import explain, too_large, wrong_name

FOLDER = "state"
_PATH = re.compile(rf"{FOLDER}/(?P<image>[^/]+)\.lock\.json")
_NAME = re.compile(IMAGE_NAME_PATTERN)
LARGEST, MOST_VALUES = 4 << 20, 150_000
"""Bytes of a lockfile, and values in it. That of an image with a hundred builds in twenty regions has a quarter."""
_TOO_LARGE = bytes(LARGEST + 1)
_AT_ONCE = 1000
"""Lockfiles whose bytes are in memory together: of ten thousand they are more than what is made of them."""


def path_of(image: str) -> str:
    """Where an image's lockfile is, from the repository's root."""
    return f"{FOLDER}/{image}.lock.json"


def read_lockfiles(tree: Tree) -> tuple[Mapping[str, Lockfile], Mapping[str, UserError]]:
    """Every lockfile of a tree by image, and what is wrong with the others; contents are read some at a time.

    Wrong are two that name the same artifact: each belongs to one image.
    """
    found = {match["image"]: entry for path, entry in tree.entries.items() if (match := _PATH.fullmatch(path))}
    lockfiles: dict[str, Lockfile] = {}
    problems: dict[str, UserError] = {}
    waiting = iter(found.items())
    while some := dict(islice(waiting, _AT_ONCE)):
        contents = _contents(tree, [entry.oid for entry in some.values() if entry.mode in REGULAR_MODES])
        for image, entry in some.items():
            try:
                _check_entry(image, entry)
                lockfiles[image] = parse(contents[entry.oid], entry.path)
            except UserError as error:
                problems[image] = error
    for image, other, artifact in _shared(lockfiles):
        if image in problems:
            continue  # one is enough: for each the whole file is looked through
        problems[image] = _also_in(other, artifact, found[image].path, content_at(tree, found[image].path) or b"")
    return {image: one for image, one in lockfiles.items() if image not in problems}, problems


def _contents(tree: Tree, oids: Sequence[str]) -> Mapping[str, bytes]:
    """The contents of lockfiles by their ids. In the place of one that is larger than any stands what nobody parses."""
    return {**dict.fromkeys(oids, _TOO_LARGE), **tree.read(oids, most=LARGEST)}


def _shared(lockfiles: Mapping[str, Lockfile]) -> Iterator[tuple[str, str, Artifact]]:
    """Each image that names an artifact which another names as well, with that one's name."""
    first: dict[tuple[str, str], str] = {}
    for image, lockfile in lockfiles.items():
        for artifact in (one for build in lockfile.recorded for one in build.artifacts):
            other = first.setdefault((artifact.location, artifact.id), image)
            if other != image:
                yield image, other, artifact
                yield other, image, artifact


def _also_in(other: str, artifact: Artifact, path: str, content: bytes) -> UserError:
    text = content.decode(errors="replace")
    return UserError(
        f"{artifact.id} in {artifact.location} is in {path_of(other)} as well, and each artifact belongs to one image",
        where=Places(text, path).at(max(text.find(f'"{artifact.id}"'), 0)),
        hint=f"`git log -- {path} {path_of(other)}` shows who wrote it: take it out where it does not belong",
    )


def images_with(tree: Tree, text: str) -> tuple[str, ...]:
    """The images in whose lockfiles a text stands, by name; none is parsed for it."""
    found = {match["image"]: entry for path, entry in tree.entries.items() if (match := _PATH.fullmatch(path))}
    waiting = iter([(image, entry.oid) for image, entry in found.items() if entry.mode in REGULAR_MODES])
    holding: list[str] = []
    while some := tuple(islice(waiting, _AT_ONCE)):
        contents = _contents(tree, [oid for _, oid in some])
        holding += [image for image, oid in some if text.encode() in contents[oid]]
    return tuple(sorted(holding))


def recorded_images(tree: Tree) -> tuple[str, ...]:
    """Every image that has a lockfile, by name."""
    return tuple(sorted(match["image"] for path in tree.entries if (match := _PATH.fullmatch(path))))


def declared_folders(tree: Tree) -> frozenset[str]:
    """The folders of desired/. Whether each holds an image does not matter to whoever looks for a name."""
    return frozenset(path.split("/")[1] for path in tree.entries if re.match(r"desired/[^/]+/", path))


def unrecorded(tree: Tree, image: str, *, also: Iterable[str] = ()) -> UserError:
    """Say why nothing is recorded of an image: it was not built yet, or there is none. `also` are more names."""
    recorded, declared = {*recorded_images(tree), *also}, declared_folders(tree)
    if image in declared:
        return UserError(f"nothing is built of {image} yet", hint=f"`reconciler plan {image}` says what would be done")
    return no_image(image, recorded | declared, those="recorded", of=recorded)


def read_lockfile(tree: Tree, image: str) -> Lockfile | None:
    """One image's lockfile, or None where there is none.

    Raises:
        UserError: it is invalid.
    """
    entry = tree.entries.get(path_of(image))
    if entry is None:
        return None
    _check_entry(image, entry)
    return parse(_contents(tree, [entry.oid])[entry.oid], entry.path)


def recorded_fleet(tree: Tree) -> str | None:
    """The fleet that the newest build was recorded for, by its provenance; None where none says.

    Read without its model, which costs 14 ms: every plan asks.
    """
    paths = (
        path for path in tree.entries if path.startswith(f"{FOLDER}/provenance/") and path.endswith(".intoto.json")
    )
    newest = max(paths, key=lambda path: path.rpartition("/")[2], default=None)
    try:
        document = json.loads(content_at(tree, newest) or b"") if newest is not None else {}
        statement = json.loads(base64.b64decode(document["payload"])) if "payload" in document else document
        fleet = statement["predicate"]["buildDefinition"]["internalParameters"]["fleet"]
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return fleet if isinstance(fleet, str) else None


def holds_builds(tree: Tree) -> bool:
    """Whether a build is recorded in any lockfile, as far as its text tells: not only failures."""
    entries = [entry for path, entry in tree.entries.items() if _PATH.fullmatch(path) and entry.mode in REGULAR_MODES]
    return any(b'"builds": [' in content for content in _contents(tree, [entry.oid for entry in entries]).values())


def parse(content: bytes, path: str) -> Lockfile:
    """Read a lockfile, canonical or not.

    Raises:
        UserError: it is invalid, of a newer schema, or speaks of another image than its name; with line and column. Or
            it is larger than any lockfile.
    """
    if len(content) > LARGEST or sum(map(content.count, (b",", b"{", b"["))) > MOST_VALUES:
        raise too_large(content, path, largest=LARGEST)
    try:
        # pydantic takes the last of two equal keys, as most readers of JSON do; somebody meant the first.
        members = json.loads(content, object_pairs_hook=_without_duplicates)
        lockfile = Lockfile.model_validate_json(content)
        _check_numbered(members)
    except (ValueError, RecursionError) as error:
        raise explain(content, path) from error
    if path != path_of(lockfile.image):
        raise wrong_name(content, path, lockfile.image)
    return lockfile


def render(lockfile: Lockfile) -> bytes:
    """A lockfile's canonical bytes: sorted keys, two spaces, LF, UTF-8, a newline at the end.

    What is absent or empty and may be, is left out; `$schema` and `schema` are always there.
    """
    always = {"$schema": lockfile.schema_url, "schema": lockfile.schema_version}
    return _canonical({**always, **_plain(lockfile)})


def render_build(build: Build) -> bytes:
    """One build record in the form that it has in a lockfile: for the git tag, and for what could not be pushed."""
    return _canonical(_plain(build))


def parse_build(content: bytes, where: Place) -> Build:
    """Read a record that `render_build` wrote.

    Raises:
        Terminal: it is none.
    """
    try:
        return Build.model_validate_json(content)
    except ValueError as error:
        raise Terminal("not a build record", where=where) from error


def _plain(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def _canonical(value: dict[str, Any]) -> bytes:
    return f"{json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False)}\n".encode()


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise ValueError("a key is given twice")
    return members


def _check_numbered(members: Mapping[str, object]) -> None:
    # The model has a default, for lockfiles that are made here.
    if "schema" not in members:
        raise ValueError("no schema")


def _check_entry(image: str, entry: TreeEntry) -> None:
    if not _NAME.fullmatch(image):
        raise UserError(
            f'"{image}" is no name for an image',
            where=Place(entry.path),
            hint=f"`git rm {shlex.quote(entry.path)}`, or rename it",
        )
    if entry.mode not in REGULAR_MODES:
        raise UserError("not a regular file", where=Place(entry.path), hint=f"`git rm {shlex.quote(entry.path)}`")
