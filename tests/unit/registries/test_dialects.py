"""What every kind says of itself: how its artifacts are named, and what a source of it may have meant earlier."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reconciler.model.errors import UserError
from reconciler.model.source import Pin, SourceRequest
from reconciler.registries import KINDS, dialect_of

DIGEST, LATER = (f"sha256:{digit * 64}" for digit in "ab")
UUID, ANOTHER = "50054f38-0d3c-4b1e-9c55-f4ab1c7b6f0a", "50054f38-0d3c-4b1e-9c55-f4ab1c7b6f0b"
FOLDER = "vsphere://vcenter.example.org/DC0/vm/base images"
DEBIAN = "docker.io/library/debian"
IDS = {"ami": "ami-0c1d2e3f4a5b6c7d8", "oci": DIGEST, "disk": f"{DIGEST}.2", "vsphere": UUID}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if dialect_of(kind).kind.observed])
def test_an_artifact_is_named_by_its_id_alone_or_with_its_location(kind: str) -> None:
    known = dialect_of(kind).kind
    place = known.example_location
    assert kind in IDS, f"add an id of {known.artifact} to IDS in this file (docs/kinds.md, Adding a kind)"

    assert known.artifact_named(IDS[kind]) == (None, IDS[kind])
    assert known.artifact_named(f"{place}{known.between}{IDS[kind]}") == (place, IDS[kind])
    assert known.artifact_named("web-7") is None
    assert known.artifact_named(f"{known.between}{IDS[kind]}") is None


def test_of_what_nobody_can_look_for_no_word_is_a_name() -> None:
    assert dialect_of("other").kind.artifact_named("") is None


def test_a_folder_of_a_vcenter_may_have_spaces_in_its_name() -> None:
    assert dialect_of("vsphere").kind.artifact_named(f"{FOLDER}:{UUID}") == (FOLDER, UUID)


def answering(*pins: Pin) -> Callable[[SourceRequest], Pin]:
    """A registry that has these alone."""

    def resolve(request: SourceRequest) -> Pin:
        _, asked = request.upstream or ("", "")
        for pin in pins:
            if pin.upstream is not None and pin.upstream.id in str(asked):
                return pin
        raise UserError("it is not there")

    return resolve


def test_a_container_image_may_have_meant_what_its_publisher_has_in_the_same_repository() -> None:
    oci = dialect_of("oci")
    now, earlier = (oci.kind.pin(DEBIAN, digest, name="debian:12") for digest in (LATER, DIGEST))
    elsewhere = oci.kind.pin("docker.io/others/debian", DIGEST)

    assert oci.meant_earlier("debian:12", DIGEST, now=now, resolve=answering(earlier)) == earlier
    assert oci.meant_earlier("debian:12", DIGEST, now=now, resolve=answering(elsewhere)) is None
    assert oci.meant_earlier(f"debian@{LATER}", DIGEST, now=now, resolve=answering(earlier)) is None
    assert oci.meant_earlier("debian:12", "latest", now=now, resolve=answering(earlier)) is None
    with pytest.raises(UserError):
        oci.meant_earlier("debian:12", DIGEST, now=now, resolve=answering())


def test_a_template_may_have_meant_itself_before_it_was_changed() -> None:
    vsphere = dialect_of("vsphere")
    now = vsphere.kind.pin(FOLDER, f"{UUID}@2", name="debian-12", created="2026-01-01T00:00:00Z")
    earlier = vsphere.kind.pin(FOLDER, f"{UUID}@1", name="debian-12", created="2026-01-01T00:00:00Z")

    assert vsphere.meant_earlier("debian-12", f"{UUID}@1", now=now, resolve=answering()) == earlier
    assert vsphere.meant_earlier("debian-12", f"{ANOTHER}@1", now=now, resolve=answering()) is None


def test_what_a_path_held_earlier_nobody_tells() -> None:
    disk = dialect_of("disk")
    now = disk.kind.pin("/srv/debian-12.qcow2", LATER)

    found = disk.meant_earlier({"url": "/srv/debian-12.qcow2"}, DIGEST, now=now, resolve=answering(now))

    assert found is None
