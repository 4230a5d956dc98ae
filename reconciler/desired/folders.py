"""Which folders of `desired/` are images, and whether their names can be."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.desired.contents import Contents
from reconciler.desired.packer.json_file import AUTO_VARIABLES, is_hcl2, is_legacy, may_be_legacy
from reconciler.desired.paths import Paths
from reconciler.model.declaration import IMAGE_NAME_PATTERN
from reconciler.model.errors import Place, UserError
from reconciler.model.text import shorten

DESIRED = "desired"
IMAGE_FILE = "image.yaml"
_MISNAMED = frozenset({"image.yml", "images.yaml", "images.yml", "image.yaml"})
_NAME = re.compile(IMAGE_NAME_PATTERN)


@dataclass(frozen=True)
class Folder:
    """A folder `desired/<name>/` with the paths of the files directly in it."""

    name: str
    files: tuple[str, ...]

    @property
    def path(self) -> str:
        """From the repository's root."""
        return f"{DESIRED}/{self.name}"

    @property
    def image_file(self) -> str:
        """The path of its image.yaml, whether or not there is one."""
        return f"{self.path}/{IMAGE_FILE}"

    def read_first(self) -> Iterator[str]:
        """The files to read before it can be said what the folder is."""
        for path in self.files:
            if path == self.image_file or is_hcl2(path) or may_be_legacy(path) or path.endswith(AUTO_VARIABLES):
                yield path

    def misnamed(self) -> str | None:
        """A file that was probably meant to be image.yaml."""
        names = (path.rpartition("/")[2] for path in self.files)
        return next((name for name in names if name.lower() in _MISNAMED and name != IMAGE_FILE), None)


def folders_of(paths: Paths) -> list[Folder]:
    """Every folder directly in `desired/`, image or not, in order of name."""
    found: dict[str, list[str]] = {}
    for path in paths.under(DESIRED):
        parts = path.split("/", maxsplit=3)
        if len(parts) > 2:
            files = found.setdefault(parts[1], [])
            if len(parts) == 3:
                files.append(path)
    return [Folder(name, tuple(files)) for name, files in sorted(found.items())]


def is_image(folder: Folder, contents: Contents) -> bool:
    """Whether a folder declares an image: by an image.yaml, a misnamed one, or a template. Others are shared inputs."""
    if folder.image_file in folder.files or folder.misnamed() is not None:
        return True
    return any(is_hcl2(path) for path in folder.files) or bool(legacy_templates(folder, contents))


def legacy_templates(folder: Folder, contents: Contents) -> list[str]:
    """The JSON templates from before HCL2 that are directly in a folder."""
    candidates = [path for path in folder.files if may_be_legacy(path)]
    return [path for path in candidates if contents.is_file(path) and is_legacy(contents.read(path), path)]


def problems_of(folder: Folder) -> tuple[UserError, ...]:
    """What is wrong with the names: of the folder itself, and of a file that nobody would read."""
    found = []
    if not _NAME.fullmatch(folder.name) or ".." in folder.name or folder.name.endswith(".lock"):
        found.append(
            UserError(
                f'"{shorten(folder.name)}" can\'t be the name of an image ({_why(folder.name)})',
                where=Place(folder.path),
                hint="use up to 64 of a-z, 0-9, `.`, `_` and `-`, beginning and ending with a letter or digit",
            )
        )
    wrong = folder.misnamed()
    if wrong is not None and folder.image_file not in folder.files:
        found.append(
            UserError(
                f"{wrong} is not read: the declaration of an image is in {IMAGE_FILE}",
                where=Place(f"{folder.path}/{wrong}"),
                hint=f"rename it to {IMAGE_FILE}",
            )
        )
    return tuple(found)


def _why(name: str) -> str:
    """The first reason against a name, in words."""
    if len(name) > 64:
        return f"{len(name)} characters"
    if ".." in name:
        return "git allows no `..` in the name of a tag"
    if name.endswith(".lock"):
        return "git allows no name of a tag that ends in .lock"
    for character in name:
        if character.isupper():
            return f'the capital "{character}"'
        if not re.fullmatch(r"[a-z0-9._-]", character):
            return "a space" if character == " " else f'the character "{shorten(character)}" (U+{ord(character):04X})'
    return f'it begins or ends with "{name[0] if not name[0].isalnum() else name[-1]}"'
