"""Container images, from a pull request to stable: the real Packer, in a real engine, with real registries."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import requests

from reconciler.plan.tags import own
from reconciler.registries.oci.client import Client
from reconciler.registries.oci.credentials import Logins
from reconciler.registries.oci.exchange import Exchange
from reconciler.registries.oci.marks import Marks, write_marks
from reconciler.registries.oci.reference import location
from tests import containers
from tests.command import Command
from tests.integration.story.conftest import Checkout, _clone
from tests.needs import refuse_without_plugin

pytestmark = [pytest.mark.packer(once=True), pytest.mark.containers, pytest.mark.long]

ACCEPT = {"Accept": "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"}


@dataclass
class Kept:
    """A registry, seen without the reconciler. It can be ended, and begun again where it was."""

    root: Path
    host: str = ""
    _running: ExitStack = field(default_factory=ExitStack)

    def begin(self) -> None:
        self.root.mkdir(exist_ok=True)
        port = int(self.host.rpartition(":")[2] or 0)
        self.host = self._running.enter_context(containers.registry(self.root, port=port))

    def end(self) -> None:
        self._running.close()

    def tags(self, path: str) -> set[str]:
        listed = requests.get(f"http://{self.host}/v2/{path}/tags/list", timeout=10).json()
        return set(listed.get("tags") or [])

    def builds(self, path: str) -> set[str]:
        """The tags that builds are under."""
        return {tag for tag in self.tags(path) if not tag.startswith("sha256-") and tag != "latest"}

    def manifest(self, path: str, at: str) -> Any:
        return requests.get(f"http://{self.host}/v2/{path}/manifests/{at}", headers=ACCEPT, timeout=10).json()

    def digest(self, path: str, at: str) -> str | None:
        answer = requests.head(f"http://{self.host}/v2/{path}/manifests/{at}", headers=ACCEPT, timeout=10)
        return answer.headers["docker-content-digest"] if answer.ok else None

    def marks(self, path: str, digest: str) -> dict[str, str]:
        found = self.manifest(path, f"{digest.replace(':', '-')}.reconciler")
        assert found["subject"]["digest"] == digest
        return dict(found["annotations"])

    def publish(self, image: str, name: str) -> str:
        """Push an image of the engine under a name; its digest."""
        containers.docker("tag", image, f"{self.host}/{name}")
        containers.docker("push", "--quiet", f"{self.host}/{name}")
        containers.docker("rmi", f"{self.host}/{name}")
        path, _, tag = name.partition(":")
        digest = self.digest(path, tag)
        assert digest is not None
        return digest

    def delete(self, path: str, digest: str) -> None:
        requests.delete(f"http://{self.host}/v2/{path}/manifests/{digest}", timeout=10).raise_for_status()


@pytest.fixture
def one(engine: None, tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path / "one")
    kept.begin()
    yield kept
    kept.end()


@pytest.fixture
def mirror(engine: None, tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path / "mirror")
    kept.begin()
    yield kept
    kept.end()


@pytest.fixture
def fleet(packer_on_path: str | None, tmp_path: Path, one: Kept, mirror: Kept, command: Command) -> Checkout:
    """`web` on an image of somebody else's, kept twice, and `app` on it, which its template pushes as well."""
    assert packer_on_path, "mark the test `packer`"
    refuse_without_plugin("docker", packer_on_path)
    one.publish(containers.base(), "theirs/base:1")
    checkout = _clone(tmp_path, "containers", {}, command)
    source = f"{one.host}/theirs/base:1"
    checkout.write(
        "desired/web/image.yaml", declared(f"{{oci: '{source}'}}", f"{one.host}/acme/web", f"{mirror.host}/acme/web")
    )
    checkout.write("desired/app/image.yaml", declared("{image: web}", f"{one.host}/acme/app"))
    checkout.publish("Say where they are kept")
    checkout.git("fetch", "--quiet", "origin")
    return checkout


def declared(source: str, *locations: str) -> str:
    """An image.yaml."""
    return f"source: {source}\nlocations: {list(locations)}\n"


def digest_of(fleet: Checkout, image: str) -> str:
    """The digest that is recorded of the newest build: the same wherever it is kept."""
    (found,) = set(fleet.recorded(image).values())
    return found


