"""This repository's own config: each job's commands, as they stand in the file, do what docs/circleci.md says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from reconciler.sandbox.handle import Sandbox
from tests.integration.circleci.conftest import DEBIAN, ROLE, SETUP
from tests.integration.circleci.orb import assert_circleci_takes
from tests.integration.circleci.pipeline import Pipeline, Step

if TYPE_CHECKING:
    from tests.integration.circleci.conftest import Images, NewImages, NewRunner

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / ".circleci" / "config.yml"
WITH_ROLE = {"AWS_ROLE_ARN": ROLE}


def steps(job: str, **arguments: str) -> list[Step]:
    return Pipeline.read(CONFIG).steps(job, **arguments)


def packer_was_run(images: Path) -> bool:
    return any((images / ".reconciler").glob("logs/*.log"))


@pytest.fixture
def counted(sandbox: Sandbox) -> Sandbox:
    sandbox.forget_calls()
    return sandbox


def services(sandbox: Sandbox) -> set[tuple[str, str]]:
    return {(service, action) for service, action, _ in sandbox.calls()}


def test_the_config_is_one_that_circleci_takes() -> None:
    assert_circleci_takes(CONFIG)


def test_nothing_in_it_skips_ci_or_exports_a_key() -> None:
    text = CONFIG.read_text().lower()

    assert not re.search(r"\[(skip ci|ci skip)\]", text)
    assert "aws_secret_access_key" not in text


def test_every_job_is_invoked_and_every_invoked_job_exists() -> None:
    pipeline = Pipeline.read(CONFIG)

    assert pipeline.config["jobs"].keys() <= pipeline.jobs().keys()
    assert all(pipeline.steps(job) for job in pipeline.jobs())


def test_only_the_default_branch_gets_the_role_that_builds_and_takes_turns() -> None:
    invoked = Pipeline.read(CONFIG).jobs()

    with_rights = invoked["reconciler/reconcile"] + invoked["reconciler/refresh"]
    for options in with_rights:
        assert options["filters"] == {"branches": {"only": "main"}}
        assert options["context"] == "reconciler-reconcile"
    groups = [options["serial-group"] for options in with_rights]
    assert len(set(groups)) == len(groups), "a push would take a waiting refresh's place"
    assert [options["filters"] for options in invoked["reconciler/preview"]] == [{"branches": {"ignore": "main"}}]
    assert all("serial-group" not in options for options in invoked["reconciler/preview"])


def test_the_test_job_runs_what_make_runs() -> None:
    # Not executed here: it would run this very test.
    commands = [step.command for step in steps("test") if step.command is not None]

    assert commands[-1] == ".ci/run"
    run = (ROOT / ".ci" / "run").read_text().splitlines()
    assert [line for line in run if line.startswith("make ")] == ["make check", "make test", "make test-all"]
    assert "set -euo pipefail" in run


def test_the_test_job_ends_early_on_a_push_that_holds_a_record(images: Images, machine: NewRunner) -> None:
    early = [step for step in steps("test") if step.command != ".ci/run"]
    assert not machine(images).run(early).halted
    images.write("state/web.lock.json", "{}\n")
    images.publish("web: build\n\nReconciler-Image: web")

    assert machine(images).run(early).halted


def test_a_merge_is_reconciled_with_a_token_and_no_key(images: Images, machine: NewRunner, counted: Sandbox) -> None:
    job = machine(images).run(steps("reconciler/reconcile"), environment=WITH_ROLE)

    assert not job.failed, job.output
    assert not job.halted
    assert [subject.split(" build ")[0] for subject in images.log()[:2]] == ["web:", "base:"]
    assert ("sts", "AssumeRoleWithWebIdentity") in services(counted)
    assert job.claims[0] == '{"aud": "9b0c1f6e-0000-4000-8000-000000000001"}'
    assert "token-" not in job.output, "a token is never printed"
    assert (job.home / "aws-token").stat().st_mode & 0o077 == 0
    assert (job.checkout / ".reconciler/plan.json").exists()
    assert 'tests="2" failures="0"' in (job.checkout / ".reconciler/junit/reconcile.xml").read_text()
    built_by = images.lockfile("base")["builds"][0]["ci"]
    assert built_by == {"provider": "circleci", "url": "https://circleci.com/gh/acme/images/42"}

    # Its own push starts the pipeline again: that ends before it signs in.
    again = machine(images).run(steps("reconciler/reconcile"), environment=WITH_ROLE)

    assert again.halted
    assert again.claims == ()

    # The schedule looks all the same, and finds nothing to do.
    head = images.log()
    refresh = machine(images).run(steps("reconciler/refresh"), environment=WITH_ROLE)

    assert not refresh.failed, refresh.output
    assert not refresh.halted
    assert "2 images in sync: nothing to do." in refresh.output
    assert images.log() == head


def test_a_record_that_took_a_waiting_changes_place_does_its_work(images: Images, machine: NewRunner) -> None:
    """A serial group drops the older pipelines that wait: the newest may hold a record alone, and a change below it."""
    images.write("desired/web/setup.sh", SETUP.replace("{name}", "web") + "echo changed\n")
    images.publish("web: change")
    images.write("state/other.txt", "a record\n")
    images.publish("base: build 20261122T101530Z-1a2b3c4 (new)\n\nReconciler-Image: base")

    job = machine(images).run(steps("reconciler/reconcile"), environment=WITH_ROLE)

    assert not job.halted
    assert not job.failed, job.output
    assert images.lockfile("web")["builds"]


def test_a_pull_request_gets_a_preview_and_its_merge_the_same_image(images: Images, machine: NewRunner) -> None:
    images.git("switch", "--quiet", "--create", "feature")
    images.write("desired/web/setup.sh", SETUP.replace("{name}", "web") + "echo better\n")
    images.publish("web: better", branch="feature")

    job = machine(images).run(steps("reconciler/preview"), branch="feature", environment=WITH_ROLE)

    assert not job.failed, job.output
    assert not job.halted
    assert images.log() == ["Declare base and web"], "a preview commits nothing"
    kinds = [tag.split("/")[2:4] for tag in images.tags()]
    assert kinds == [["image", "base"], ["image", "web"], ["sbom", "base"], ["sbom", "web"]]
    assert 'tests="2"' in (job.checkout / ".reconciler/junit/preview.xml").read_text()

    images.git("push", "--quiet", "origin", "feature:main")
    merged = machine(images).run(steps("reconciler/reconcile"), environment=WITH_ROLE)

    assert not merged.failed, merged.output
    assert not packer_was_run(merged.checkout)
    adopted = {images.lockfile(name)["builds"][0]["id"] for name in ("base", "web")}
    assert adopted == {tag.rpartition("/")[2] for tag in images.tags()}
    assert merged.output.count("smoke-testing") == 0, "they were tested on the pull request"


def test_an_invalid_image_turns_a_pull_request_red(images: Images, machine: NewRunner) -> None:
    images.git("switch", "--quiet", "--create", "feature")
    images.write("desired/web/image.yaml", "regoins: [us-east-1]\n")
    images.publish("web: mistype", branch="feature")

    job = machine(images).run(steps("reconciler/preview"), branch="feature", environment=WITH_ROLE)

    assert job.failed
    assert 'did you mean "regions"?' in job.output


def test_a_failing_build_turns_the_job_red_and_is_told_as_a_failed_test(
    new_images: NewImages, machine: NewRunner
) -> None:
    images = new_images(setup="echo about to fail\nexit 3\n")

    job = machine(images).run(steps("reconciler/reconcile"), environment=WITH_ROLE)

    assert job.failed
    told = (job.checkout / ".reconciler/junit/reconcile.xml").read_text()
    assert 'failures="1" errors="0" skipped="1"' in told
    assert "about to fail" in told


def test_a_failing_smoke_test_turns_the_job_red_and_its_assertion_is_told(images: Images, machine: NewRunner) -> None:
    suite = 'def test_lamp(host):\n    assert host.file("/etc/lamp").exists, "there is no lamp"\n'
    images.write("desired/base/smoke/test_lamp.py", suite)
    images.write("desired/base/image.yaml", f"{DEBIAN}smoke_test: {{ suite: smoke/ }}\n")
    images.publish("base: ask for a lamp")

    job = machine(images).run(steps("reconciler/reconcile"), environment=WITH_ROLE)

    assert job.failed
    told = (job.checkout / ".reconciler/junit/reconcile.xml").read_text()
    assert 'failures="1" errors="0" skipped="1"' in told
    assert "desired/base/smoke/test_lamp.py::test_lamp: there is no lamp" in told
    (kept,) = (job.checkout / ".reconciler/logs").glob("base-*.smoke.xml")
    assert "there is no lamp" in kept.read_text()
    assert "channels" not in images.lockfile("base")


def test_the_token_is_minted_anew_while_a_build_goes_on(images: Images, machine: NewRunner) -> None:
    job_with = {"long": {"steps": [{"reconciler/sign-in": {"every": "0.05"}}]}}
    sign_in = Pipeline({**Pipeline.read(CONFIG).config, "jobs": job_with}, {})
    wait = 'until [ "$(cat ~/aws-token)" = token-3 ]; do :; done; [ "$AWS_WEB_IDENTITY_TOKEN_FILE" = ~/aws-token ]'

    steps = [*sign_in.steps("long"), Step("checkout"), Step("run", f"timeout 60 bash -c '{wait}'")]
    job = machine(images).run(steps, environment=WITH_ROLE)

    assert not job.failed, job.output
