"""The tags that an artifact carries (docs/formats.md), derived from what is declared and recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconciler.model.declaration import LONGEST_TAG_VALUE
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Lockfile, Phase
from reconciler.model.observation import TAG_PREFIX, Seen
from reconciler.model.plan import Wanted
from reconciler.model.source import Pin
from reconciler.plan.key import inputs_of
from reconciler.plan.transitions import as_it_stands

_OWN = (
    "fleet", "image", "build", "run", "key", "inputs", "commit", "source", "phase", "channel", "smoke", "branch",
    "pull-request", "verdict", "verdict-by", "verdict-evidence", "adopted", "packer-key",
)  # fmt: skip
"""All that this program writes, beside what it remembers of announcements. `own` writes no other."""
_ALWAYS = frozenset({"fleet", "image", "build", "key", "inputs", "commit", "phase", "channel"})
NO_CHANNEL = "none"
"""What the tag of the channel says once no channel points to the build any more. It is not taken off: that would take
one more right than to set it."""
_TOLD = "told-"
TOLD = TAG_PREFIX + _TOLD
"""The beginning of the tags that remember what was announced; an announcer's name follows."""


def own(**values: str) -> dict[str, str]:
    """Tags of ours, by what follows `reconciler:`. ValueError for one that is not counted."""
    unknown = sorted(name for name in values if name not in _OWN and not name.startswith(_TOLD))
    if unknown:
        raise ValueError(f"not among the tags that count against the registry's limit: {', '.join(unknown)}")
    return {TAG_PREFIX + name: value for name, value in values.items()}


def told_tags(announcer: str, events: Iterable[str]) -> dict[str, str]:
    """The tag that remembers what an announcer was told of."""
    return own(**{_TOLD + announcer: ",".join(sorted(events))})


def nothing_told(tags: Iterable[str]) -> dict[str, str]:
    """What takes back all of these tags that say that somebody was told: whoever may tag artifacts writes them, too."""
    return dict.fromkeys((name for name in tags if name.startswith(TOLD)), "")


def always_written(image: Image) -> frozenset[str]:
    """The names of the tags that every complete artifact of an image carries, beside the declared ones."""
    source = {"source"} if image.source is not None else set()
    smoke = {"smoke"} if image.declaration.smoke_test.boot else set()
    return frozenset(TAG_PREFIX + name for name in _ALWAYS | source | smoke)


def ever_written(announcers: Iterable[str]) -> frozenset[str]:
    """The names of all tags that this program may come to write on one artifact, with these announcers."""
    return frozenset(TAG_PREFIX + name for name in (*_OWN, *(_TOLD + announcer for announcer in announcers)))


def at_birth(*, fleet: str, image: str, build_id: str, run_id: str) -> dict[str, str]:
    """Whose it is: what a template that takes `run_tags` puts on everything it makes, from its first second."""
    return own(fleet=fleet, image=image, build=build_id, run=run_id)


def when_complete(
    *, fleet: str, image: Image, build_id: str, wanted: Wanted, commit: str, phase: Phase
) -> dict[str, str]:
    """Everything that a complete artifact carries. `reconciler:key` says that nothing of it is missing where it is."""
    source = {"source": source_text(wanted.pin)} if wanted.pin else {}
    ours = own(
        fleet=fleet, image=image.name, build=build_id, key=wanted.key, inputs=wanted.inputs, commit=commit,
        phase=phase, **source,
    )  # fmt: skip
    return {**image.declaration.tags, **ours}


def of_recorded(*, fleet: str, image: Image, build: Build) -> dict[str, str]:
    """The tags that the artifacts of a recorded build should carry today."""
    wanted = Wanted(
        key=build.key,
        components=build.components,
        inputs=inputs_of(build.components, image.source, kind=image.kind),
        pin=build.source,
    )
    complete = when_complete(
        fleet=fleet, image=image, build_id=build.id, wanted=wanted, commit=build.commit, phase=build.phase
    )
    tested = build.smoke_test
    smoke = own(smoke=tested.status) if tested is not None and tested.status != "skipped" else {}
    return {**complete, **smoke, **(own(adopted=build.adopted.at) if build.adopted is not None else {})}


def standing(lock: Lockfile, build: Build) -> dict[str, str]:
    """The tags that change as builds come and go: how far a recorded build has come, and the channel it is in."""
    return own(phase=as_it_stands(lock, build).phase, channel=lock.channel_of(build.id) or NO_CHANNEL)


def in_no_channel(phase: Phase) -> dict[str, str]:
    """The same of a build that is not recorded any more."""
    return own(phase=phase, channel=NO_CHANNEL)


def differing(tags: Mapping[str, str], seen: Seen) -> dict[str, str]:
    """Those of these tags that an artifact carries otherwise. To say nothing of a channel is to be in none."""
    unsaid = {TAG_PREFIX + "channel": NO_CHANNEL}
    return {name: value for name, value in tags.items() if seen.tags.get(name, unsaid.get(name)) != value}


def as_text(tags: Mapping[str, str]) -> str:
    """Tags for people: `reconciler:channel=stable, reconciler:phase=stable`."""
    return ", ".join(f"{name}={tags[name]}" for name in sorted(tags))


def as_they_were(tags: Mapping[str, str], seen: Seen) -> str:
    """What an artifact carries under these names, for people: `CostCenter=41, no reconciler:phase`."""
    return ", ".join(f"{name}={seen.tags[name]}" if name in seen.tags else f"no {name}" for name in sorted(tags))


def of_preview(*, fleet: str, image: Image, build: Build, branch: str, pull_request: int | None) -> dict[str, str]:
    """The tags of what a pull request built: as a recorded build's, with whose it is."""
    number = own(**{"pull-request": str(pull_request)}) if pull_request is not None else {}
    return {**of_recorded(fleet=fleet, image=image, build=build), **own(branch=branch_value(branch)), **number}


def branch_value(branch: str) -> str:
    """A branch as a tag's value."""
    return branch[:LONGEST_TAG_VALUE]


def branches_value(before: str | None, branch: str) -> str:
    """The branches of a preview that another one found: names hold no blank, so it parts them. The first ones stay."""
    names = branches_in(before)
    joined = " ".join(dict.fromkeys([*names, branch_value(branch)]))
    return joined if len(joined) <= LONGEST_TAG_VALUE else before or branch_value(branch)


def branches_in(value: str | None) -> tuple[str, ...]:
    """The branches in a tag's value. Blanks alone part them: git allows other spaces in a name."""
    return tuple(filter(None, (value or "").split(" ")))


def source_text(pin: Pin) -> str:
    """A pin as a tag's value: the id of what is upstream, or `parent@build-id`."""
    text = pin.upstream.id if pin.upstream is not None else f"{pin.image}@{pin.build}"
    return text[:LONGEST_TAG_VALUE]
