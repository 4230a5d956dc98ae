"""Build one image with Packer, from a clean export of the commit, and say what came out."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

from reconciler.build.aws_environment import aws_environment
from reconciler.build.failure import BuildFailed
from reconciler.build.protocol import BuildRequest, BuildResult
from reconciler.model import events
from reconciler.model.errors import Terminal, Transient, UserError
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Artifact, Build, Phase
from reconciler.model.plan import Decision, Wanted
from reconciler.model.source import AmiPin, Pin
from reconciler.model.values import format_instant
from reconciler.plan.estimate import build_seconds
from reconciler.plan.key import short
from reconciler.plan.key import wanted as want
from reconciler.plan.reasons import as_done
from reconciler.plan.tags import at_birth
from reconciler.plan.transitions import first_phase
from reconciler.steps.artifacts import SETTLING
from reconciler.steps.run import Run
from reconciler.steps.work_folder import PACKERS, refuse_while_building, work_folder


def new_build_id(run: Run, key: str) -> str:
    """The name of a build that starts now: `<datestamp>-<key7>`."""
    return f"{run.now():%Y%m%dT%H%M%SZ}-{short(key)}"


def build_image(
    run: Run, image: Image, wanted: Wanted, *, build_id: str, decision: Decision, phase: Phase | None = None
) -> Build:
    """Run Packer for an image and describe its artifacts as the registry shows them.

    Raises BuildFailed when Packer failed, UserError when it can't be started as declared, Transient while a Packer that
    outlived another run builds the image.
    """
    if run.builder is None:
        raise Terminal(f"{image.name} is to be built, and this run was begun without Packer")
    refuse_while_building(run.folder / "work", image.name)
    started = run.now()
    with work_folder(run.folder / "work", f"{image.name}-{build_id}") as folder:
        export = folder / "export"
        exported = run.repository.export(run.known.head, export, used=image.input_paths)
        for submodule in exported.submodules:
            what = f"the submodule {submodule} is not exported: what the build reads from it is missing"
            run.listener(events.Warned(image=image.name, what=what))
        result = run.builder.build(
            _request(run, image, wanted, build_id=build_id, folder=folder, export=export, decision=decision),
            listener=run.listener,
            cancelled=run.cancelled,
        )
    artifacts = tuple(_described(run, artifact, result, build_id=build_id) for artifact in result.artifacts)
    for artifact in artifacts:
        run.listener(
            events.Built(
                image=image.name, build=build_id, location=artifact.location, artifact=artifact.id,
                seconds=result.seconds,
            )
        )  # fmt: skip
    wanted = _as_built(run, image, wanted, result=result)
    return Build(
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
        ci=run.ci,
    )


def _request(
    run: Run, image: Image, wanted: Wanted, *, build_id: str, folder: Path, export: Path, decision: Decision
) -> BuildRequest:
    birth = at_birth(fleet=run.known.fleet_name, image=image, build_id=build_id, run_id=run.run_id)
    return BuildRequest(
        image=image,
        build_id=build_id,
        key=wanted.key,
        run_id=run.run_id,
        export=export,
        run_folder=folder / PACKERS,
        log=run.folder / "logs" / f"{image.name}-{build_id}.log",
        environment=aws_environment(run.known.fleet.settings.aws, os.environ, folder=folder),
        timeout=image.declaration.packer.timeout,
        region=image.build_region,
        source_ami=_source_ami(image, wanted.pin),
        image_tags={**image.declaration.tags, **birth},
        run_tags=birth,
        estimate_seconds=build_seconds(decision.lock),
    )


def _source_ami(image: Image, pin: Pin | None) -> str | None:
    if pin is None:
        return None
    found = pin.artifact_in(image.build_region)
    if found is None:
        raise UserError(
            f"{image.name} is built in {image.build_region}, and {pin} is not there",
            mend=f"resolve its source anew: `reconciler reconcile {image.name} --refresh`"
            if pin.ami
            else f"add {image.build_region} to the regions of {pin.image}",
        )
    return found


def _described(run: Run, artifact: Artifact, result: BuildResult, *, build_id: str) -> Artifact:
    if artifact.kind != "ami":
        raise Terminal(f"{artifact.builder} left {artifact.kind} {artifact.id}: only AMIs can be recorded yet")
    seen = run.registry.find(artifact.location, artifact.id, patience=SETTLING)
    if seen is None:
        raise Transient(f"Packer reported {artifact.id} in {artifact.location}, and the registry does not have it")
    already = seen.own("build") or build_id
    if artifact.id == result.source_ami or already != build_id:
        whose = "what it was built on" if already == build_id else f"the build {already} of {seen.own('image')}"
        what = f"Packer reported {artifact.id} as what it made, and that is {whose}"
        raise BuildFailed(what, cause="no-artifact", seconds=result.seconds, log=result.log)
    return seen.as_artifact(artifact.builder)


def _as_built(run: Run, image: Image, wanted: Wanted, *, result: BuildResult) -> Wanted:
    """What was really built: a template that takes no `source_ami` resolves its source itself, inside the build."""
    used, pin = result.source_ami, wanted.pin
    if used is None or pin is None or used == pin.artifact_in(image.build_region):
        return wanted
    if pin.image is not None:
        raise Terminal(f"{image.name} was built on {used}, which is not of {pin.image} {pin.build}")
    what = f"Packer built on {used}, not on the pin {pin}: the template does not take the variable source_ami"
    run.listener(events.Warned(image=image.name, what=what))
    actual = Pin(ami=AmiPin(region=image.build_region, id=used))
    seen = run.registry.find(image.build_region, used)
    if seen is not None and actual.ami is not None:
        actual = Pin(ami=actual.ami.model_copy(update={"name": seen.name, "created": seen.created}))
    return replace(want(image, actual), pin=actual)
