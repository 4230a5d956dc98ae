from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from reconciler.model.lockfile import Artifact, Build, CiRun, InventoryRecord, PackerVersions, Reason, Verdict
from reconciler.model.provenance import Origin
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.model.source import Pin
from reconciler.plan.proof.provenance import LATER, builder_id, record_digest, statement
from reconciler.registries.ec2.dialect import AMI, arn
from reconciler.state.provenance import subject_of

ORIGIN = Origin(fleet="acme", image="web", repository="acme/images", branch="main")
SETTLED = {
    "adopted", "id", "key", "components", "commit", "started", "seconds", "packer", "source", "smoke_test", "inventory",
    "ci",
}  # fmt: skip
BUILD = Build(
    id="20261122T101530Z-1a2b3c4",
    key="sha256:1a",
    components={"files": "sha256:f"},
    commit="9c0d1e2",
    started="2026-11-22T10:15:30Z",
    seconds=412,
    packer=PackerVersions(version="1.16.0", plugins={"amazon": "1.8.2"}, digests={"packer": "sha256:9ac"}),
    source=AMI.pin("us-east-1", "ami-0a", name="debian-12", owner="136693071363"),
    artifacts=(Artifact(kind="ami", builder="amazon-ebs.web", location="us-east-1", id="ami-0b"),),
    phase="stable",
    ci=CiRun(provider="circleci", url="https://circleci.com/gh/acme/images/12"),
)


stated = partial(statement, subject=subject_of)


def changed(**fields: Any) -> Build:
    return BUILD.model_copy(update=fields)


def test_every_field_of_a_record_is_settled_by_the_build_or_known_to_change_later() -> None:
    """A new field has to be put on one side: else a statement is broken by what happens after it."""
    assert set(Build.model_fields) == SETTLED | LATER
    assert not SETTLED & LATER


@pytest.mark.parametrize(
    "later",
    [
        {"phase": "rejected"},
        {"verdict": Verdict(status="passed", by="me", evidence="none")},
        {"recorded": "2026-11-22T11:00:00Z"},
        {"files": {"web.pkr.hcl": "100644 a"}},
        {"artifacts": ()},
        {"provenance": "provenance/web/x.intoto.json"},
        {"reasons": (Reason(code="forced"),)},
    ],
    ids=lambda later: next(iter(later)),
)
def test_what_happens_later_leaves_the_digest_as_it_was(later: dict[str, Any]) -> None:
    assert record_digest(changed(**later)) == record_digest(BUILD)


@pytest.mark.parametrize("field", ["commit", "key"])
def test_what_was_built_is_in_the_digest(field: str) -> None:
    assert record_digest(changed(**{field: "other"})) != record_digest(BUILD)


def test_the_digest_is_that_of_documented_bytes() -> None:
    """As docs/provenance.md has an auditor compute it, with jq and sha256sum."""
    build = Build(
        id="20261122T101530Z-1a2b3c4", key="k", components={"ü": "1"}, commit="c", artifacts=(), phase="stable"
    )

    # printf '{"commit":"c","components":{"ü":"1"},"id":"20261122T101530Z-1a2b3c4","key":"k"}' | sha256sum
    assert record_digest(build) == "sha256:e67cfaf08167bfa32d68140a07208ecee2dfe6552b6466a8eb32a06c75e14503"


def test_the_subjects_are_the_amis_and_the_record() -> None:
    subjects = stated(BUILD, ORIGIN).subject

    assert subjects[0].digest == {"arn": "arn:aws:ec2:us-east-1::image/ami-0b"}
    assert subjects[1].name == "web/20261122T101530Z-1a2b3c4"
    assert subjects[1].digest == {"sha256": record_digest(BUILD).removeprefix("sha256:")}


def test_the_dependencies_are_the_commit_the_source_and_the_tools() -> None:
    found = stated(BUILD, ORIGIN).predicate.build_definition.resolved_dependencies

    assert [one.name for one in found] == ["acme/images", "debian-12", "packer", "packer-plugin-amazon"]
    assert found[0].digest == {"gitCommit": "9c0d1e2"}
    assert found[1].digest == {"arn": "arn:aws:ec2:us-east-1::image/ami-0a"}
    assert (found[2].uri, found[2].digest) == ("pkg:generic/packer@1.16.0", {"sha256": "9ac"})
    assert (found[3].uri, found[3].digest) == ("pkg:generic/packer-plugin-amazon@1.8.2", None)


