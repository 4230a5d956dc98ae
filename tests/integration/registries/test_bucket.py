"""What goes wrong with disks in a bucket: changed behind our back, written by two, broken off, refused, full."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any, Literal

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.response import StreamingBody

from reconciler.model.declaration import Limits, Settings
from reconciler.model.errors import ReconcilerError, Terminal, Transient, UserError
from reconciler.model.lockfile import Artifact
from reconciler.plan.tags import own
from reconciler.ports.dialect import Made
from reconciler.ports.registry import Opening, Remains
from reconciler.registries.disk import bucket, looking, objects
from reconciler.registries.disk.objects import split
from reconciler.registries.disk.registry import DiskRegistry
from reconciler.registries.router import Registries
from tests.integration.loop.effects import Effects, Killed
from tests.integration.registries.test_gc_crashes import through

FLEET = "acme/images"
BIRTH = own(fleet=FLEET, image="web", build="20261122T101530Z-1a2b3c4")
HOME, BUCKET = "s3://acme-disks/images", "acme-disks"
MIB = 1 << 20


@pytest.fixture
def s3(moto: object, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A bucket that keeps every version; one try is enough here, and the cache is the test's own."""
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    client = boto3.client("s3", region_name="us-east-1")
    client.create_bucket(Bucket=BUCKET)
    client.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    return client


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least that S3 takes as a part."""
    monkeypatch.setattr(objects, "_PART", 5 * MIB)


@pytest.fixture
def registry(s3: Any) -> DiskRegistry:
    return DiskRegistry(Opening(FLEET, Settings()))


def stored(registry: DiskRegistry, folder: Path, *, content: bytes = b"web", name: str = "web-1") -> Artifact:
    left = folder / "left"
    left.write_bytes(content)
    made = Made("qemu.web", "transcend.qemu", str(left), (str(left),))
    (artifact,) = registry.store(HOME, [made], name=name, tags=BIRTH)
    return artifact


def key(artifact: Artifact) -> str:
    return f"images/{artifact.id}"


def versions(s3: Any, of: str) -> int:
    """How often something was put under a key."""
    return sum(one["Key"] == of for one in s3.list_object_versions(Bucket=BUCKET).get("Versions", ()))


def answer(code: str, status: int) -> AWSResponse:
    class Raw(BytesIO):
        def stream(self, **_: object) -> Iterator[bytes]:
            yield self.read()

    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>no</Message></Error>".encode()
    return AWSResponse("https://s3.example.org/", status, HTTPHeaders(), Raw(body))


def answering(registry: DiskRegistry, operation: str, what: Callable[[], AWSResponse | None]) -> None:
    """Have S3 answer an operation so; None lets it through."""
    client: Any = registry.of(HOME)._objects.client  # type: ignore[attr-defined]  # only a Shelf by its declared type
    client.meta.events.register(f"before-send.s3.{operation}", lambda **_: what())


def test_the_same_disk_is_put_once_however_often_and_by_however_many_it_is_stored(
    registry: DiskRegistry, s3: Any, tmp_path: Path
) -> None:
    web = stored(registry, tmp_path)
    others = [tmp_path / str(number) for number in range(4)]
    for one in others:
        one.mkdir()

    with ThreadPoolExecutor() as pool:
        again = list(pool.map(lambda folder: stored(registry, folder), others))
        new = list(pool.map(lambda folder: stored(registry, folder, content=b"new", name="web-2"), others))

    assert {one.id for one in again} == {web.id}
    assert {one.id for one in new} == {f"sha256:{sha256(b'new').hexdigest()}"}
    assert versions(s3, key(web)) == versions(s3, key(new[0])) == 1
    another = stored(registry, tmp_path, name="web-3")
    assert another.id == f"{web.id}.2"


@pytest.mark.parametrize("where", ["bucket", "folder"])
def test_two_fleets_that_build_the_same_in_the_same_second_have_a_disk_each(
    where: str, registry: DiskRegistry, tmp_path: Path
) -> None:
    left = tmp_path / "left"
    left.write_bytes(b"web")
    made = Made("qemu.web", "transcend.qemu", str(left), (str(left),))
    location = HOME if where == "bucket" else str(tmp_path / "disks")
    marks = {
        fleet: own(fleet=fleet, image="web", build="20261122T101530Z-1a2b3c4") for fleet in (FLEET, "other/images")
    }

    kept = {
        fleet: DiskRegistry(Opening(fleet, Settings())).store(location, [made], name="web-1", tags=tags)[0].id
        for fleet, tags in marks.items()
    }

    assert kept["other/images"] == f"{kept[FLEET]}.2"
    (again,) = registry.store(location, [made], name="web-1", tags=marks[FLEET])
    assert again.id == kept[FLEET]


@pytest.mark.usefixtures("parts")
def test_a_large_disk_is_put_in_parts_and_is_whole(registry: DiskRegistry, s3: Any, tmp_path: Path) -> None:
    content = os.urandom(12 * MIB)

    web = stored(registry, tmp_path, content=content)

    assert web.id == f"sha256:{sha256(content).hexdigest()}"
    assert s3.get_object(Bucket=BUCKET, Key=key(web))["Body"].read() == content
    assert Path(registry.given(HOME, f"{HOME}/{web.id}")).read_bytes() == content
    assert stored(registry, tmp_path, content=content) == web


@pytest.mark.parametrize(
    ("operation", "answered", "error"),
    [
        ("UploadPart", ("AccessDenied", 403), Terminal),
        ("UploadPart", ("XMinioStorageFull", 507), Transient),
        ("CompleteMultipartUpload", ("InternalError", 500), Transient),
    ],
)
@pytest.mark.usefixtures("parts")
def test_what_is_broken_off_leaves_nothing(
    registry: DiskRegistry, tmp_path: Path, operation: str, answered: tuple[str, int], error: type[ReconcilerError]
) -> None:
    s3 = boto3.client("s3", region_name="us-east-1")
    answering(registry, operation, lambda: answer(*answered))

    with pytest.raises(error, match=f"storing left in {HOME}"):
        stored(registry, tmp_path, content=b"x" * (6 * MIB))

    assert "Contents" not in s3.list_objects_v2(Bucket=BUCKET)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=BUCKET)


@pytest.mark.parametrize(
    ("answered", "error", "says"),
    [
        (("AccessDenied", 403), Terminal, "not allowed"),
        (("QuotaExceeded", 403), Transient, "there is no room left"),
        (("SlowDown", 503), Transient, "SlowDown"),
    ],
)
def test_a_bucket_that_takes_nothing_says_why_and_what_is_there_is_still_seen(
    registry: DiskRegistry, tmp_path: Path, answered: tuple[str, int], error: type[ReconcilerError], says: str
) -> None:
    web = stored(registry, tmp_path)
    answering(registry, "PutObject", lambda: answer(*answered))

    for write in (lambda: registry.tag(web, {"a": "b"}), lambda: stored(registry, tmp_path, content=b"new")):
        with pytest.raises(error, match=says):
            write()

    assert [one.id for one in registry.observe([HOME]).artifacts] == [web.id]


def test_a_bucket_that_may_not_be_read_is_unreadable_and_not_empty(registry: DiskRegistry, tmp_path: Path) -> None:
    web = stored(registry, tmp_path)
    for operation in ("ListObjectsV2", "GetObject"):
        answering(registry, operation, lambda: answer("AccessDenied", 403))

    assert "not allowed" in registry.observe([HOME]).unreadable[HOME]
    with pytest.raises(Terminal):
        registry.find(HOME, web.id)


def test_what_somebody_put_in_its_place_is_neither_used_nor_copied_and_is_mended_by_what_was_meant(
    registry: DiskRegistry, s3: Any, tmp_path: Path
) -> None:
    web = stored(registry, tmp_path)
    s3.put_object(Bucket=BUCKET, Key=key(web), Body=b"wab")

    (seen,) = registry.observe([HOME]).artifacts
    assert seen.state == "unusable"
    with pytest.raises(Terminal, match="is not what it is called"):
        registry.copy(web, to=str(tmp_path / "copies"), name="web-1", tags=BIRTH, token="t")
    with pytest.raises(Terminal, match="is not what it is called"):
        registry.given(HOME, f"{HOME}/{web.id}")

    assert stored(registry, tmp_path) == web
    assert [one.state for one in registry.observe([HOME]).artifacts] == ["available"]


def test_what_somebody_put_under_its_name_before_is_not_taken_for_it(
    registry: DiskRegistry, s3: Any, tmp_path: Path
) -> None:
    digest = f"sha256:{sha256(b'web').hexdigest()}"
    s3.put_object(Bucket=BUCKET, Key=f"images/{digest}", Body=b"theirs")

    with pytest.raises(Terminal, match="is not what it is called"):
        stored(registry, tmp_path)

    assert versions(s3, f"images/{digest}") == 1


def test_a_copy_takes_the_place_of_what_only_its_marks_say_it_is(
    registry: DiskRegistry, s3: Any, tmp_path: Path
) -> None:
    # Given a disk of somebody's, of the same size, with marks of his that say that it was looked at
    web = stored(registry, tmp_path)
    put = s3.put_object(Bucket=BUCKET, Key=key(web), Body=b"wab")
    marks = json.loads(s3.get_object(Bucket=BUCKET, Key=f"{key(web)}.json")["Body"].read())
    marks["seen"] = [3, put["ETag"]]
    s3.put_object(Bucket=BUCKET, Key=f"{key(web)}.json", Body=json.dumps(marks).encode())

    assert stored(registry, tmp_path) == web
    assert s3.get_object(Bucket=BUCKET, Key=key(web))["Body"].read() == b"web"


def test_what_is_of_another_size_is_not_read(registry: DiskRegistry, s3: Any, tmp_path: Path) -> None:
    # Given terabytes in a disk's place, which cost whoever may write there one call
    web = stored(registry, tmp_path)
    s3.put_object(Bucket=BUCKET, Key=key(web), Body=b"larger")
    read: list[str] = []
    client: Any = registry.of(HOME)._objects.client  # type: ignore[attr-defined]  # only a Shelf by its declared type
    client.meta.events.register("provide-client-params.s3.GetObject", lambda params, **_: read.append(params["Key"]))

    (seen,) = registry.observe([HOME]).artifacts

    assert (seen.state, read) == ("unusable", [f"{key(web)}.json"])


def test_no_more_is_fetched_than_s3_says_and_than_was_marked(
    registry: DiskRegistry, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an object in a disk's place that is larger than what its marks, or a record, say
    web = stored(registry, tmp_path)
    s3.put_object(Bucket=BUCKET, Key=key(web), Body=b"larger")
    monkeypatch.setattr(StreamingBody, "iter_chunks", lambda *_: pytest.fail("it is read"))

    # When it is to be booted, built on or copied, not a byte of it is read
    for size in (None, 3):
        with pytest.raises(Terminal, match="is not what it is called"):
            registry.of(HOME).path(HOME, web.id, size=size)
    with pytest.raises(Terminal, match="is not what it is called"):
        registry.copy(web, to=str(tmp_path / "copies"), name="web-1", tags=BIRTH, token="")


def test_s3_sends_no_byte_more_than_it_says(
    registry: DiskRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given an answer without end
    web = stored(registry, tmp_path)
    sent: list[int] = []

    def more() -> bytes:
        sent.append(1)
        return b"we"

    monkeypatch.setattr(StreamingBody, "iter_chunks", lambda *_: (more() for _ in range(1000)))

    with pytest.raises(Terminal, match="is not what it is called"):
        registry.of(HOME).path(HOME, web.id)

    assert len(sent) == 2
    assert not list((tmp_path / "cache").rglob(".draft-*"))


def test_a_disk_of_more_than_is_allowed_is_neither_fetched_nor_stored(
    s3: Any, registry: DiskRegistry, tmp_path: Path
) -> None:
    del s3
    web = stored(registry, tmp_path)
    small = DiskRegistry(Opening(FLEET, Settings(limits=Limits().model_copy(update={"max_file_gib": 0}))))

    with pytest.raises(UserError, match=r"is of 3 bytes, and no disk of more than 0 GiB is taken") as refused:
        small.of(HOME).path(HOME, web.id)
    assert "max_file_gib" in refused.value.hint[0]
    with pytest.raises(UserError, match="left is of 3 bytes"):
        stored(small, tmp_path, content=b"two")
    assert [one.state for one in small.observe([HOME]).artifacts] == ["available"]


def reads_of(registry: DiskRegistry) -> list[str]:
    """The keys that are read from now on."""
    read: list[str] = []
    client: Any = registry.of(HOME)._objects.client  # type: ignore[attr-defined]  # only a Shelf by its declared type
    client.meta.events.register("provide-client-params.s3.GetObject", lambda params, **_: read.append(params["Key"]))
    return read


@pytest.mark.parametrize(("fleet", "states"), [("somebody else's", []), (FLEET, ["unusable"])])
def test_what_was_put_in_the_place_of_a_disk_is_read_once_and_of_another_fleet_never(
    registry: DiskRegistry, s3: Any, tmp_path: Path, fleet: str, states: list[str]
) -> None:
    # Given another object, as large, and marks of a fleet that say that it was looked at before
    web = stored(registry, tmp_path)
    s3.put_object(Bucket=BUCKET, Key=key(web), Body=b"wab")
    marks = json.loads(s3.get_object(Bucket=BUCKET, Key=f"{key(web)}.json")["Body"].read())
    marks["tags"]["reconciler:fleet"] = fleet
    s3.put_object(Bucket=BUCKET, Key=f"{key(web)}.json", Body=json.dumps(marks).encode())
    read = reads_of(registry)

    for _ in range(3):
        assert [one.state for one in registry.observe([HOME]).artifacts] == states

    assert read.count(key(web)) == len(states)


def test_marks_in_a_bucket_are_bounded_one_by_one_and_in_their_sum(
    registry: DiskRegistry, s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = stored(registry, tmp_path)
    with pytest.raises(Terminal, match="of 65,536 at most"):
        registry.tag(web, {"x": "y" * 70_000})
    monkeypatch.setattr(looking, "_MOST_OF_ALL", 100)
    assert "are of more than 100 bytes" in registry.observe([HOME]).unreadable[HOME]
    monkeypatch.setattr(looking, "_MOST_MARKED", 0)
    assert "has marks of more than 0 disks" in registry.observe([HOME]).unreadable[HOME]


def test_marks_in_a_bucket_of_any_size_are_none(registry: DiskRegistry, s3: Any, tmp_path: Path) -> None:
    web = stored(registry, tmp_path)
    marks = s3.get_object(Bucket=BUCKET, Key=f"{key(web)}.json")["Body"].read()
    s3.put_object(Bucket=BUCKET, Key=f"{key(web)}.json", Body=marks + b" " * 70_000)
    assert "holds no marks of a disk" in registry.observe([HOME]).unreadable[HOME]


def test_what_a_killed_run_put_is_marked_by_the_next(registry: DiskRegistry, s3: Any, tmp_path: Path) -> None:
    answering(registry, "PutObject", iter_of(None, answer("InternalError", 500)))
    with pytest.raises(Transient):
        stored(registry, tmp_path)

    web = stored(registry, tmp_path)

    assert versions(s3, key(web)) == 1
    assert [dict(one.tags) for one in registry.observe([HOME]).artifacts] == [BIRTH]


def iter_of(*answers: AWSResponse | None) -> Callable[[], AWSResponse | None]:
    """These answers, one a call, and then none."""
    rest = iter(answers)
    return lambda: next(rest, None)


def test_marks_that_another_run_writes_at_once_are_not_lost(registry: DiskRegistry, s3: Any, tmp_path: Path) -> None:
    web = stored(registry, tmp_path)
    other = DiskRegistry(Opening(FLEET, Settings()))
    turns = iter(["1"])

    def between() -> None:
        for turn in turns:
            other.tag(web, {"theirs": turn})

    answering(registry, "PutObject", between)
    registry.tag(web, {"ours": "1"})

    (seen,) = registry.observe([HOME]).artifacts
    assert dict(seen.tags) == {**BIRTH, "theirs": "1", "ours": "1"}


def test_what_are_no_marks_of_ours_make_the_whole_unreadable(registry: DiskRegistry, s3: Any, tmp_path: Path) -> None:
    web = stored(registry, tmp_path)
    s3.put_object(Bucket=BUCKET, Key=f"{key(web)}.json", Body=b"{}")

    assert "holds no marks of a disk" in registry.observe([HOME]).unreadable[HOME]


ALIAS = "s3://acme-point-0aa1-s3alias/images"


@pytest.fixture
def aliased(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have an access point of the bucket, under its alias, as S3 has it: moto makes aliases, and resolves none."""
    del s3
    for module in (bucket, objects):
        monkeypatch.setattr(
            module, "split", lambda location: (BUCKET, "images") if location == ALIAS else split(location)
        )


