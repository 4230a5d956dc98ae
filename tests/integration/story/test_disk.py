"""Disks, from a folder of files to stable: built by the real Packer, kept under their digest, adopted after a merge."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from reconciler.plan.tags import own
from tests.command import Command
from tests.integration.story.conftest import Checkout, _clone

pytestmark = pytest.mark.packer(once=True)

IMAGES = ("app", "base", "elsewhere")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def fleet(packer_on_path: str | None, command: Command, tmp_path: Path, store: Path) -> Checkout:
    """Three images; the first two have a copy each, and `app` is built on `base`."""
    assert packer_on_path, "mark the test `packer`"
    store.mkdir()
    checkout = _clone(tmp_path, "disks", {}, command)
    for image in IMAGES:
        places = [store / "one", store / "two"][: 1 if image == "elsewhere" else 2]
        source = "source: {image: base}\n" if image == "app" else ""
        checkout.write(f"desired/{image}/image.yaml", f"locations: [{', '.join(map(str, places))}]\n{source}")
    checkout.publish("Say where they are kept")
    checkout.git("fetch", "--quiet", "origin")
    return checkout


def marks(store: Path, folder: str) -> dict[str, dict[str, str]]:
    """The marks of what is in a folder, by image; each file is what its name says."""
    found = {}
    for file in (store / folder).glob("sha256:*.json"):
        written = json.loads(file.read_text())
        disk = file.with_suffix("")
        if disk.exists() and hashlib.sha256(disk.read_bytes()).hexdigest() in disk.name:
            found[written["tags"]["reconciler:image"]] = written["tags"]
    return found


def test_disks_are_built_and_marked_and_copied_and_then_nothing_is_left_to_do(fleet: Checkout, store: Path) -> None:
    ended = fleet.reconciler("reconcile")

    assert ended.code == 0, ended.err
    assert set(marks(store, "one")) == set(IMAGES)
    assert set(marks(store, "two")) == {"app", "base"}
    assert {one["reconciler:phase"] for one in marks(store, "one").values()} == {"stable"}
    fleet.git("pull", "--quiet", "origin", "main")
    build = fleet.lockfile("app")["builds"][0]
    assert build["source"]["artifacts"] == fleet.recorded("base")
    assert build["smoke_test"] == {
        "status": "skipped",
        "why": "file.app has no communicator",
    }
    content = Path(store / "one", fleet.recorded("app")[str(store / "one")]).read_text()
    assert content == "app on version 1\n"
    assert [(one["format"], one["size"]) for one in build["artifacts"]] == [("raw", len(content))] * 2
    before = fleet.head()
    again = fleet.reconciler("reconcile")
    assert (again.code, fleet.git("rev-parse", "origin/main")) == (0, before)
    assert fleet.reconciler("plan", "--detailed-exitcode").code == 0
    verified = fleet.reconciler("verify", "base", "stable", "--online")
    assert verified.code == 0, verified.out
    assert "carry this build's key" in " ".join(verified.out.split())


AFTER = """\
source "file" "x" {{
  content = "as built"
  target  = "big.out"
}}
build {{
  sources = ["source.file.x"]
{after}
}}
"""
ARTIFICE = """\
  post-processors {
    post-processor "shell-local" { inline = ["printf converted > final.raw"] }
    post-processor "artifice" { files = ["final.raw"] }
  }
