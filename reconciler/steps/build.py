"""Build one image with Packer, from a clean export of the commit, and mark what came out as complete."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from reconciler.model import events
from reconciler.model.errors import ReconcilerError, Transient, UserError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Phase
from reconciler.model.observation import Seen
from reconciler.model.plan import Decision, Wanted
from reconciler.model.source import Pin
from reconciler.model.text import plural_of
from reconciler.model.values import format_instant
from reconciler.plan.key import may_be_of, short
from reconciler.plan.key import wanted as want
from reconciler.plan.reasons import as_done
from reconciler.plan.tags import at_birth
from reconciler.plan.timing import build_seconds
from reconciler.plan.transitions import first_phase
from reconciler.ports.builder import BuildFailed, BuildRequest, BuildResult, Cause
from reconciler.ports.dialect import Made
from reconciler.steps.artifacts import SETTLING, complete_tags, is_own
from reconciler.steps.packer_keys import KeyWatch, may_stay
from reconciler.steps.run import Run
from reconciler.steps.smoke_test import not_bootable
from reconciler.steps.work_folder import PACKERS, below, refuse_while_building, temporary, work_folder


def new_build_id(run: Run, key: str) -> str:
    """The name of a build that starts now: `<datestamp>-<key7>`."""
    return f"{run.now():%Y%m%dT%H%M%SZ}-{short(key)}"


def build_image(
    run: Run, image: Image, wanted: Wanted, *, build_id: str, decision: Decision, phase: Phase | None = None
) -> Build:
    """Run Packer for an image and mark its artifacts as complete, and as nobody's yet: they are found from now on.

    `phase` is the build's own once it is recorded, where that is not to be what is declared.

    Raises BuildFailed when Packer failed, when what it left is not what was asked for, and when that could not be
    marked; UserError when it can't be started as declared; Transient while a Packer that outlived another run builds
    the image.
    """
    refuse_while_building(below(run.folder), image.name)
    started = run.now()
    watch = _key_watch(run, image, since=started)
    with work_folder(below(run.folder), f"{image.name}-{build_id}") as folder:
        export = folder / "export"
        exported = run.repository.export(run.known.head, export, used=image.input_paths)
        for submodule in exported.submodules:
            what = f"the submodule {submodule} is not exported: what the build reads from it is missing"
            run.listener(events.Warned(image=image.name, what=what))
        result = run.adapters.builder().build(
            _request(
                run, image, wanted, build_id=build_id, folder=folder, export=export, decision=decision, watch=watch
            ),
            listener=run.listener,
            cancelled=run.cancelled,
        )
        stored = _stored(run, image, result, build_id=build_id)
    run.packer_keys.add(build_id, watch.keys())
    artifacts = _left(run, image, result, stored)
    wanted = _as_built(run, image, wanted, result=result)
    build = Build(
        id=build_id,
        key=wanted.key,
        components=dict(wanted.components),
        files={file.path: f"{file.mode} {file.oid}" for file in image.inputs},
        commit=run.known.head,
        reasons=as_done(decision.planned.reasons, wanted.pin),
        started=format_instant(started),
        seconds=result.seconds,
        packer=result.packer,
        source=wanted.pin,
        artifacts=artifacts,
        phase=phase or first_phase(image),
        ci=run.request.ci,
    )
    build = mark_complete(run, image, build, log=result.log, built_on=result.source)
    for artifact in build.artifacts:
        run.listener(
            events.Built(
                image=image.name, build=build_id, location=artifact.location, artifact=artifact.id,
                seconds=result.seconds,
            )
        )  # fmt: skip
    return build


def mark_complete(run: Run, image: Image, build: Build, *, log: Path, built_on: str | None = None) -> Build:
    """Tag a build's artifacts as complete and preliminary; returns the build with them as the registry shows them.

    `built_on` is what it was built on, as far as Packer said.

    Raises BuildFailed: `not-wanted` for an artifact that is not the build's own, or that can't be used; `unmarked` for
    whatever else is in the way. What Packer finished must not be lost by that: it is the next run's to take up.
    """
    if not image.kind.observed:
        return build
    try:
        seen = [(artifact, _found(run, artifact)) for artifact in build.artifacts]
        own = [is_own(run.registry, one) for _, one in seen]
    except ReconcilerError as error:
        raise _unmarked(build, error, log=log) from error
    for (_, one), owned in zip(seen, own, strict=True):
        _refuse_foreign(run, image, one, build=build, built_on=built_on, log=log, owned=owned)
        if one.state in ("failed", "unusable"):
            what = f"Packer reported {one.id} in {one.location} as what it made, and it is {one.state}"
            raise _failed(build, what, cause="not-wanted", log=log)
    build = build.model_copy(update={"artifacts": tuple(one.as_artifact(artifact.builder) for artifact, one in seen)})
    try:
        tags = complete_tags(run, image, build.model_copy(update={"phase": "preliminary"}))
        for artifact in build.artifacts:
            run.registry.tag(artifact, tags)
    except ReconcilerError as error:
        raise _unmarked(build, error, log=log) from error
    return build


def _key_watch(run: Run, image: Image, *, since: datetime) -> KeyWatch:
    """A watch on the key that stays in the image; one that asks nothing where that matters to nobody."""
    matters = not_bootable(image) is None and may_stay(image)
    instances = run.adapters.testbed(run.known).instances if matters else None
    return KeyWatch(instances, image, since=since, listener=run.listener)


def _request(
    run: Run,
    image: Image,
    wanted: Wanted,
    *,
    build_id: str,
    folder: Path,
    export: Path,
    decision: Decision,
    watch: KeyWatch,
) -> BuildRequest:
    birth = at_birth(fleet=run.known.fleet_name, image=image.name, build_id=build_id, run_id=run.request.run_id)
    return BuildRequest(
        image=image,
        build_id=build_id,
        key=wanted.key,
        run_id=run.request.run_id,
        export=export,
        below=run.repository.git.below,
        run_folder=folder / PACKERS,
        log=run.folder / "logs" / f"{image.name}-{build_id}.log",
        environment=_environment(folder),
        settings=run.known.fleet.settings,
        timeout=image.declaration.packer.timeout,
        location=image.build_location,
        source=_source(run, image, wanted.pin),
        image_tags={**image.declaration.tags, **birth},
        run_tags=birth,
        estimate_seconds=build_seconds(decision.lock),
        on_key_pair=watch.ask,
    )


def _environment(folder: Path) -> dict[str, str]:
    """What Packer inherits. What it and its provisioners leave among temporary files, such as Ansible's key, goes."""
    own = str(temporary(folder))
    return {**os.environ, "TMPDIR": own, "PACKER_TMP_DIR": own}


