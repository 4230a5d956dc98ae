"""The tags that an artifact carries (docs/formats.md), derived from what is declared and recorded."""

from __future__ import annotations

from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Phase
from reconciler.model.observation import TAG_PREFIX
from reconciler.model.plan import Wanted
from reconciler.model.source import Pin
from reconciler.plan.key import inputs_of

_LONGEST_VALUE = 256  # EC2's limit for a tag's value


def at_birth(*, fleet: str, image: str, build_id: str, run_id: str) -> dict[str, str]:
    """Whose it is: what a template that takes `run_tags` puts on everything it makes, from its first second."""
    return _own(fleet=fleet, image=image, build=build_id, run=run_id)


def when_complete(
    *, fleet: str, image: Image, build_id: str, wanted: Wanted, commit: str, phase: Phase
) -> dict[str, str]:
    """Everything that a complete artifact carries. `reconciler:key` says that nothing is missing in its region."""
    source = {"source": source_text(wanted.pin)} if wanted.pin else {}
    ours = _own(
        fleet=fleet, image=image.name, build=build_id, key=wanted.key, inputs=wanted.inputs, commit=commit,
        phase=phase, **source,
    )  # fmt: skip
    return {**image.declaration.tags, **ours}


def of_recorded(*, fleet: str, image: Image, build: Build) -> dict[str, str]:
    """The tags that the artifacts of a recorded build should carry today."""
    wanted = Wanted(
        key=build.key,
        components=build.components,
        inputs=inputs_of(build.components, image.source),
        pin=build.source,
    )
    complete = when_complete(
        fleet=fleet, image=image, build_id=build.id, wanted=wanted, commit=build.commit, phase=build.phase
    )
    tested = build.smoke_test
    return {**complete, **(_own(smoke=tested.status) if tested is not None and tested.status != "skipped" else {})}


def of_preview(*, fleet: str, image: Image, build: Build, branch: str, pull_request: int | None) -> dict[str, str]:
    """The tags of what a pull request built: as a recorded build's, with whose it is."""
    number = _own(**{"pull-request": str(pull_request)}) if pull_request is not None else {}
    return {**of_recorded(fleet=fleet, image=image, build=build), **_own(branch=branch_value(branch)), **number}


def branch_value(branch: str) -> str:
    """A branch as a tag's value."""
    return branch[:_LONGEST_VALUE]


def branches_value(before: str | None, branch: str) -> str:
    """The branches of a preview that another one found: names hold no blank, so it parts them. The first ones stay."""
    names = (before or "").split()
    joined = " ".join(dict.fromkeys([*names, branch_value(branch)]))
    return joined if len(joined) <= _LONGEST_VALUE else before or branch_value(branch)


def source_text(pin: Pin) -> str:
    """A pin as a tag's value: the AMI's id, or `parent@build-id`."""
    text = pin.ami.id if pin.ami else f"{pin.image}@{pin.build}"
    return text[:_LONGEST_VALUE]


def _own(**values: str) -> dict[str, str]:
    return {TAG_PREFIX + name: value for name, value in values.items()}
