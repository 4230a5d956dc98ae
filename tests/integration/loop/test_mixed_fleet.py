"""A fleet of every kind: what people read of it is in each kind's own words, and one kind stops no other."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import click
import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no type information
from rich.console import Console

from reconciler.build.judge import absent
from reconciler.cli.main import cli
from reconciler.model.declaration import Settings
from reconciler.model.errors import ReconcilerError
from reconciler.model.fleet import Image
from reconciler.model.plan import PlanOptions
from reconciler.ports.builder import BuildRequest
from reconciler.ports.registry import Opening, Registry
from reconciler.registries import KINDS, OTHER, dialect_of, open_registry
from reconciler.registries.router import Registries, kinds_in
from reconciler.words import comment, plans, table
from reconciler.words.comment import Previewed
from reconciler.words.markdown import render as as_markdown
from tests.integration.loop.adapters import WorldAdapters
from tests.integration.loop.mixed import UPSTREAM, WHERE, MixedWorld, every_kind, files_of
from tests.integration.loop.pull_request import BRANCH, on_branch
from tests.integration.loop.surroundings import Clock
from tests.integration.loop.world import FLEET, git, results, statuses

GOLDEN = Path(__file__).with_name("mixed.txt")
SCHEMA = Path(__file__).parents[3] / "docs" / "schema" / "lockfile-1.json"
ONE_AT_A_TIME = "limits: {parallel_builds: 1}\n"
PUBLISHED = {"ami": 'publish: {ssm: "/images/{image}/{channel}"}\n', "oci": 'publish: {tag: "{channel}"}\n'}
MODULES = ("status", "history", "show", "which", "workspace")


@pytest.fixture
def _dated(monkeypatch: pytest.MonkeyPatch) -> None:
    """People commit at one time: what they commit has the same id in every run."""
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_DATE", "2026-11-22T10:00:00+00:00")


@pytest.fixture
def world(own_home: None, _dated: None, tmp_path: Path) -> MixedWorld:
    return MixedWorld.begin(tmp_path / "world", every_kind(settings=ONE_AT_A_TIME, more=PUBLISHED))


@pytest.mark.long
def test_what_is_read_of_it_is_in_each_kinds_words(
    world: MixedWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    told = "\n".join(line.rstrip() for line in "\n".join(_life(world, monkeypatch, capsys)).splitlines()) + "\n"
    if os.environ.get("GOLDEN") == "write":
        GOLDEN.write_text(told)
    assert told.splitlines() == GOLDEN.read_text().splitlines()


def _life(world: MixedWorld, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[str]:
    """New, built, with a pull request, and after people were at it."""
    yield from _plan(world, "new")
    for image in [*_images("base"), *_images("web"), "azure"]:
        world.controller().reconcile(image)  # one after the other: the clock goes by what is done
    world.clock.advance(hours=1)
    yield from _plan(world, "built")
    git(world.root / "ci", "pull", "--quiet", "origin", "main")
    asked: list[tuple[str, ...]] = [("validate",), ("plan", "--offline"), ("status",), ("graph",)]
    for image in (*(f"{kind}-web" for kind in WHERE), "azure"):
        build = world.lock(image).builds[0]
        one = build.artifacts[0]
        named = f"{one.location}{dialect_of(one.kind).kind.between}{one.id}"
        asked += [("history", image), ("verify", image), ("show", build.id)]
        asked += [("which", named), ("artifact", image, one.location)] if one.kind != OTHER else []
    for words in asked:
        yield from _said(world, *words, monkeypatch=monkeypatch, capsys=capsys)
    job = on_branch(world, {f"desired/{image}/setup.sh": "echo more\n" for image in [*_images("web"), "azure"]})
    report = job.preview(BRANCH, 7)
    yield "=== the comment on a pull request"
    done = {
        one.image: Previewed(one.build, one.why, tested=one.tested, difference=one.difference) for one in report.results
    }
    yield comment.render(report.plan, done)
    world.commit({**_less("ami-base"), **_less("oci-base"), **_less("disk-base"), **_less("vsphere-base")})
    for kind, (_, elsewhere) in WHERE.items():
        world.lose(f"{kind}-web", elsewhere)
    yield from _plan(world, "less declared, and some of it lost")
    yield from _plan(world, "the same, with --prune", prune=True)
    world.registry.unreadable = {places[1]: "it does not answer" for places in WHERE.values()}
    yield from _plan(world, "half of it can't be read")
    world.registry.unreadable = {}
    for image in [*_images("base"), *_images("web")]:
        world.controller().reconcile(image, prune=True)
    yield "=== commits"
    yield git(world.origin, "log", "--format=%B", "--reverse", "main")
    yield "=== tags"
    yield git(world.origin, "tag", "--list", "--format=%(refname:short)")


def _images(what: str) -> list[str]:
    return [f"{kind}-{what}" for kind in WHERE]


def _less(image: str) -> dict[str, str | None]:
    """An image that is kept in its first location alone, under no name."""
    kind = image.partition("-")[0]
    whole = every_kind()[f"desired/{image}/image.yaml"] or ""
    return {f"desired/{image}/image.yaml": whole.replace(f", {WHERE[kind][1]}]", "]")}


def _plan(world: MixedWorld, title: str, *, prune: bool = False) -> Iterator[str]:
    """A plan as a terminal shows it, as Markdown, and what it says in JSON of where things are."""
    plan = world.controller().look(PlanOptions(prune=prune))[1].plan
    console = Console(width=80, no_color=True, legacy_windows=False)
    with console.capture() as shown:
        console.print(table.render(plan))
    yield from (f"=== {title}: the plan", plans.headline(plan), shown.get(), *plans.notes(plan))
    yield f"--- {title}: as Markdown"
    yield as_markdown(plan)


def _said(
    world: MixedWorld, *words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[str]:
    """What a verb says in the clone, a week on."""
    with monkeypatch.context() as patch:
        later = Clock()
        later.moment = world.clock.moment
        later.advance(days=7)
        for module in MODULES:
            patch.setattr(f"reconciler.cli.{module}.now", later)
        patch.setenv("COLUMNS", "80")
        capsys.readouterr()
        code = cli.main([*words, "-C", str(world.root / "ci")], standalone_mode=False)
    out, err = capsys.readouterr()
    yield f"=== reconciler {' '.join(words)}: {code}"
    yield click.unstyle(out + err).replace(str(world.root), "…")


WORDS_OF_ANOTHER = re.compile(r"\b(?:AMIs?|AWS|EC2|IMDS\w*|SSM|snapshots?|instances?)\b")
"""What no line about an image says that is no AMI. A reason's code is one for all kinds."""