def _source(run: Run, image: Image, pin: Pin | None) -> str | None:
    """What the template is given of what it is built on."""
    if pin is None:
        return None
    given = image.kind.given_of(pin, image.build_location)
    if given is None:
        raise UserError(
            f"{image.name} is built in {image.build_location}, and {pin} is not there",
            hint=f"resolve its source anew: `reconciler reconcile {image.name} --refresh`"
            if pin.upstream is not None
            else f"add {image.build_location} to the {plural_of(image.kind.location)} of {pin.image}",
        )
    return run.registry.given(image.build_location, given)


def _stored(run: Run, image: Image, result: BuildResult, *, build_id: str) -> tuple[Artifact, ...]:
    """What the registry took of what Packer left here; nothing where Packer itself puts it where it belongs."""
    birth = at_birth(fleet=run.known.fleet_name, image=image.name, build_id=build_id, run_id=run.request.run_id)
    name = f"{image.name}-{build_id}"
    return tuple(run.registry.store(image.build_location, result.made, name=name, tags=birth))


def _left(run: Run, image: Image, result: BuildResult, stored: Sequence[Artifact]) -> tuple[Artifact, ...]:
    """What is recorded of what Packer left: one artifact in each location, and one where it was to build.

    What post-processors left beside it (an archive, a checksum) is named. Raises BuildFailed for anything else.
    """
    kind, noun = image.kind, image.kind.artifact.partition(" ")[2]
    found = tuple(one for one in (*result.artifacts, *stored) if one.kind == kind.name)
    for what in _beside(result, found) if not stored else ():
        run.listener(events.Warned(image=image.name, what=what))

    def refused(what: str, *hint: str) -> BuildFailed:
        return BuildFailed(
            what, cause="not-wanted", seconds=result.seconds, log=result.log, artifacts=found, hint=hint
        )  # fmt: skip

    if not found:
        raise refused(f"Packer left no {noun}")
    places = Counter(artifact.location for artifact in found)
    for location, number in places.items():
        if number > 1:
            named = ", ".join(artifact.id for artifact in found if artifact.location == location)
            raise refused(f"Packer left {number} {noun}s in {location}, and an image is one artifact: {named}")
    if image.build_location not in places:
        named = ", ".join(f"{artifact.id} in {artifact.location}" for artifact in found)
        takes = image.template.taking(kind.location, kind.location)
        raise refused(
            f"{image.name} is to be built in {image.build_location}, and Packer left {named}",
            f"have the template take its {kind.location} from a variable, which is then passed: {takes}",
        )
    return found