def test_what_somebody_gives_marks_and_name_of_an_old_preview_is_not_deleted(fleet: Checkout, one: Kept) -> None:
    # Given another fleet's image in our repository, to which somebody gives name and marks of a preview of ours
    assert fleet.reconciler("reconcile", "web").code == 0
    old = "20261001T000000Z-1a2b3c4"
    theirs = one.publish(containers.imported({"payroll": b"1"}), f"acme/web:payroll-{old}")
    tags = own(fleet=fleet.name, image="web", build=old, key="sha256:0", phase="preliminary", branch="long-gone")
    client = Client(Exchange(Logins({}, lambda: pytest.fail("AWS is not asked"))))
    at = location(f"{one.host}/acme/web")
    assert at is not None
    there = client.manifest(at.by(theirs))
    assert there is not None
    client.put_manifest(at.by(f"web-{old}"), there.body, there.media_type)
    marks = Marks(theirs, f"web-{old}", "2026-10-01T00:00:00Z", tags)
    write_marks(client, at, marks, subject=there.descriptor)

    # When main's job runs, then it stays
    ended = fleet.reconciler("reconcile", "web")

    assert one.digest("acme/web", theirs) == theirs
    assert ended.code == 0, ended.err


@pytest.mark.packer
def test_what_is_recorded_is_what_the_registries_have_and_then_nothing_is_left_to_do(
    fleet: Checkout, one: Kept, mirror: Kept
) -> None:
    ended = fleet.reconciler("reconcile")

    assert ended.code == 0, ended.err
    fleet.git("pull", "--quiet", "origin", "main")
    web, app = fleet.lockfile("web")["builds"][0], fleet.lockfile("app")["builds"][0]
    for kept in (one, mirror):
        assert kept.digest("acme/web", f"web-{web['id']}") == digest_of(fleet, "web")
        marks = kept.marks("acme/web", digest_of(fleet, "web"))
        assert (marks["reconciler:key"], marks["reconciler:phase"]) == (web["key"], "stable")
    assert one.digest("acme/app", f"app-{app['id']}") == one.digest("acme/app", "latest") == digest_of(fleet, "app")
    assert web["source"]["oci"]["id"] == one.digest("theirs/base", "1")
    assert app["source"]["artifacts"] == fleet.recorded("web")
    for build in (web, app):
        assert build["smoke_test"]["status"] == "passed"
        assert "findings" not in build["smoke_test"]
    assert containers.docker("ps", "--all", "--quiet") == "", "no container is left"
    before = fleet.head()
    assert fleet.reconciler("reconcile").code == 0
    assert fleet.git("rev-parse", "origin/main") == before
    assert fleet.reconciler("plan", "--detailed-exitcode").code == 0
    said = " ".join(fleet.reconciler("verify", "app", "stable", "--online").out.split())
    assert "carries this build's key" in said
    assert f"on web {web['id']}, which is itself verified" in said
    assert web["id"] in fleet.reconciler("history", "web").out


def test_an_archive_that_post_processors_leave_is_what_is_pushed(fleet: Checkout, one: Kept) -> None:
    # Given a build whose archive comes to hold another image than the one that it committed
    other = containers.base()
    containers.docker("save", "--output", str(fleet.path / "desired/web/other.tar"), other)
    template = (fleet.path / "desired/web/web.pkr.hcl").read_text().rstrip().removesuffix("}")
    after = """
  post-processors {
    post-processor "docker-save" {
      path = "web.tar"
    }
    post-processor "shell-local" {
      inline = ["cp other.tar web.tar"]
    }
    post-processor "artifice" {
      files = ["web.tar"]
    }
  }
}
"""
    fleet.write("desired/web/web.pkr.hcl", template + after)
    declaration = (fleet.path / "desired/web/image.yaml").read_text()
    fleet.write("desired/web/image.yaml", f"{declaration}smoke_test: {{boot: false}}\n")
    fleet.publish("Save it")

    ended = fleet.reconciler("reconcile", "web")

    assert ended.code == 0, ended.out + ended.err
    fleet.git("pull", "--quiet", "origin", "main")
    pushed = one.manifest("acme/web", digest_of(fleet, "web"))
    assert pushed["config"]["digest"] == other