def test_no_line_about_another_kind_has_amazons_words() -> None:
    about = re.compile(r"\b(?:oci|disk|vsphere)-(?:base|web)\b|\bazure\b")
    lines = [line for line in GOLDEN.read_text().splitlines() if about.search(line) and "ami-" not in line]

    assert len(lines) > 100
    assert [line for line in lines if WORDS_OF_ANOTHER.search(line)] == []


@pytest.mark.long
def test_every_lockfile_of_it_is_as_the_schema_says_and_a_second_run_changes_nothing(world: MixedWorld) -> None:
    schema = Draft202012Validator(json.loads(SCHEMA.read_text()))
    report = world.controller().reconcile()
    head = world.head()
    world.clock.advance(hours=1)

    for image in world.recorded():
        schema.validate(json.loads(world.show(f"{image}.lock.json")))
    assert len(world.recorded()) == 9
    assert set(statuses(report).values()) == {"built"}
    assert {one.kind for image in world.recorded() for one in world.lock(image).builds[0].artifacts} == KINDS.keys()
    assert (world.controller().reconcile().exit_code, world.head()) == (0, head)


def test_a_kinds_limit_holds_while_others_go_on(own_home: None, tmp_path: Path) -> None:
    # Given two disks at once at most, of four that could be built, one container, and an AMI
    limits = "limits: {parallel_builds: 6, kinds: {disk: {parallel_builds: 2}, oci: {parallel_builds: 1}}}\n"
    images = {**{f"disk-{n}": "disk" for n in range(4)}, "oci-0": "oci", "oci-1": "oci", "ami": "ami"}
    files: dict[str, str | None] = {"desired/reconciler.yaml": f"fleet: {FLEET}\n{limits}"}
    for image, kind in images.items():
        files |= files_of(kind, image, UPSTREAM[kind])
    world = MixedWorld.begin(tmp_path / "world", files)
    controller, lock, pairs = world.controller(), threading.Lock(), threading.Barrier(2, timeout=60)
    now, most = Counter[str](), Counter[str]()

    def build(request: BuildRequest) -> None:
        kind = request.image.kind.name
        with lock:
            now[kind] += 1
            most[kind] = max(most[kind], now[kind])
        if kind == "disk":
            pairs.wait()  # two of them are at it at once, or none goes on
        with lock:
            now[kind] -= 1

    controller.builder.during = build

    report = controller.reconcile()

    assert statuses(report) == dict.fromkeys(images, "built")
    assert most == {"disk": 2, "oci": 1, "ami": 1}


