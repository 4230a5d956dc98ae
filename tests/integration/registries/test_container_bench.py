"""Containers that are started to be tested: they run, are found when a killed run left them, and go."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.build.inventory.take import take_inventory
from reconciler.build.smoke.tester import SshTester
from reconciler.model.declaration import Settings
from reconciler.model.errors import Transient, UserError
from reconciler.model.lockfile import Artifact
from reconciler.ports.bench import LIFE, STARTED, BootRequest, Instance, Instances
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Opening
from reconciler.ports.tester import TestRequest
from reconciler.registries import open_bench, open_registry
from tests import containers

pytestmark = pytest.mark.containers

OPENING = Opening("acme/images", Settings())


@pytest.fixture
def location(engine: None, tmp_path: Path) -> Iterator[str]:
    with containers.registry(tmp_path) as host:
        yield f"{host}/acme/web"
    for left in containers.docker("ps", "--all", "--quiet").split():
        containers.docker("rm", "--force", left)


@pytest.fixture
def bench(location: str) -> Instances:
    return open_bench("oci", OPENING)


def kept(location: str, image: str) -> Artifact:
    made = Made("docker.web", "packer.post-processor.docker-import", image)
    (artifact,) = open_registry("oci", OPENING).store(location, [made], name="web-1", tags={})
    return artifact


def asked(artifact: Artifact, folder: Path) -> BootRequest:
    return BootRequest(
        artifact, "web-20261122T101530Z-1a2b3c4", "root", (), (), (), {"reconciler:image": "web"}, 60, folder / "key"
    )


@pytest.fixture
def instance(bench: Instances, location: str, tmp_path: Path) -> Instance:
    return bench.boot(asked(kept(location, containers.base()), tmp_path))


def test_what_was_booted_runs_from_its_digest_and_is_gone_once_it_is_ended(
    bench: Instances, instance: Instance, location: str
) -> None:
    assert bench.state(instance) == "running"
    assert instance.reached is not None
    _, *command = instance.reached.command
    assert containers.docker(*command, "id", "-u") == "0"
    assert location in containers.docker("inspect", "--format", "{{.Config.Image}}", instance.id)

    for _ in range(2):
        bench.terminate(instance)

    assert bench.state(instance) == "terminated"


def test_a_container_of_others_stays_whatever_labels_its_image_gives_it(bench: Instances, instance: Instance) -> None:
    # Given an image with our label in it, from upstream or built by us, which another team runs on this engine
    image = containers.docker("commit", "--change", "LABEL reconciler.fleet=acme/images", instance.id)
    theirs = containers.docker("run", "--detach", "--name", "payroll", "--entrypoint", "sleep", image, "3600")

    assert list(bench.sweep(instance.location, now=datetime.now(UTC) + 2 * LIFE)) == [instance.id]

    assert containers.docker("inspect", "--format", "{{.State.Running}}", theirs) == "true"


def test_an_image_without_a_shell_is_told_apart_from_a_broken_one(
    bench: Instances, location: str, tmp_path: Path
) -> None:
    artifact = kept(location, containers.imported({"content": b"nothing to run"}))

    with pytest.raises(UserError, match="there is no `sh` in it"):
        bench.boot(asked(artifact, tmp_path))

    assert containers.docker("ps", "--all", "--quiet") == ""


@pytest.mark.long
def test_of_earlier_builds_an_engine_keeps_what_others_tagged_or_run_and_nothing_else(
    bench: Instances, location: str, tmp_path: Path
) -> None:
    def built(number: int, *, fleet: str = "acme/images") -> Artifact:
        image = containers.docker(
            "commit", "--change", f"LABEL number={number}",
            containers.docker("create", containers.base(), "sh"),
        )  # fmt: skip
        containers.docker("tag", image, f"{location}:built")  # as a template's docker-tag does
        made = Made("docker.web", "packer.post-processor.docker-import", image)
        tags = {"reconciler:fleet": fleet, "reconciler:image": "web"}
        registry = open_registry("oci", replace(OPENING, fleet=fleet))
        (artifact,) = registry.store(location, [made], name=f"web-{number}", tags=tags)
        return artifact

    def there() -> set[str]:
        listed = containers.docker("images", "--digests", "--no-trunc", "--format", "{{.Digest}}", location)
        return set(listed.split())

    # Given a build of another fleet in the same repository, and of ours one that is tagged, and one that runs
    theirs, tagged = built(0, fleet="acme/others"), built(1)
    containers.docker("tag", f"{location}@{tagged.id}", f"{location}:mine")
    running = built(2)
    instance = bench.boot(asked(running, tmp_path))

    # When more are built
    last = [built(number) for number in range(3, 6)][-1]

    # Then of those only the last is kept, and can be tested; once nothing runs of it any more, the other goes as well
    assert there() == {one.id for one in (theirs, tagged, running, last)}
    bench.terminate(instance)
    newest = built(6)
    assert there() == {one.id for one in (theirs, tagged, newest)}
    bench.terminate(bench.boot(asked(last, tmp_path)))


@pytest.mark.long
@pytest.mark.parametrize(
    ("declared", "became"),
    [
        (['CMD ["sleep", "60"]'], STARTED),
        (['CMD ["true"]'], STARTED),
        (['CMD ["sh", "-c", "exit 3"]'], "ended at once, with exit code 3"),
        (['CMD ["sleep", "60"]', "USER nosuch"], "can't be started: unable to find user nosuch"),
        (['ENTRYPOINT ["/opt/server"]'], "can't be started: "),
        ([], ""),
    ],
)
def test_what_an_image_runs_by_itself_is_started_apart_and_is_gone_then(
    bench: Instances, location: str, tmp_path: Path, declared: list[str], became: str
) -> None:
    changes = [word for one in declared for word in ("--change", one)]
    made = containers.docker("create", containers.base(), "true")
    image = containers.docker("commit", "--change", "CMD []", *changes, made) if declared else containers.base()
    containers.docker("rm", made)

    instance = bench.boot(asked(kept(location, image), tmp_path))

    assert instance.reached is not None
    own = instance.reached.own_start
    assert own == became or (became.startswith("can't") and own.startswith(became))
    assert containers.docker("ps", "--all", "--quiet").split() == [instance.id]


@pytest.mark.long
@pytest.mark.parametrize("became", ["ended at once, with exit code 3", STARTED, ""])
def test_what_does_not_start_by_itself_is_a_finding(instance: Instance, tmp_path: Path, became: str) -> None:
    assert instance.reached is not None

    tested = SshTester(take_inventory=take_inventory).test(
        TestRequest(
            image="web", build_id="20261122T101530Z-1a2b3c4", address="", user="root", private_key=instance.private_key,
            suite=None, suite_name="", timeout=120, folder=tmp_path / "work", log=tmp_path / "log",
            alive=lambda: "running", reached=replace(instance.reached, own_start=became),
        ),
        listener=lambda _: None,
        cancelled=threading.Event(),
    )  # fmt: skip

    assert tested.result.failed == ()
    told = [one.text for one in tested.result.findings if one.code == "own-start"]
    assert told == (
        ["what the image runs by itself ended at once, with exit code 3"] if became not in (STARTED, "") else []
    )


def test_an_engine_that_is_down_is_waited_for(
    bench: Instances, location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    artifact = Artifact(kind="oci", builder="docker.web", location=location, id=f"sha256:{'a' * 64}")
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
        with pytest.raises(Transient, match="Cannot connect"):
            open_bench("oci", OPENING).boot(asked(artifact, tmp_path))


def test_what_can_not_be_ended_now_is_no_success(
    instance: Instance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("DOCKER_HOST", f"unix://{tmp_path}/nobody")
        with pytest.raises(Transient, match="Cannot connect"):
            open_bench("oci", OPENING).terminate(instance)
