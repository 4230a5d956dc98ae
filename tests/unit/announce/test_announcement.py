from __future__ import annotations

import hashlib
import json
from datetime import date

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no type information

from reconciler.cli.schema import schemas
from reconciler.model.announcement import (
    Announcement,
    Circumstances,
    HoldAnnounced,
    RecordedImage,
    StepAnnounced,
    announcement,
    as_said,
)
from reconciler.model.lockfile import AnnouncedEvent, Artifact, Build, CiRun, Leaving, Revoked, Verdict
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
OF = RecordedImage("acme/images", "web", "main", None, "state/web.lock.json")
LATER, LATEST = "2026-11-23T10:15:30Z", "2026-11-24T10:15:30Z"
GOING = Leaving(build=WHOLE, deprecated=LATER, disabled=LATEST)
NEXT = StepAnnounced(step="retire", due="2026-12-08T10:15:30Z", undo="2026-12-08T10:15:30Z")


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


@pytest.mark.parametrize(
    ("event", "about", "key"),
    [
        ("held", Circumstances(hold=HoldAnnounced(until=date(2026, 12, 15), declared="image.yaml:2:1")), "hold"),
        ("held", Circumstances(hold=HoldAnnounced(until=None, declared="image.yaml:2:1")), "hold"),
        ("deprecated", Circumstances(left=GOING, next=NEXT), "next"),
        ("disabled", Circumstances(left=GOING, next=NEXT), "next"),
    ],
)
def test_what_only_some_events_have_is_as_the_schema_says_and_no_key_of_the_others(
    event: AnnouncedEvent, about: Circumstances, key: str
) -> None:
    told = announcement(event, WHOLE, of=OF, previous=None, about=about)

    Draft202012Validator(json.loads(schemas()["announcement-1.json"])).validate(json.loads(told.body()))
    assert Announcement.model_validate_json(told.body()) == told
    assert set(told.plain()) - set(announced().plain()) == {key}


def test_the_body_of_what_was_told_before_does_not_change_from_one_release_to_the_next() -> None:
    revoked = WHOLE.model_copy(
        update={"revoked": Revoked(at="2026-11-23T00:00:00Z", reason="leaked", phase="stable"), "held": LATER}
    )
    said = [announced(BARE), announced(WHOLE, event="stable"), announced(revoked, event="revoked")]

    assert [hashlib.sha256(one.body()).hexdigest()[:12] for one in said] == [
        "8e6f32c81a1f", "8d6ff7e4c751", "def8f53cd3d5",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("event", "first", "then"),
    [
        ("held", {"held": LATER}, {"held": LATEST}),
        ("released", {"released": LATER}, {"released": LATEST}),
        ("unrevoked", {"unrevoked": LATER}, {"unrevoked": LATEST}),
    ],
)
def test_each_turn_of_an_event_has_an_id_of_its_own(
    event: AnnouncedEvent, first: dict[str, str], then: dict[str, str]
) -> None:
    told = [announced(BARE.model_copy(update=one), event=event) for one in (first, first, then)]

    assert told[0].id == told[1].id != told[2].id


def test_each_time_that_a_build_goes_away_has_an_id_of_its_own() -> None:
    again = GOING.model_copy(update={"deprecated": LATEST})
    told = [
        announcement("deprecated", BARE, of=OF, previous=None, about=Circumstances(left=left, next=NEXT))
        for left in (GOING, GOING, again)
    ]

    assert told[0].id == told[1].id != told[2].id


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ("held", "is held"),
        ("released", "is held no more"),
        ("unrevoked", "is revoked no more"),
        ("failed", "has failed"),
    ],
)
def test_an_event_reads_as_a_sentence_behind_its_build(event: str, said: str) -> None:
    assert as_said(event) == said


def test_every_key_is_there_known_or_not() -> None:
    said = json.loads(announced().body())

    assert said["schema"] == 1
    assert {"repository", "source", "previous", "verdict", "ci"} <= {
        key for key, value in said.items() if value is None
    }