"""


@pytest.mark.long
def test_what_post_processors_make_of_a_disk_is_what_is_kept(fleet: Checkout, store: Path) -> None:
    packed = '  post-processor "compress" { output = "out.gz" }\n'
    summed = '  post-processor "checksum" {}\n  post-processor "manifest" {}\n'
    for image, after in {"saved": ARTIFICE, "packed": packed, "summed": summed, "two": ARTIFICE + packed}.items():
        fleet.write(f"desired/{image}/image.yaml", f"locations: [{store}/{image}]\n")
        fleet.write(f"desired/{image}/{image}.pkr.hcl", AFTER.format(after=after))
    fleet.publish("Make something of them")

    ended = fleet.reconciler("reconcile", "saved", "packed", "summed", "two")

    assert ended.code == 3
    assert "a disk is one file, and Packer left 2: final.raw, out.gz" in " ".join((ended.out + ended.err).split())
    fleet.git("pull", "--quiet", "origin", "main")
    kept = {
        image: Path(*next(iter(fleet.recorded(image).items()))).read_bytes() for image in ("saved", "packed", "summed")
    }
    assert kept["saved"] == b"converted"
    assert gzip.decompress(kept["packed"]) == b"as built"
    assert kept["summed"] == b"as built"


@pytest.mark.long
def test_a_folder_under_another_name_is_refused_and_takes_nothing_away(fleet: Checkout, store: Path) -> None:
    # Given a disk in a folder, to which another path leads as well
    assert fleet.reconciler("reconcile", "base").code == 0
    (store / "linked").symlink_to(store / "one")
    there = marks(store, "one")

    # When both are declared, then it is told that they are one
    fleet.write("desired/base/image.yaml", f"locations: [{store}/one, {store}/linked, {store}/two]\n")
    fleet.publish("Name it twice")
    ended = fleet.reconciler("reconcile", "base", "--prune")
    assert ended.code != 0
    assert "are one place under two names" in " ".join((ended.out + ended.err).split())
    assert "desired/base/image.yaml" in ended.out + ended.err

    # And when it is declared by the other name alone, then its disk stays, and is recorded by that name alone
    fleet.write("desired/base/image.yaml", f"locations: [{store}/linked, {store}/two]\n")
    fleet.publish("Name it otherwise")
    ended = fleet.reconciler("reconcile", "base", "--prune")
    assert ended.code == 0, ended.err
    assert marks(store, "one") == there
    assert "is another name of the same place, and has it still" in " ".join(ended.err.split())
    fleet.git("pull", "--quiet", "origin", "main")
    assert set(fleet.recorded("base")) == {str(store / "linked"), str(store / "two")}
    assert fleet.reconciler("plan", "base", "--detailed-exitcode").code == 0


@pytest.mark.long
def test_what_somebody_gives_the_marks_of_an_old_preview_is_not_deleted(fleet: Checkout, store: Path) -> None:
    # Given another team's disk in our folder, beside which somebody writes the marks of a preview whose branch is gone
    assert fleet.reconciler("reconcile", "base").code == 0
    theirs, old = b"payroll\n", "20261001T000000Z-1a2b3c4"
    digest = f"sha256:{hashlib.sha256(theirs).hexdigest()}"
    disk = store / "one" / digest
    disk.write_bytes(theirs)
    tags = own(fleet=fleet.name, image="base", build=old, key="sha256:0", phase="preliminary", branch="long-gone")
    written = {
        "id": digest, "name": f"base-{old}", "created": "2026-10-01T00:00:00Z",
        "seen": [disk.stat().st_size, disk.stat().st_mtime_ns], "tags": tags,
    }  # fmt: skip
    disk.with_name(f"{digest}.json").write_text(json.dumps(written))

    # When main's job runs, then it stays
    ended = fleet.reconciler("reconcile", "base")

    assert disk.read_bytes() == theirs
    assert ended.code == 0, ended.err


@pytest.mark.long
def test_what_is_another_by_now_is_neither_built_on_nor_proven(fleet: Checkout, store: Path) -> None:
    # Given another file in the place of `base`, which nobody sees by its size and its time
    assert fleet.reconciler("reconcile").code == 0
    fleet.git("pull", "--quiet", "origin", "main")
    before = fleet.lockfile("app")["channels"]
    for folder, disk in fleet.recorded("base").items():
        kept = Path(folder, disk)
        was = kept.stat()
        kept.write_bytes(b"tampere 1\n")
        os.utime(kept, ns=(was.st_atime_ns, was.st_mtime_ns))

    # When what is built on it changes, and somebody asks for proof
    fleet.edit("desired/app/app.pkr.hcl", append="# newer\n")
    fleet.publish("Change app")
    ended = fleet.reconciler("reconcile", "app")
    verified = fleet.reconciler("verify", "base", "stable", "--online")

    # Then nothing comes of it
    assert ended.code != 0
    assert "is not what it is called" in " ".join((ended.out + ended.err).split())
    fleet.git("pull", "--quiet", "origin", "main")
    assert fleet.lockfile("app")["channels"] == before
    assert verified.code != 0
    assert "is not what it is called" in " ".join(verified.out.split())


@pytest.mark.long
def test_a_disk_that_somebody_laid_there_is_adopted_as_it_is_and_copied(fleet: Checkout, store: Path) -> None:
    # Given a disk that another program made, under its digest
    (store / "one").mkdir()
    made = b"golden\n"
    disk = f"sha256:{hashlib.sha256(made).hexdigest()}"
    (store / "one" / disk).write_bytes(made)

    # When somebody adopts it as `base`
    refused = fleet.reconciler("adopt", "base", "golden.qcow2")
    ended = fleet.reconciler("adopt", "base", f"{store}/one/{disk}")
    lost = fleet.reconciler("adopt", "base", f"{store}/one/{disk[:-4]}beef")

    # Then it is what is recorded, and what it lacks is copied; by another name there is none
    assert ended.code == 0, ended.err
    assert "'golden.qcow2' is no disk" in refused.err
    assert "name it sha256:…, or /srv/images/sha256:…" in refused.err
    assert "check the id and the folder" in " ".join(lost.err.split())
    fleet.git("pull", "--quiet", "origin", "main")
    assert fleet.recorded("base") == {str(store / "one"): disk}
    assert fleet.reconciler("reconcile", "base").code == 0
    fleet.git("pull", "--quiet", "origin", "main")
    assert fleet.recorded("base") == {str(store / each): disk for each in ("one", "two")}
    assert fleet.reconciler("plan", "base", "--detailed-exitcode").code == 0


@pytest.mark.long
def test_a_disk_that_somebody_cut_short_is_copied_from_where_it_is_whole(fleet: Checkout, store: Path) -> None:
    assert fleet.reconciler("reconcile").code == 0
    fleet.git("pull", "--quiet", "origin", "main")
    cut = Path(store / "one", fleet.recorded("base")[str(store / "one")])
    cut.write_bytes(cut.read_bytes()[:3])

    planned = fleet.reconciler("plan", "base")
    mended = fleet.reconciler("reconcile", "base")

    assert "region-missing" in planned.out
    assert mended.code == 0, mended.err
    assert set(marks(store, "one")) == set(IMAGES)
    assert fleet.reconciler("plan", "--detailed-exitcode").code == 0


def test_a_folder_that_is_not_mounted_is_unknown_and_nothing_is_built_for_it(fleet: Checkout, store: Path) -> None:
    assert fleet.reconciler("reconcile").code == 0
    fleet.git("pull", "--quiet", "origin", "main")
    shutil.move(store / "one", store / "unmounted")
    (store / "one").mkdir()

    planned, ended = fleet.reconciler("plan"), fleet.reconciler("reconcile")

    assert "is it mounted?" in planned.out + planned.err
    assert ended.code == 3
    assert list((store / "one").iterdir()) == []
    shutil.rmtree(store / "one")
    shutil.move(store / "unmounted", store / "one")
    assert fleet.reconciler("reconcile").code == 0


@pytest.mark.long
def test_a_source_that_can_not_be_stops_its_own_image_alone(fleet: Checkout, store: Path) -> None:
    said = f"locations: [{store}/three]\nsource: {{disk: {{url: /srv/{'x' * 300}}}}}\n"
    fleet.write("desired/elsewhere/image.yaml", said)
    fleet.publish("Build on what can not be")

    ended = fleet.reconciler("reconcile")

    assert ended.code == 3
    told = " ".join((ended.out + ended.err).split())
    assert "desired/elsewhere/image.yaml: source /srv/xxx" in told
    assert "File name too long" in told
    assert set(marks(store, "one")) == {"app", "base"}


@pytest.mark.long
def test_the_first_disk_of_an_image_does_not_take_a_bare_folder_for_an_empty_one(fleet: Checkout, store: Path) -> None:
    # Given a folder that was unmounted after one image was built there, and another that is to be
    assert fleet.reconciler("reconcile", "base").code == 0
    shutil.move(store / "one", store / "unmounted")
    (store / "one").mkdir()

    # When a job builds it alone, then nothing is known of the folder, and nothing is written there
    ended = fleet.reconciler("reconcile", "elsewhere")
    assert ended.code == 3
    assert "is it mounted?" in ended.out + ended.err
    assert list((store / "one").iterdir()) == []
    assert fleet.reconciler("plan", "base", "--json").json["images"][0]["sync"] == "unknown"

    # And once somebody says that it is to begin empty, it is built
    (store / "one" / ".reconciler").touch()
    assert fleet.reconciler("reconcile", "elsewhere").code == 0
    assert set(marks(store, "one")) == {"elsewhere"}


def test_what_a_pull_request_built_is_what_its_merge_promotes(fleet: Checkout, store: Path) -> None:
    assert fleet.reconciler("reconcile").code == 0
    fleet.git("pull", "--quiet", "origin", "main")
    fleet.git("switch", "--quiet", "--create", "newer")
    fleet.write("desired/base/content.txt", "version 2\n")
    fleet.publish("Update the base")

    preview = fleet.reconciler("reconcile", "--preview", "--pull-request", "7")
    built = {one.name for one in (store / "one").glob("sha256:*.json")}
    fleet.merge("newer")
    merged = fleet.reconciler("reconcile")

    assert (preview.code, merged.code) == (0, 0), preview.err + merged.err
    fleet.git("pull", "--quiet", "origin", "main")
    newest = fleet.lockfile("base")["builds"][0]
    assert newest["phase"] == "stable"
    assert f"{newest['artifacts'][0]['id']}.json" in built
    assert {one.name for one in (store / "one").glob("sha256:*.json")} == built, "nothing was built a second time"
    copy = json.loads(Path(store / "two", f"{fleet.recorded('app')[str(store / 'two')]}.json").read_text())
    assert copy["tags"]["reconciler:phase"] == "stable"


@pytest.mark.long
def test_two_builds_that_come_out_the_same_are_two_artifacts(fleet: Checkout, store: Path) -> None:
    assert fleet.reconciler("reconcile").code == 0
    fleet.git("pull", "--quiet", "origin", "main")
    first = fleet.recorded("elsewhere")

    again = fleet.reconciler("reconcile", "--force", "elsewhere")

    assert again.code == 0, again.err
    fleet.git("pull", "--quiet", "origin", "main")
    second = fleet.recorded("elsewhere")
    assert {place: f"{one}.2" for place, one in first.items()} == second
    assert fleet.reconciler("plan", "--detailed-exitcode").code == 0


@pytest.mark.long
def test_another_fleets_disks_are_not_seen_and_its_folder_takes_ours_as_well(
    fleet: Checkout, store: Path, tmp_path: Path
) -> None:
    assert fleet.reconciler("reconcile").code == 0
    (tmp_path / "theirs").mkdir()
    theirs = _clone(tmp_path / "theirs", "disks", {}, fleet.command)
    for image in IMAGES:
        theirs.write(f"desired/{image}/image.yaml", f"locations: [{store / 'one'}]\n")
    theirs.publish("Keep them where others keep theirs")
    theirs.git("rm", "-rq", "desired/app")
    theirs.publish("Without the child")

    ended = theirs.reconciler("reconcile")

    assert ended.code == 0, ended.err
    assert fleet.reconciler("plan", "--detailed-exitcode").code == 0
    assert theirs.reconciler("plan", "--detailed-exitcode").code == 0


@pytest.fixture
def s3() -> Iterator[str]:
    """A server of S3's protocol on loopback."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.mark.long