def test_a_base_that_moved_is_taken_when_it_is_asked_for_and_what_stands_on_it_is_built_anew(
    fleet: Checkout, one: Kept
) -> None:
    assert fleet.reconciler("reconcile").code == 0
    moved = one.publish(containers.base(), "theirs/base:1")

    assert fleet.reconciler("plan", "--detailed-exitcode").code == 0, "what is pinned stays"
    refreshed = fleet.reconciler("reconcile", "--refresh")

    assert refreshed.code == 0, refreshed.err
    fleet.git("pull", "--quiet", "origin", "main")
    newest = fleet.lockfile("web")["builds"][0]
    assert newest["source"]["oci"]["id"] == moved
    assert [reason["code"] for reason in fleet.lockfile("app")["builds"][0]["reasons"]] == ["parent-rebuilt"]


@pytest.mark.packer
def test_what_a_pull_request_built_is_what_its_merge_promotes(fleet: Checkout, one: Kept) -> None:
    assert fleet.reconciler("reconcile").code == 0
    fleet.git("pull", "--quiet", "origin", "main")
    fleet.git("switch", "--quiet", "--create", "newer")
    fleet.write("desired/web/content.txt", "version 2\n")
    fleet.publish("Update the web server")

    preview = fleet.reconciler("reconcile", "--preview", "--pull-request", "7")
    built = one.builds("acme/web")
    fleet.merge("newer")
    merged = fleet.reconciler("reconcile")

    assert (preview.code, merged.code) == (0, 0), preview.err + merged.err
    fleet.git("pull", "--quiet", "origin", "main")
    newest = fleet.lockfile("web")["builds"][0]
    assert newest["phase"] == "stable"
    assert one.builds("acme/web") == built, "nothing was built a second time"
    assert f"web-{newest['id']}" in built


def test_an_image_that_somebody_pushed_is_adopted_by_its_digest_and_copied(
    fleet: Checkout, one: Kept, mirror: Kept
) -> None:
    digest = one.publish(containers.imported({"golden": b"7"}), "acme/web:golden")

    refused = fleet.reconciler("adopt", "web", f"{one.host}/acme/web:golden")
    ended = fleet.reconciler("adopt", "web", f"{one.host}/acme/web@{digest}")
    copied = fleet.reconciler("reconcile", "web")

    assert "is no container image" in refused.err
    assert (ended.code, copied.code) == (0, 0), ended.err + copied.err
    fleet.git("pull", "--quiet", "origin", "main")
    assert fleet.recorded("web") == {f"{kept.host}/acme/web": digest for kept in (one, mirror)}
    assert (one.digest("acme/web", "golden"), one.marks("acme/web", digest)["reconciler:phase"]) == (digest, "stable")
    assert fleet.reconciler("plan", "web", "--detailed-exitcode").code == 0


def test_an_image_that_somebody_deleted_is_copied_back_from_where_it_is(fleet: Checkout, one: Kept) -> None:
    assert fleet.reconciler("reconcile", "web").code == 0
    fleet.git("pull", "--quiet", "origin", "main")
    before = fleet.recorded("web")
    one.delete("acme/web", digest_of(fleet, "web"))

    planned = fleet.reconciler("plan", "web")
    mended = fleet.reconciler("reconcile", "web")

    assert "missing" in planned.out, planned.out
    assert mended.code == 0, mended.err
    fleet.git("pull", "--quiet", "origin", "main")
    assert fleet.recorded("web") == before
    assert one.digest("acme/web", digest_of(fleet, "web")) is not None


def test_a_registry_that_is_down_is_unknown_and_nothing_is_built_for_it(fleet: Checkout, one: Kept) -> None:
    assert fleet.reconciler("reconcile").code == 0
    built = one.builds("acme/web")
    one.end()

    planned, ended = fleet.reconciler("plan"), fleet.reconciler("reconcile")

    assert "could not be asked" in " ".join((planned.out + planned.err).split())
    assert ended.code == 3
    one.begin()
    assert fleet.reconciler("reconcile").code == 0
    assert one.builds("acme/web") == built


SUITE = """
def test_the_content_is_the_new_one(host):
    assert host.file("/content").content_string == "version 2\\n"


def test_it_is_asked_in_the_container(host):
    assert host.backend.get_connection_type() == "docker"
"""