def test_a_kind_that_lacks_its_program_or_its_library_stops_its_own_images_alone(
    world: MixedWorld, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Given a machine without an engine, qemu or pyvmomi
    def opened(kind: str) -> Registry:
        return open_registry(kind, Opening(FLEET, Settings())) if kind == "vsphere" else world.registry

    def refused(_of: WorldAdapters, images: Iterable[Image]) -> Mapping[str, ReconcilerError]:
        lacking = absent(images, {"PATH": str(tmp_path)})
        return {image: one.error() for one in reversed(lacking) for image in one.images}

    monkeypatch.setattr(WorldAdapters, "refused", refused)
    monkeypatch.setitem(sys.modules, "pyVmomi", None)
    for name in [one for one in sys.modules if one.startswith("reconciler.registries.vsphere.")]:
        monkeypatch.delitem(sys.modules, name)
    controller = world.controller()
    known = controller.look()[0]
    router = Registries(kinds_in(known.fleet.images.values(), ()), opened)
    controller.on_registry = lambda _: router

    report = controller.reconcile()

    # Then the others are built and recorded, and of each that is not one thing is said
    assert report.exit_code == 3
    assert world.recorded() == ["ami-base", "ami-web", "azure"]
    why = {image: one.why for image, one in results(report).items() if one.status != "built"}
    assert "docker is not on this machine" in why["oci-base"]
    assert "qemu-img is not on this machine" in why["disk-base"]
    planned = {one.image: (*one.unknown, one.waits_for or "") for one in report.plan.images}
    assert "pyvmomi, which is not installed" in " ".join((why.get("vsphere-base", ""), *planned["vsphere-base"]))
    assert not any("\n" in said.strip() for said in why.values())


NEEDED = """\
import sys
from reconciler.cli.main import main
code = main([*sys.argv[1:]])
print(code, *sorted(name for name in sys.modules if name.startswith("reconciler.registries.")), file=sys.stderr)
print(*sorted({"botocore", "pyVmomi", "requests"} & sys.modules.keys()), file=sys.stderr)
"""
"""What a process of its own imports for a verb."""


@pytest.mark.long
@pytest.mark.parametrize("kind", [*WHERE, OTHER])
def test_nothing_is_imported_that_a_fleet_does_not_need(own_home: None, tmp_path: Path, kind: str) -> None:
    files = {"desired/reconciler.yaml": f"fleet: {FLEET}\n", **files_of(kind, "only", UPSTREAM.get(kind, ""))}
    world = MixedWorld.begin(tmp_path / "world", files)
    environment = {**os.environ, "AWS_ACCESS_KEY_ID": "", "AWS_EC2_METADATA_DISABLED": "true"}

    offline, plan = (
        subprocess.run(
            [sys.executable, "-c", NEEDED, *words, "-C", str(world.root / "person")],
            capture_output=True, text=True, check=True, env=environment,
        ).stderr.splitlines()[-2:]
        for words in (("plan", "--offline"), ("plan",))
    )  # fmt: skip

    assert offline[1] == "", "offline no library of a registry is needed"
    for imported in (offline[0], plan[0]):
        folders = {name.split(".")[2] for name in imported.split()[1:]}
        assert folders & {one.folder for one in KINDS.values()} == {KINDS[kind].folder}
    libraries = {"ami": {"botocore"}, "oci": {"requests"}, "vsphere": {"pyVmomi"}}.get(kind, set())
    assert set(plan[1].split()) == libraries