@pytest.mark.usefixtures("aliased")
def test_a_disk_is_one_by_an_alias_of_its_bucket_and_not_by_a_copy(
    registry: DiskRegistry, s3: Any, tmp_path: Path
) -> None:
    kept = stored(registry, tmp_path)
    before = s3.get_object(Bucket=BUCKET, Key=f"{key(kept)}.json")["Body"].read()
    s3.create_bucket(Bucket="acme-mirror")
    for name in (key(kept), f"{key(kept)}.json"):  # as replication would, marks and all
        s3.copy_object(Bucket="acme-mirror", Key=name, CopySource={"Bucket": BUCKET, "Key": name})

    assert registry.is_same(HOME, ALIAS, artifact_id=kept.id)
    assert registry.is_same(ALIAS, HOME, artifact_id=kept.id)
    assert not registry.is_same(HOME, "s3://acme-mirror/images", artifact_id=kept.id)
    assert not registry.is_same("s3://acme-mirror/images", HOME, artifact_id=kept.id)
    assert not registry.is_same(HOME, "s3://acme-disks/others", artifact_id=kept.id)
    assert not registry.is_same(HOME, ALIAS, artifact_id=f"sha256:{'0' * 64}")
    assert not registry.is_same(HOME, str(tmp_path), artifact_id=kept.id)

    assert s3.get_object(Bucket=BUCKET, Key=f"{key(kept)}.json")["Body"].read() == before


