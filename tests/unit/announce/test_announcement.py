from __future__ import annotations

import json

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no type information

from reconciler.cli.schema import schemas
from reconciler.model.announcement import AnnouncedEvent, Announcement, RecordedImage, announcement
from reconciler.model.lockfile import Artifact, Build, CiRun, Verdict
from reconciler.registries.ec2.dialect import AMI

BARE = Build(
    id="20261122T101530Z-1a2b3c4",
    key="sha256:1a2b3c4",
    components={},
    commit="9c0d1e2",
    artifacts=(),
    phase="candidate",
)
WHOLE = BARE.model_copy(
    update={
        "artifacts": (Artifact(kind="ami", builder="amazon-ebs.web", location="us-east-1", id="ami-0"),),
        "source": AMI.pin("us-east-1", "ami-1", name="debian"),
        "verdict": Verdict(status="passed", by="validation", evidence="https://ci.example.org/1"),
        "ci": CiRun(provider="circleci", url="https://ci.example.org/2"),
    }
)


def announced(
    build: Build = BARE, *, event: AnnouncedEvent = "candidate", image: str = "web", branch: str = "main"
) -> Announcement:
    return announcement(
        event,
        build,
        of=RecordedImage("acme/images", image, branch, None, "state/web.lock.json"),
        previous=None,
    )


def test_the_same_event_of_the_same_build_has_the_same_id_whoever_tells_it() -> None:
    assert announced().id == announced(WHOLE, branch="other").id


@pytest.mark.parametrize(
    "other",
    [
        announced(event="stable"),
        announced(image="api"),
        announced(BARE.model_copy(update={"id": "20261122T101530Z-1a2b3c5"})),
    ],
    ids=["event", "image", "build"],
)
def test_another_event_image_or_build_has_another_id(other: Announcement) -> None:
    assert other.id != announced().id


def test_the_id_does_not_change_from_one_release_to_the_next() -> None:
    assert announced().id == "sha256:91694fb558fcb5ba6e0664b2f1927c7a3ddaefdb69e857e7aa1e92deaf4e13a3"


@pytest.mark.parametrize("build", [BARE, WHOLE], ids=["bare", "whole"])
def test_the_body_is_as_the_schema_says_and_reads_back(build: Build) -> None:
    told = announced(build)

    Draft202012Validator(json.loads(schemas()["announcement-1.json"])).validate(json.loads(told.body()))
    assert Announcement.model_validate_json(told.body()) == told


def test_every_key_is_there_known_or_not() -> None:
    said = json.loads(announced().body())

    assert said["schema"] == 1
    assert {"repository", "source", "previous", "verdict", "ci"} <= {
        key for key, value in said.items() if value is None
    }
