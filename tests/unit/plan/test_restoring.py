"""What of a build that was removed is brought back: no more of its care than is declared, or recorded today."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from reconciler.model.care import Care, Grants
from reconciler.model.lockfile import Artifact, Build
from reconciler.model.observation import Seen
from reconciler.model.restoration import Binned
from reconciler.plan.restoring import as_enabled, as_it_was, is_meant, said_by, with_confirmed_care

Make = Callable[..., Any]
US, EU = "us-east-1", "eu-west-1"
ID = "20261122T101530Z-1a2b3c4"
ONE, OTHER = Grants.of(["111122223333"]), Grants.of(["444455556666"])


def artifact(location: str, artifact_id: str, **more: Any) -> Artifact:
    return Artifact(kind="ami", builder="amazon-ebs.web", location=location, id=artifact_id, name=f"web-{ID}", **more)


def build(*artifacts: Artifact) -> Build:
    return Build(
        id=ID, key="sha256:1", components={}, commit="9c0d1e2", artifacts=artifacts, phase="superseded",
        files={"a": "b"},
    )  # fmt: skip


class TestCare:
    GIVEN = Care(shared=ONE | OTHER, withheld=ONE | OTHER, protected=True, deprecated="2026-12-01T00:00:00Z")

    def test_what_an_old_commit_alone_says_is_held_against_what_is_declared(self, an_image: Make) -> None:
        image = an_image(share_with={"accounts": list(ONE.accounts)})

        whole = with_confirmed_care(build(artifact(US, "ami-1", care=self.GIVEN)), image, known=())

        (one,) = whole.build.artifacts
        assert one.care == Care(shared=ONE, withheld=ONE, deprecated="2026-12-01T00:00:00Z")
        assert whole.not_given_back == OTHER

    def test_what_is_recorded_today_stays_and_so_does_what_has_no_care(self, an_image: Make) -> None:
        given = build(artifact(US, "ami-1", care=self.GIVEN), artifact(EU, "ami-2"))

        whole = with_confirmed_care(given, an_image(), known={(US, "ami-1")})

        assert (whole.build, whole.not_given_back) == (given, Grants())


def test_what_came_back_disabled_is_recorded_as_what_is_to_be_usable_again() -> None:
    def recorded(state: Any, care: Care | None) -> Grants | None:
        seen = Seen("ami", US, "ami-1", f"web-{ID}", state, "", {})
        return as_enabled(artifact(US, "ami-1", care=care), seen).cared_for.withheld

    assert recorded("disabled", None) == Grants()
    assert recorded("disabled", Care(withheld=ONE)) == ONE
    assert recorded("available", None) is None


def test_records_after_a_restore_in_part_are_put_together_where_it_is_declared(an_image: Make) -> None:
    newest, older = build(artifact(US, "ami-2")), build(artifact(US, "ami-1"), artifact(EU, "ami-3"))

    found = as_it_was([newest, older], an_image(regions=(US, EU)))

    assert found is not None
    assert [one.id for one in found.artifacts] == ["ami-3", "ami-2"], "in order of location"
    assert found.files is None
    assert as_it_was([newest], an_image(regions=(EU,))) is None
    assert as_it_was([], an_image()) is None


@pytest.mark.parametrize(
    ("location", "artifact_id", "name", "is_ours"),
    [
        (US, "ami-9", f"web-{ID}", True),
        (US, "ami-9", f"www-{ID}", True),
        (US, "ami-9", f"db-{ID}", False),
        (US, "ami-1", "golden", True),
        (EU, "ami-1", "golden", False),
        (EU, "ami-9", "as tagged", True),
    ],
    ids=["its name", "its former name", "another's name", "the tag's place", "another place", "the tag's name"],
)
def test_what_is_kept_is_the_builds_by_our_name_or_its_tag(
    location: str, artifact_id: str, name: str, *, is_ours: bool
) -> None:
    tagged = [artifact(US, "ami-1").model_copy(update={"name": "as tagged"})]
    kept = Binned("ami", location, artifact_id, name, None)
    assert is_meant(kept, build(), names=("web", "www"), tagged=tagged) is is_ours


def test_a_name_says_its_image_and_build_if_some_image_gives_it() -> None:
    def said(name: str) -> tuple[str, str] | None:
        return said_by(Binned("ami", US, "ami-1", name, None), ["web-db", "web"])

    assert said(f"web-{ID}") == ("web", ID)
    assert said(f"web-db-{ID}") == ("web-db", ID)
    assert said("web-golden") is None
    assert said(f"api-{ID}") is None
    assert said(ID) is None
