"""Names for proposed images: what says what an image is, and a name of its own for each."""

from __future__ import annotations

import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Sequence

from reconciler.desired.packer.names import folder_of
from reconciler.desired.paths import ROOT
from reconciler.desired.proposal.invocations import Invocation
from reconciler.model.declaration import IMAGE_NAME_PATTERN

# Names of files, folders and builders that say nothing of what the image is.
_SAYS_NOTHING = frozenset({
    "ami", "amis", "amazon", "amazon-ebs", "aws", "build", "builder", "builders", "builds", "default", "ebs", "hcl",
    "hcl2", "image", "images", "infra", "infrastructure", "json", "linux", "machine-images", "main", "packer",
    "packer-templates", "source", "sources", "src", "template", "templates", "this", "vm",
})  # fmt: skip


def words_for(
    files: Sequence[str], builder: str, run: Invocation | None, *, several: bool, runs: int, repository: str
) -> tuple[str, ...]:
    """What an image may be called by: what tells it from its siblings, then the file, the folders, the repository.

    `files` are those of its template; `several` says that it makes several images, `runs` with how many sets of var
    files each is built.
    """
    label = builder.rpartition(".")[2]
    stems = [re.sub(r"\.(?:pkr\.hcl|pkr\.json|json|hcl)$", "", posixpath.basename(file)) for file in files]
    parts = folder_of(files[0]).split("/")
    telling = [one for one in (*(stems if len(stems) == 1 else ()), *reversed(parts)) if _tells(one)]
    base = telling[0] if telling else label if _tells(label) else repository
    name = [base]
    if several and label.lower() != base.lower():
        name.append(label)
    if runs > 1 and run is not None and run.var_files:
        name.append(posixpath.basename(run.var_files[-1]).split(".")[0])
    return ("-".join(name), *("-".join([one, *name]) for one in telling[1:]))


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
