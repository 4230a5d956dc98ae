"""`image.yaml` as a declaration, with the fleet's defaults under it and every place kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from reconciler.desired.complaints import validate
from reconciler.desired.contents import Contents
from reconciler.desired.folders import Folder
from reconciler.desired.located import Located, merge
from reconciler.desired.yaml_file import read_yaml
from reconciler.model.declaration import Declaration
from reconciler.model.errors import Place, UserError

# A source is one choice of three. Merged, a default `ssm` beside an image's own `image` would be two.
_WHOLE = frozenset({"source"})
_NOT_YET = (("share_with",), ("deprecate_after",), ("hold",), ("revoke",))


@dataclass(frozen=True)
class Declared:
    """A folder with its declaration, and where each part of it was written."""

    folder: Folder
    declaration: Declaration
    document: Located

    def place(self, *path: str | int) -> Place:
        """Where a part is written, or the nearest thing above it: in image.yaml or among the defaults."""
        return self.document.place_of(*path)

    def unacted(self) -> Iterator[str]:
        """A note for each key that somebody wrote and that is accepted, but does nothing yet."""
        for path in _NOT_YET:
            reached, found = self.document.follow(path)
            if reached == path and found.value is not None:
                yield f"{'.'.join(path)} is not acted upon yet ({found.place})"


def read_declared(
    folder: Folder, contents: Contents, *, defaults: Located
) -> tuple[Declared | None, tuple[UserError, ...]]:
    """Read a folder's image.yaml, or take the defaults where there is none.

    Returns:
        The declaration and nothing, or None and every problem.
    """
    own = Located({}, Place(folder.image_file if folder.image_file in folder.files else folder.path))
    if folder.image_file in folder.files:
        try:
            document = read_yaml(contents.read_itself(folder.image_file), folder.image_file)
        except UserError as error:
            return None, (error,)
        if document.problems:
            # What else is wrong with a file that could be read in part is reported as well, but only once.
            _, more = validate(Declaration, document.root)
            return None, (*document.problems, *more)
        own = document.root
    merged = merge(defaults, own, whole=_WHOLE)
    declaration, problems = validate(Declaration, merged)
    if declaration is None:
        return None, problems
    return Declared(folder, declaration, merged), ()