def test_a_bucket_is_a_location_as_a_folder_is_and_a_child_is_built_on_what_is_there(
    packer_on_path: str | None, s3: str, command: Command, tmp_path: Path, store: Path
) -> None:
    # Given a fleet whose first location is a bucket
    assert packer_on_path
    keys = {"AWS_ACCESS_KEY_ID": "AKIAFAKE", "AWS_SECRET_ACCESS_KEY": "fake", "AWS_EC2_METADATA_DISABLED": "true"}
    own = boto3.client("s3", endpoint_url=s3, region_name="us-east-1", aws_access_key_id="AKIAFAKE",
                       aws_secret_access_key="fake")  # fmt: skip
    own.create_bucket(Bucket="acme-disks")
    fleet = _clone(tmp_path, "disks", {**keys, "AWS_ENDPOINT_URL": s3, "NO_PROXY": "127.0.0.1"}, command)
    bucket = "s3://acme-disks/images"
    for image in IMAGES:
        source = "source: {image: base}\n" if image == "app" else ""
        fleet.write(f"desired/{image}/image.yaml", f"locations: [{bucket}, {store}/{image}]\n{source}")
    fleet.publish("Keep them in a bucket")
    store.mkdir()

    # When they are built, and all that is there is looked at
    ended = fleet.reconciler("reconcile")
    verified = fleet.reconciler("verify", "app", "stable", "--online")

    # Then each is an object under its digest, the child is of its parent, and nothing is left to do
    assert ended.code == 0, ended.err
    fleet.git("pull", "--quiet", "origin", "main")
    disk = fleet.recorded("app")[bucket]
    kept, copied = fleet.lockfile("app")["builds"][0]["artifacts"]
    assert (kept["format"], kept["size"]) == (copied["format"], copied["size"]) == ("raw", len("app on version 1\n"))
    assert own.get_object(Bucket="acme-disks", Key=f"images/{disk}")["Body"].read() == b"app on version 1\n"
    # The bucket may hold the same disk of an earlier run of this test; each folder numbers its own.
    copied = fleet.recorded("app")[f"{store}/app"]
    assert (store / "app" / copied).read_bytes() == b"app on version 1\n"
    assert verified.code == 0, verified.out
    assert fleet.reconciler("plan", "--detailed-exitcode").code == 0
    own.put_object(Bucket="acme-disks", Key=f"images/{disk}", Body=b"another")
    assert "region-missing" in fleet.reconciler("plan", "app").out
    assert fleet.reconciler("reconcile", "app").code == 0
    assert own.get_object(Bucket="acme-disks", Key=f"images/{disk}")["Body"].read() == b"app on version 1\n"