def test_a_suite_that_fails_stops_the_channel_and_one_that_passes_moves_it(fleet: Checkout, one: Kept) -> None:
    assert fleet.reconciler("reconcile", "web").code == 0
    fleet.git("pull", "--quiet", "origin", "main")
    fleet.write("desired/web/smoke/test_content.py", SUITE)
    fleet.edit("desired/web/image.yaml", append="smoke_test: { suite: smoke/ }\n")
    fleet.write("desired/web/content.txt", "version 3\n")
    fleet.publish("Test the content")
    before = fleet.lockfile("web")["channels"]

    failed = fleet.reconciler("reconcile", "web")

    assert failed.code == 3
    assert "version 3" in failed.err
    fleet.git("pull", "--quiet", "origin", "main")
    assert fleet.lockfile("web")["channels"] == before
    fleet.write("desired/web/content.txt", "version 2\n")
    fleet.publish("Write what the test wants")

    passed = fleet.reconciler("reconcile", "web")

    assert passed.code == 0, passed.err
    fleet.git("pull", "--quiet", "origin", "main")
    newest = fleet.lockfile("web")["builds"][0]
    assert fleet.lockfile("web")["channels"]["stable"] == newest["id"]
    assert newest["smoke_test"]["tests"] > 2
    assert newest["inventory"]["os"] == "Debian 12"
    assert newest["inventory"]["kernel"] == "unknown", "that of this machine is nothing of the image"
    assert containers.docker("ps", "--all", "--quiet") == "", "no container is left"


@pytest.mark.packer
def test_what_is_stable_is_pulled_by_its_tag_and_the_tag_goes_with_its_line(
    fleet: Checkout, one: Kept, mirror: Kept
) -> None:
    fleet.edit("desired/web/image.yaml", append='publish: {tag: "{channel}"}\n')
    fleet.publish("Publish web")

    built = fleet.reconciler("reconcile", "web")

    assert built.code == 0, built.err
    fleet.git("pull", "--quiet", "origin", "main")
    for kept in (one, mirror):
        assert kept.digest("acme/web", "stable") == kept.digest("acme/web", "candidate") == digest_of(fleet, "web")
        assert f"{kept.host}/acme/web:stable" in built.out + built.err
    assert containers.docker("pull", "--quiet", f"{one.host}/acme/web:stable").endswith("/acme/web:stable")
    containers.docker("rmi", f"{one.host}/acme/web:stable")
    assert fleet.reconciler("plan", "web", "--detailed-exitcode").code == 0
    assert "publish: 4 of 4 tags are there" in fleet.reconciler("doctor").out
    verified = fleet.reconciler("verify", "web", "stable", "--online").out
    assert "acme/web:stable hold this build" in " ".join(verified.split())

    # When somebody pushes over it, then that is drift and put right
    one.publish(containers.imported({"payroll": b"1"}), "acme/web:stable")
    assert f"{one.host}/acme/web:stable" in " ".join(fleet.reconciler("plan", "web").out.split())
    assert fleet.reconciler("reconcile", "web").code == 0
    assert one.digest("acme/web", "stable") == digest_of(fleet, "web")

    # And without the line the tags are gone, and the image is not
    fleet.write(
        "desired/web/image.yaml", declared(f"{{oci: '{one.host}/theirs/base:1'}}", *sorted(fleet.recorded("web")))
    )
    fleet.publish("Publish web no more")
    assert fleet.reconciler("reconcile", "web").code == 0
    for kept in (one, mirror):
        assert {"stable", "candidate"}.isdisjoint(kept.tags("acme/web"))
        assert kept.digest("acme/web", digest_of(fleet, "web")) is not None


def test_what_a_killed_run_pushed_is_taken_up_by_the_next_and_not_built_again(fleet: Checkout, one: Kept) -> None:
    with fleet.begin("reconcile", "web") as run:
        assert run.stderr is not None
        assert any("smoke-testing" in line for line in run.stderr)
        run.kill()
    built = one.builds("acme/web")

    ended = fleet.reconciler("reconcile", "web")

    assert ended.code == 0, ended.err
    assert one.builds("acme/web") == built
    assert len(built) == 1
    fleet.git("pull", "--quiet", "origin", "main")
    assert f"web-{fleet.lockfile('web')['channels']['stable']}" in built
    for left in containers.docker("ps", "--all", "--quiet").split():
        containers.docker("rm", "--force", left)  # the next test looks whether any is left, and this is swept in hours
