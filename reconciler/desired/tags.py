"""Whether the tags of an image find room on its artifacts: the template's, the declared ones, and ours."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from reconciler.desired.declared import Declared
from reconciler.desired.lineage import Problems
from reconciler.desired.located import shorten
from reconciler.model.declaration import AWS_PREFIX, LONGEST_TAG_KEY, LONGEST_TAG_VALUE, MOST_TAGS
from reconciler.model.errors import UserError
from reconciler.model.fleet import Image, UnreadImage
from reconciler.model.template import Builder
from reconciler.plan.tags import TOLD, always_written, at_birth, ever_written

_OURS = ever_written(()) - at_birth(fleet="", image="", build_id="", run_id="").keys()
"""What a template may not write. That of birth it may spell out itself, as `run_tags` and `image_tags` would."""


def wrong_tags(declared: Mapping[str, Declared], images: Mapping[str, Image]) -> Problems:
    """Tags that the registry would refuse once the image is built: too many, too long, or with a prefix that is taken.

    What was built as it is, and whose template is not read for that, had room.
    """
    for name, image in images.items():
        if isinstance(image, UnreadImage):
            continue
        for builder in image.template.makers:
            for tags in (builder.tags, builder.snapshot_tags):
                yield from ((name, problem) for problem in _refused(builder, tags))
                most = {*image.declaration.tags, *tags, *always_written(image)}
                if len(most) > MOST_TAGS:
                    yield name, _too_many(declared[name], image, builder, tags=tags)


def with_notes_on_tags(images: Mapping[str, Image], *, announcers: Collection[str]) -> Iterator[tuple[str, Image]]:
    """The images by name, each with a note where tags that come later may find no room: a verdict's, a preview's."""
    for name, image in images.items():
        notes = () if isinstance(image, UnreadImage) else tuple(_notes(image, announcers))
        yield name, replace(image, notes=(*image.notes, *notes)) if notes else image


def _notes(image: Image, announcers: Collection[str]) -> Iterator[str]:
    ours = ever_written(announcers)
    for builder in image.template.makers:
        given = {*image.declaration.tags, *builder.tags} - ours
        room = MOST_TAGS - len(given)
        if room < len(ours):
            yield (
                f"{len(given)} tags of its own leave room for {room} of ours, and there may be {len(ours)}: verdicts, "
                "pull requests and announcements may not be noted on the AMI"
            )


def _too_many(declared: Declared, image: Image, builder: Builder, *, tags: Collection[str]) -> UserError:
    own = len({*tags} - {*image.declaration.tags} - always_written(image))
    ours = len(always_written(image))
    number = len(image.declaration.tags) + own + ours
    return UserError(
        f"{number} tags would be on the AMI, and EC2 takes {MOST_TAGS}: {len(image.declaration.tags)} of `tags`, "
        f"{own} of {builder.name}, {ours} of the reconciler",
        where=declared.place("tags") if image.declaration.tags else builder.place,
        mend=f"take {number - MOST_TAGS} of them away",
    )


def _refused(builder: Builder, tags: Mapping[str, str | None]) -> Iterator[UserError]:
    for name, value in tags.items():
        if name.lower().startswith(AWS_PREFIX):
            what, mend = f"the prefix {AWS_PREFIX} is taken", "give it another name"
        elif name in _OURS or name.startswith(TOLD):
            what, mend = "the reconciler writes it, and goes by what it finds there", "give it another name"
        elif not 0 < len(name) <= LONGEST_TAG_KEY:
            what, mend = f"a tag's name has 1 to {LONGEST_TAG_KEY} characters, and this one {len(name)}", "shorten it"
        elif value is not None and len(value) > LONGEST_TAG_VALUE:
            what = f"a tag's value has at most {LONGEST_TAG_VALUE} characters, and this one {len(value)}"
            mend = "shorten it"
        else:
            continue
        yield UserError(f'{builder.name} sets the tag "{shorten(name)}": {what}', where=builder.place, mend=mend)