def test_a_parent_is_named_by_its_build_and_key() -> None:
    parent = Pin(image="base", build="20261101T000000Z-0000000", key="sha256:ba5e", artifacts={"us-east-1": "ami-0c"})

    found = stated(changed(source=parent), ORIGIN).predicate.build_definition.resolved_dependencies[1]

    assert found.name == "base/20261101T000000Z-0000000"
    assert found.digest == {"reconcilerKey": "ba5e"}
    assert found.annotations == {"artifacts": ["arn:aws:ec2:us-east-1::image/ami-0c"]}


def test_the_run_says_when_and_who() -> None:
    run = stated(BUILD, ORIGIN).predicate.run_details

    assert run.builder.id == "https://circleci.com/gh/acme/images"
    assert run.metadata.invocation_id == "https://circleci.com/gh/acme/images/12"
    assert (run.metadata.started_on, run.metadata.finished_on) == ("2026-11-22T10:15:30Z", "2026-11-22T10:22:22Z")


@pytest.mark.parametrize("unknown", ["started", "seconds"])
def test_when_it_ended_is_not_said_where_half_of_that_is_not_known(unknown: str) -> None:
    metadata = stated(changed(**{unknown: None}), ORIGIN).predicate.run_details.metadata
    assert metadata.finished_on is None
    assert metadata.started_on == (None if unknown == "started" else "2026-11-22T10:15:30Z")


def test_byproducts_are_the_sbom_and_the_smoke_test() -> None:
    inventory = InventoryRecord(os="Debian", kernel="6.1", sbom="sbom/web/x.cdx.json", digest="sha256:1")
    build = changed(inventory=inventory, smoke_test=SmokeTestResult(status="passed", tests=7))

    made = stated(build, ORIGIN, sbom_digest="sha256:2")

    sbom, test = made.byproduct("sbom"), made.byproduct("smoke-test")
    assert sbom is not None
    assert sbom.digest == {"sha256": "2"}
    assert test is not None
    assert test.content == "eyJzdGF0dXMiOiJwYXNzZWQiLCJ0ZXN0cyI6N30="  # {"status":"passed","tests":7}


def test_what_is_not_known_is_left_out() -> None:
    bare = Build(id=BUILD.id, key="k", components={}, commit="c", artifacts=(), phase="stable")

    made = stated(bare, Origin(fleet="acme", image="web", repository=None, branch="main")).predicate

    assert [one.name for one in made.build_definition.resolved_dependencies] == ["acme"]
    assert made.run_details.builder.id == "urn:reconciler:local"
    assert made.run_details.byproducts == ()


@pytest.mark.parametrize(
    ("url", "builder"),
    [
        ("https://circleci.com/gh/acme/images/12", "https://circleci.com/gh/acme/images"),
        (
            "https://app.circleci.com/pipelines/github/acme/images/7/workflows/0af1/jobs/12",
            "https://app.circleci.com/pipelines/github/acme/images",
        ),
        ("https://circleci.com/circleci/5f1d/9a2c/12?from=mail#top", "https://circleci.com/circleci/5f1d/9a2c"),
        ("https://ci.example.org/run/abc", "https://ci.example.org/run/abc"),
    ],
)
def test_the_builder_is_the_project_and_its_job_and_not_one_run(url: str, builder: str) -> None:
    assert builder_id(changed(ci=CiRun(provider="circleci", url=url))) == builder
    assert builder_id(changed(ci=CiRun(provider="circleci", url=url, job="re build"))) == f"{builder}#re%20build"


@pytest.mark.parametrize(
    ("region", "partition"), [("eu-west-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")]
)
def test_an_arn_names_the_partition_of_its_region(region: str, partition: str) -> None:
    assert arn(region, "ami-0") == f"arn:{partition}:ec2:{region}::image/ami-0"


def test_a_parent_is_named_by_its_build_and_by_its_key_if_that_is_known() -> None:
    def named(key: str | None) -> list[Any]:
        pin = Pin(image="base", build="20261122T091530Z-0a1b2c3", key=key, artifacts={"us-east-1": "ami-0def"})
        made = stated(changed(source=pin), ORIGIN, sbom_digest=None).model_dump(mode="json", by_alias=True)
        resolved = made["predicate"]["buildDefinition"]["resolvedDependencies"]
        return [one["digest"] for one in resolved if one["name"] == f"base/{pin.build}"]

    assert named("sha256:1f") == [{"reconcilerKey": "1f"}]
    assert named(None) == [{"reconcilerKey": ""}]
