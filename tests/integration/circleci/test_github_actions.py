"""The workflow of examples/github-actions/, run: from a pull request to state/, and what a fork gets."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.sandbox.handle import Sandbox
from tests.integration.circleci.conftest import ROLE
from tests.integration.circleci.github_workflow import Ended, Machine, Tokens, minting

if TYPE_CHECKING:
    from tests.integration.circleci.conftest import Images

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]

WORKFLOW = Path(__file__).parents[3] / "examples" / "github-actions" / "images.yml"
OURS = {"id": 1, "full_name": "acme/images"}
FORK = {"id": 2, "full_name": "mallory/images"}
PUSH = {"ref": "refs/heads/main", "repository": OURS}
IS_PULL_REQUEST = "github.event_name == 'pull_request'"
IS_MAIN = "github.event_name != 'pull_request' && github.ref == 'refs/heads/main'"
IS_OURS = "github.event.pull_request.head.repo.id == github.event.pull_request.base.repo.id"
HEAD = "github.event.pull_request.head.sha"
REFRESH = "github.event_name == 'schedule' && '--refresh' || ''"


@dataclass(frozen=True)
class Site:
    """Where machines are made, what mints tokens for them, and where they get the reconciler."""

    folder: Path
    tokens: Tokens
    source: str


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with minting() as tokens:
        yield Site(tmp_path, tokens, _source(tmp_path))


def _source(tmp_path: Path) -> str:
    """A repository in the place of the reconciler's, whose .ci/venv takes the one that is being tested."""
    folder = tmp_path / "reconciler"
    (folder / ".ci").mkdir(parents=True)
    venv = folder / ".ci" / "venv"
    program = Path(sys.executable).parent / "reconciler"
    venv.write_text(f'#!/bin/sh\nmkdir -p "$1/bin" && ln -s {program} "$1/bin/reconciler"\n', encoding="utf-8")
    venv.chmod(0o755)
    git = ["git", "-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-C", str(folder)]
    for arguments in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "--message", "One"]):
        subprocess.run([*git, *arguments], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    return f"file://{folder}@{commit}"


@pytest.fixture
def feature(images: Images) -> str:
    """The commit of a branch `feature` of the repository's own."""
    images.git("switch", "--quiet", "--create", "feature")
    images.write("desired/web/setup.sh", 'echo "ours $BUILD_ID" | sudo tee -a /etc/image-release\n')
    return images.publish("web: ours", branch="feature")


def machine(images: Images, site: Site, folder: str, values: dict[str, Any]) -> Machine:
    config = Path(images.environment["GIT_CONFIG_GLOBAL"])
    # GitHub's host is the bare repository here, and the key opens nothing.
    config.write_text(
        config.read_text(encoding="utf-8") + f'[url "{images.origin}"]\ninsteadOf = git@github.com:acme/images.git\n',
        encoding="utf-8",
    )
    service = {"ACTIONS_ID_TOKEN_REQUEST_URL": site.tokens.url, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "the job's own"}
    given = {
        "github.token": "ghs", "vars.AWS_ROLE_PREVIEW": ROLE, "vars.AWS_ROLE_RECONCILE": ROLE,
        "secrets.RECONCILER_DEPLOY_KEY": "a key", REFRESH: "", **values,
    }  # fmt: skip
    environment = {**images.environment, **service, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    return Machine(site.folder / folder, images.origin, environment, given)


def preview(ready: Machine, site: Site, commit: str, *, repository: dict[str, Any]) -> Ended:
    told = {
        "GITHUB_EVENT_NAME": "pull_request", "GITHUB_REF": "refs/pull/7/merge", "GITHUB_HEAD_REF": "feature",
        "RECONCILER": site.source,
    }  # fmt: skip
    head = {"ref": "feature", "sha": commit, "repo": repository}
    event = {"pull_request": {"number": 7, "head": head, "base": {"ref": "main", "repo": OURS}}}
    return ready.run(WORKFLOW, "preview", revision=commit, told=told, event=event)


def test_what_a_pull_request_built_is_what_the_merge_records(
    images: Images, sandbox: Sandbox, feature: str, site: Site
) -> None:
    asked = {IS_PULL_REQUEST: True, IS_OURS: True, HEAD: feature}
    built = preview(machine(images, site, "one", asked), site, feature, repository=OURS)
    assert not built.failed, built.output
    assert "built" in built.output
    assert "web" in built.summary
    assert {tag.rsplit("/", 1)[0] for tag in images.tags() if "/image/" in tag} == {
        "refs/tags/image/base", "refs/tags/image/web"
    }  # fmt: skip
    assert site.tokens.audiences == ["sts.amazonaws.com"]

    images.git("push", "--quiet", "origin", "feature:main")
    merged = machine(images, site, "two", {IS_MAIN: True})
    told = {"GITHUB_EVENT_NAME": "push", "GITHUB_REF": "refs/heads/main", "RECONCILER": site.source}
    sandbox.forget_calls()
    recorded = merged.run(WORKFLOW, "reconcile", revision=feature, told=told, event=PUSH)
    assert not recorded.failed, recorded.output
    assert "adopted" in recorded.output
    assert "preview-merged" in recorded.summary
    assert not [call for call in sandbox.calls() if "RunInstances" in call], "neither built nor booted once more"
    builds = images.lockfile("web")["builds"]
    assert builds[0]["ci"] == {
        "provider": "github-actions", "url": "https://github.com/acme/images/actions/runs/1234", "job": "preview"
    }  # fmt: skip


def test_a_forks_template_is_planned_and_never_run(images: Images, sandbox: Sandbox, feature: str, site: Site) -> None:
    images.write("desired/web/setup.sh", "echo mine now\n")
    images.git("commit", "--quiet", "--all", "--message", "web: mine now")
    images.git("push", "--quiet", "origin", "HEAD:refs/pull/7/head")
    theirs = images.git("rev-parse", "HEAD")
    sandbox.forget_calls()
    asked = {IS_PULL_REQUEST: True, IS_OURS: False, HEAD: theirs}

    job = preview(machine(images, site, "one", asked), site, theirs, repository=FORK)

    assert not job.failed, job.output
    assert "This is a fork's pull request: planned from desired/ and state/ alone" in " ".join(job.output.split())
    assert not any((job.checkout / ".reconciler").glob("logs/*.log")), "Packer was run"
    assert sandbox.calls() == {}
    assert site.tokens.audiences == []
