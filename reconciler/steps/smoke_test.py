"""Smoke-test: boot what was built, test it, and see what is inside, before anybody gets it."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from reconciler.build.secrets import secret_values
from reconciler.desired.contents import Contents
from reconciler.desired.paths import resolve
from reconciler.model import events
from reconciler.model.errors import ReconcilerError, Terminal
from reconciler.model.fleet import Image
from reconciler.model.inventory import Inventory
from reconciler.model.kind import SSH
from reconciler.model.lockfile import Artifact, Build
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.model.tree import Tree, TreeEntry
from reconciler.model.values import digest
from reconciler.plan.planning import lock_of
from reconciler.plan.standing import outcome, texts
from reconciler.plan.tags import at_birth
from reconciler.plan.timing import smoke_test_seconds
from reconciler.ports.bench import LIFE, BootRequest, EndsWithItsRun, Instance, Instances
from reconciler.ports.tester import Tested, TestRequest
from reconciler.state.sbom import inventory_record
from reconciler.steps.packer_keys import KEY_TAG, may_stay
from reconciler.steps.run import Run, Testbed
from reconciler.steps.work_folder import for_tests, work_folder

_LINK = "120000"
"""The mode of a symbolic link."""
_BOOT_SECONDS = 300.0
"""For an instance to be running with an address: a cloud takes some seconds, a large image a minute or two."""


class SmokeTestFailed(Terminal):
    """What was built did not pass. It is an attempt that failed: counted, told, and tried again after a rest.

    `build` is what was tested; `tail` holds the last lines of the test's output, redacted.
    """

    def __init__(self, build: Build, tested: Tested) -> None:
        super().__init__(outcome(tested.result))
        self.build = build
        self.result = tested.result
        self.tail = tested.tail
        self.log = tested.log


@dataclass(frozen=True)
class Examined:
    """A build with what is known of it from the inside. `booted` is False where that was known before."""

    build: Build
    inventory: Inventory | None
    booted: bool = True


def smoke_test(run: Run, image: Image, build: Build) -> Examined:
    """Boot a build's artifact and test it; returns it with what was found.

    Raises:
        SmokeTestFailed: it did not pass.
        ReconcilerError: it could not be booted; the build stays, and is adopted and tested by the next run.
    """
    why = not_bootable(image)
    if why is not None:
        run.listener(events.Tested(image=image.name, build=build.id, status="skipped", tests=0, seconds=0, why=why))
        skipped = SmokeTestResult(status="skipped", why=why)
        return Examined(build.model_copy(update={"smoke_test": skipped, "inventory": None}), None, booted=False)
    begun = run.now()
    tested = _test(run, image, build, testbed=run.adapters.testbed(run.known))
    seconds = int((run.now() - begun).total_seconds())
    bound = suite_digest(image, run.known.tree, below=run.repository.git.below)
    result = tested.result.model_copy(update={"seconds": seconds, "suite": bound})
    run.listener(
        events.Tested(
            image=image.name, build=build.id, status=result.status, tests=result.tests, seconds=seconds,
            why="" if result.status == "passed" else outcome(result), findings=texts(result.findings),
        )
    )  # fmt: skip
    found = tested.inventory
    record = inventory_record(image.name, build.id, found) if found is not None else None
    build = build.model_copy(update={"smoke_test": result, "inventory": record})
    run.packer_keys.note(build)
    if result.status == "failed":
        raise SmokeTestFailed(build, tested)
    return Examined(build, found)


def suite_digest(image: Image, tree: Tree, *, below: str) -> str:
    """The digest of what an image is tested by: its suite's files, and the settings that its result depends on.

    A result stands for these alone. What passed by an emptied suite, of a branch or of yesterday, did not pass by this.
    """
    declared, suite = image.declaration.smoke_test, _suite(image, below=below)
    files = [(entry.path.removeprefix(suite or ""), entry.mode, entry.identity) for entry in _read_by(suite, tree)]
    return digest([files, declared.user or _login(image), declared.instance_type, declared.timeout])


def _read_by(suite: str | None, tree: Tree) -> list[TreeEntry]:
    """The files of a suite, what the links among them lead to, and the links on the way there; in order of path."""
    contents = Contents(tree)
    found: set[str] = set()
    waiting = [suite] if suite else []
    while waiting:
        new = [path for path in contents.at(waiting.pop()) if path not in found]
        found.update(new)
        waiting += (path for path in new if tree.entries[path].mode == _LINK)
    return [tree.entries[path] for path in sorted(found)]


def tested_through_ssh(image: Image) -> bool:
    """Whether a test of it needs an SSH client here."""
    return (
        image.declaration.smoke_test.boot and image.kind.reached_by == SSH and image.kind.boots_in(image.build_location)
    )


def not_bootable(image: Image) -> str | None:
    """Why an image is not booted to be tested; None where it is."""
    if not image.declaration.smoke_test.boot:
        return "smoke_test.boot is false"
    if not image.kind.boots:
        return f"nothing here boots {image.kind.artifact}"
    if not image.kind.boots_in(image.build_location):
        return "nothing here boots what is kept there"
    return next((f"{one.name} {one.how_reached}" for one in image.template.makers if one.communicator != "ssh"), None)


def _test(run: Run, image: Image, build: Build, *, testbed: Testbed) -> Tested:
    declared = image.declaration.smoke_test
    artifact = build.artifact_in(image.build_location) or build.artifacts[0]
    with work_folder(for_tests(run.folder), f"{image.name}-{build.id}-test") as folder:
        below = run.repository.git.below
        suite = _suite(image, below=below)
        run.repository.export(run.known.head, folder / "export", used=_used(run, image, suite=suite, below=below))
        export = folder / "export" / below
        _sweep(run, image, testbed.instances, location=artifact.location)
        run.listener(
            events.Booting(
                image=image.name, build=build.id, location=artifact.location, artifact=artifact.id,
                estimate_seconds=smoke_test_seconds(lock_of(run.known, image)[0]),
            )
        )  # fmt: skip
        instance = testbed.instances.boot(_boot_request(run, image, build, artifact=artifact, folder=folder))
        tested: Tested | None = None
        try:
            _outlive_sweeps(run, testbed.instances, instance, timeout=declared.timeout)
            tested = testbed.tester.test(
                TestRequest(
                    image=image.name, build_id=build.id,
                    address=instance.address, port=instance.port, user=instance.user,
                    private_key=instance.private_key, suite=export / suite if suite else None, suite_name=suite or "",
                    timeout=declared.timeout, secrets=_secrets(image, export, below=below),
                    hygiene=declared.hygiene, packer_keys=_packer_keys(run, image, build),
                    folder=folder, log=run.folder / "logs" / f"{image.name}-{build.id}.smoke.log",
                    reached=instance.reached, alive=lambda: testbed.instances.state(instance),
                ),
                listener=run.listener,
                cancelled=run.cancelled,
            )  # fmt: skip
            return _with_console(tested, testbed.instances, instance)
        finally:
            _end(run, image, testbed, instance, tested=tested)


def _outlive_sweeps(run: Run, instances: Instances, instance: Instance, *, timeout: int) -> None:
    """Keep the sweep of another run from an instance whose test may take longer than instances live."""
    longest = timedelta(seconds=timeout + _BOOT_SECONDS)
    if longest > LIFE:
        with suppress(EndsWithItsRun):
            instances.keep(instance, until=run.now() + longest)


def _packer_keys(run: Run, image: Image, build: Build) -> frozenset[str]:
    """The temporary keys of Packer that may be in a build: its own, and those of the parent that it was built on."""
    parent = run.known.fleet.images.get(image.parent or "")
    if parent is not None:
        run.packer_keys.note_all(lock_of(run.known, parent)[0])
    on = build.source.build if build.source is not None else None
    return run.packer_keys.of(build.id) | _tagged_keys(run, image, build) | run.packer_keys.of(on)


def _tagged_keys(run: Run, image: Image, build: Build) -> frozenset[str]:
    """What an earlier run, which could not test it, wrote on the artifact."""
    if run.packer_keys.of(build.id) or not may_stay(image):
        return frozenset()
    seen = run.registry.find(build.artifacts[0].location, build.artifacts[0].id)
    return frozenset((seen.own(KEY_TAG) or "").split() if seen is not None else ())


def _suite(image: Image, *, below: str) -> str | None:
    """The path of the image's own tests from the fleet's folder, or None where it has none."""
    written = image.declaration.smoke_test.suite
    return resolve(written, image.folder, below=below) if written is not None else None


def _used(run: Run, image: Image, *, suite: str | None, below: str) -> tuple[str, ...]:
    """The files that a test reads: its suite, and what the build was given, which may hold secrets."""
    under = (path for path in run.known.tree.entries if suite and (path == suite or path.startswith(f"{suite}/")))
    given = {resolve(written, image.folder, below=below) for written in image.declaration.packer.var_files}
    return (*under, *(path for path in image.input_paths if path in given or ".pkrvars." in path))


def _secrets(image: Image, export: Path, *, below: str) -> frozenset[str]:
    """What the build was given and must not be shown: it may be in the image, and so in what a test prints."""
    named = (resolve(written, image.folder, below=below) for written in image.declaration.packer.var_files)
    return secret_values(image, os.environ, var_files=[export / path for path in named if path], export=export)


def _boot_request(run: Run, image: Image, build: Build, *, artifact: Artifact, folder: Path) -> BootRequest:
    declared = image.declaration.smoke_test
    keys = folder / "key"
    keys.mkdir(mode=0o700)
    return BootRequest(
        artifact=artifact,
        name=f"{image.name}-{build.id}",
        user=declared.user or _login(image),
        instance_types=declared.instance_type,
        subnets=declared.subnets,
        allow_from=declared.allow_from,
        tags=at_birth(fleet=run.known.fleet_name, image=image.name, build_id=build.id, run_id=run.request.run_id),
        timeout=_BOOT_SECONDS,
        private_key=keys / "id_ed25519",
    )


def _login(image: Image) -> str:
    """Who Packer logged in as; where the template does not say it in so many words, what is usual for its kind."""
    return next((one.ssh_username for one in image.template.makers if one.ssh_username), image.kind.login)


def _with_console(tested: Tested, instances: Instances, instance: Instance) -> Tested:
    """A failed test with what the console says, where nobody could look inside."""
    if tested.inventory is not None or tested.result.status == "passed":
        return tested
    console = instances.console(instance)
    if not console:
        return tested
    return Tested(tested.result, None, tested.log, tail=(*tested.tail, "console:", *console))


def _end(run: Run, image: Image, testbed: Testbed, instance: Instance, *, tested: Tested | None) -> None:
    """Terminate the instance, whatever happened; one that failed stays for a while if somebody asked for that."""
    failed = tested is not None and tested.result.status == "failed"
    try:
        if failed and testbed.keep_failed and _keep(run, image, testbed, instance):
            until = run.now() + timedelta(seconds=testbed.keep_failed)
            until_when = f"until the first test there after {until:%H:%M} UTC"
            what = f"{instance.id} in {instance.location} stays {until_when}: {_way_in(run, instance)}"
            run.listener(events.Warned(image=image.name, what=what))
        else:
            testbed.instances.terminate(instance)
    except ReconcilerError as error:
        what = f"{instance.id} in {instance.location} is left: {error.what}; a later test there removes it"
        run.listener(events.Warned(image=image.name, what=what))


def _keep(run: Run, image: Image, testbed: Testbed, instance: Instance) -> bool:
    """Leave an instance for a person to look at; False, and it is told, where it can't stay."""
    try:
        testbed.instances.keep(instance, until=run.now() + timedelta(seconds=testbed.keep_failed))
    except EndsWithItsRun as error:
        run.listener(events.Warned(image=image.name, what=error.what))
        return False
    return True


def _way_in(run: Run, instance: Instance) -> str:
    """How to log in. The key would go with the work folder; and where the logs are, CI would publish it."""
    if instance.reached is not None:
        return f"{' '.join(instance.reached.command)} sh"
    kept = run.folder / "keys" / instance.id
    kept.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    kept.touch(mode=0o600)
    kept.write_bytes(instance.private_key.read_bytes())
    return f"ssh -i {kept} {instance.user}@{instance.address}"


def _sweep(run: Run, image: Image, instances: Instances, *, location: str) -> None:
    try:
        for left in instances.sweep(location, now=run.now()):
            run.listener(
                events.Warned(
                    image=image.name,
                    what=f"ended {left} in {location}: a killed run left it, or its time to be looked at is over",
                )
            )
            (run.folder / "keys" / left).unlink(missing_ok=True)
    except ReconcilerError as error:
        what = f"what killed runs may have left in {location} stays for now: {error.what}"
        run.listener(events.Warned(image=image.name, what=what))