@pytest.mark.usefixtures("aliased")
def test_marks_that_are_written_meanwhile_are_taken_for_no_other_place(
    registry: DiskRegistry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    kept = stored(registry, tmp_path)
    kept_there: Any = registry.of(HOME)._objects  # type: ignore[attr-defined]  # only a Shelf by its declared type
    look = kept_there.marks

    def marks(location: str, artifact_id: str) -> Any:
        if location == ALIAS:
            monkeypatch.setattr(kept_there, "marks", look)
            registry.tag(kept, {"reconciler:phase": "stable"})
        return look(location, artifact_id)

    monkeypatch.setattr(kept_there, "marks", marks)

    with pytest.raises(Transient, match="by somebody else"):
        registry.is_same(HOME, ALIAS, artifact_id=kept.id)
    assert registry.is_same(HOME, ALIAS, artifact_id=kept.id)


@pytest.mark.usefixtures("aliased")
def test_what_a_declared_alias_has_is_not_deleted_and_goes_with_the_last_name(
    registry: DiskRegistry, s3: Any, tmp_path: Path
) -> None:
    kept = stored(registry, tmp_path)
    fleet = Registries({HOME: "disk", ALIAS: "disk"}, lambda _: registry, declared={"web": (ALIAS,)})

    assert ALIAS in fleet.retire(kept, image="web").stays
    assert s3.head_object(Bucket=BUCKET, Key=key(kept))["ContentLength"] == len(b"web")

    assert fleet.retire(kept.model_copy(update={"location": ALIAS}), image="web") == Remains()
    assert registry.find(HOME, kept.id) is None


@pytest.mark.parametrize(
    "content",
    [
        b"a" * 5000 + bytes(9 * MIB) + b"b" * 5000 + bytes(3 * MIB), bytes(5 * MIB), bytes(MIB) + b"end", b"short",
    ],
)  # fmt: skip
def test_zeros_that_are_fetched_take_no_room(registry: DiskRegistry, tmp_path: Path, content: bytes) -> None:
    kept = stored(registry, tmp_path, content=content)

    fetched = registry.of(HOME).path(HOME, kept.id)
    with registry.of(HOME).taken(kept) as (file, _):
        room = [(one.read_bytes() == content, one.stat().st_blocks * 512) for one in (fetched, file)]
        registry.copy(kept, to=str(tmp_path / "folder"), name="web-1", tags=BIRTH, token="t")

    most = sum(len(one) + 2 * 64 * 1024 for one in content.split(bytes(MIB)) if one)
    assert all(same and taken <= most for same, taken in room)
    assert (tmp_path / "folder" / kept.id).read_bytes() == content
    assert (tmp_path / "folder" / kept.id).stat().st_blocks * 512 <= most


def test_a_disk_goes_from_a_folder_to_a_bucket_and_back(registry: DiskRegistry, tmp_path: Path) -> None:
    tags: Mapping[str, str] = {**BIRTH, "CostCenter": "42"}
    left = tmp_path / "left"
    left.write_bytes(b"web")
    made = Made("qemu.web", "transcend.qemu", str(left), (str(left),))
    (web,) = registry.store(str(tmp_path / "one"), [made], name="web-1", tags=tags)

    there = registry.copy(web, to=HOME, name="web-1", tags=BIRTH, token="t")
    found = registry.find(HOME, there)
    assert found is not None
    back = registry.copy(found, to=str(tmp_path / "two"), name="web-1", tags=BIRTH, token="t")

    assert there == back == web.id
    assert Path(tmp_path / "two" / back).read_bytes() == b"web"
    assert dict(found.tags) == tags


@pytest.mark.parametrize("location", ["s3://acme-disks", "s3:///images", "s3://acme-disks/"])
def test_what_is_no_prefix_is_refused(registry: DiskRegistry, location: str) -> None:
    with pytest.raises(Terminal, match="is no prefix of a bucket"):
        registry.find(location, f"sha256:{'a' * 64}")


@pytest.mark.forms(quick=2)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [0, 1])
def test_who_dies_while_a_disk_goes_leaves_it_to_the_next_and_every_version_stays(
    registry: DiskRegistry, s3: Any, tmp_path: Path, number: int, when: Literal["before", "after"]
) -> None:
    other = stored(registry, tmp_path, content=b"other", name="web-2")
    gone = stored(registry, tmp_path)
    kept = {one: versions(s3, one) for one in (key(gone), f"{key(gone)}.json")}
    assert 0 not in kept.values()
    with pytest.raises(Killed), through(Effects(die_at=number, when=when)):
        registry.retire(gone, image="web")
    again = Effects()
    with through(again):
        assert DiskRegistry(Opening(FLEET, Settings())).retire(gone, image="web") == Remains()
    left = [one["Key"] for one in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    assert left == [key(other), f"{key(other)}.json"]
    assert {one: versions(s3, one) for one in kept} == kept, "what is there to bring it back"
    assert again.done == ([] if (number, when) == (1, "after") else ["DeleteObject"] * 2)
