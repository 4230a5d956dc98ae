"""What a branch leaves as it was, and the default branch has changed since: a merge keeps the latter."""

from __future__ import annotations

from dataclasses import replace

from reconciler.model.fleet import Fleet


def with_changes_of(head: Fleet, main: Fleet, *, base: Fleet) -> tuple[Fleet, frozenset[str]]:
    """The fleet that a merge of `head` into `main` would leave, image by image, and the images it takes from `main`.

    A branch that was begun last week holds last week's images. Without this each that main changed meanwhile would
    look changed back by the branch. An image that both changed is the branch's: how git merges its files is not known
    before. An invalid one is the branch's, too.

    Args:
        head: The branch's fleet.
        main: That of the branch which state is recorded to.
        base: That of the commit where the two parted.
    """
    invalid = {*head.problems, *main.problems, *base.problems}
    names = {*head.images, *main.images, *base.images} - invalid
    overtaken = frozenset(
        name
        for name in names
        if head.images.get(name) == base.images.get(name) and main.images.get(name) != base.images.get(name)
    )
    kept = {name: image for name, image in head.images.items() if name not in overtaken}
    taken = {name: image for name, image in main.images.items() if name in overtaken}
    return replace(head, images=dict(sorted({**kept, **taken}.items()))), overtaken