def _beside(result: BuildResult, found: Sequence[Artifact]) -> Iterator[str]:
    """What else Packer left, as a warning says it."""
    for artifact in result.artifacts:
        if artifact not in found:
            yield f"{artifact.builder} also left {artifact.kind} {artifact.id}, which is not recorded"
    for made in result.made:
        if not any(artifact.id in made.id for artifact in result.artifacts):
            yield f"{made.builder} also left {_kind_of(made)} {made.id}, which is not recorded"


def _kind_of(made: Made) -> str:
    return "file" if made.builder_id == "packer.file" else made.builder_id or "unknown"


def _found(run: Run, artifact: Artifact) -> Seen:
    seen = run.registry.find(artifact.location, artifact.id, patience=SETTLING)
    if seen is None:
        raise Transient(f"Packer reported {artifact.id} in {artifact.location}, and the registry does not have it")
    return seen


def _refuse_foreign(
    run: Run, image: Image, seen: Seen, *, build: Build, built_on: str | None, log: Path, owned: bool
) -> None:  # fmt: skip
    """Raise BuildFailed for what the build can't have made: the words of what Packer ran may say anything."""
    fleet, name, of = seen.own("fleet"), seen.own("image"), seen.own("build") or build.id
    if of != build.id:
        why = f"that is the build {of} of {name}"
    elif fleet not in (None, run.known.fleet_name) or name not in (None, *image.names):
        why = f"that is of the image {name or 'none'} of the fleet {fleet or 'none'}"
    elif seen.id == built_on:
        why = "that is what it was built on"
    elif not owned:
        why = "it belongs to another account"
    elif not may_be_of(build.id, seen):
        why = f"it was there before this build began, made at {seen.created}"
    else:
        return
    raise _failed(build, f"Packer reported {seen.id} as what it made, and {why}", cause="not-wanted", log=log)


def _unmarked(build: Build, error: ReconcilerError, *, log: Path) -> BuildFailed:
    named = ", ".join(f"{artifact.id} in {artifact.location}" for artifact in build.artifacts)
    what = f"{named} was built, and could not be marked as complete: {error.what}"
    return _failed(build, what, cause="unmarked", log=log, made=build, hint=error.hint)


def _failed(
    build: Build, what: str, *, cause: Cause, log: Path, made: Build | None = None, hint: tuple[str, ...] = ()
) -> BuildFailed:
    seconds = build.seconds or 0
    return BuildFailed(
        what, cause=cause, seconds=seconds, log=log, artifacts=build.artifacts, made=made, hint=hint
    )  # fmt: skip


def _as_built(run: Run, image: Image, wanted: Wanted, *, result: BuildResult) -> Wanted:
    """What was really built: a template that takes no source from us resolves its own, inside the build."""
    used, pin = result.source, wanted.pin
    if used is None or (pin is not None and used == image.kind.source_id(pin, image.build_location)):
        return wanted
    if pin is None and not image.kind.builds_where_source_is:
        return wanted  # What it was is known, and not where that is.
    if pin is not None:
        if pin.image is not None:
            what = f"{image.name} was built on {used}, which is not of {pin.image} {pin.build}"
            raise BuildFailed(
                what, cause="not-wanted", seconds=result.seconds, log=result.log, artifacts=result.artifacts
            )  # fmt: skip
        variable = image.kind.source_variable
        what = f"Packer built on {used}, not on the pin {pin}: the template does not take the variable {variable}"
        run.listener(events.Warned(image=image.name, what=what))
    at = pin.upstream.location if pin is not None and pin.upstream is not None else image.build_location
    actual = image.kind.pin(at, used, **_described(run, at, used))
    if pin is None:
        return replace(wanted, pin=actual)  # It is in no key: nobody could say before the build what it would be.
    return replace(want(image, actual), pin=actual)


def _described(run: Run, location: str, source_id: str) -> dict[str, str]:
    """Name and date of a source, for people; nothing where it can't be read: the id is what counts."""
    try:
        seen = run.registry.find(location, source_id)
    except ReconcilerError:
        return {}
    return {"name": seen.name, "created": seen.created} if seen is not None else {}
