"""What a person is told of a container registry that refuses, is busy, or answers what is nothing: by the command."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from reconciler.model.values import sha256_of
from reconciler.registries.oci.client import MANIFEST
from tests.command import Command
from tests.integration.cli.conftest import Fleet, begun
from tests.integration.registries.test_container_faults import GONE, Played, Reply, refusal

TEMPLATE = """\
variable "source_image" { type = string }
source "docker" "image" {
  image  = var.source_image
  commit = true
}
build { sources = ["source.docker.image"] }
"""
CONFIG = b'{"architecture": "amd64", "os": "linux"}'
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
BODY = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {"mediaType": CONFIG_TYPE, "digest": sha256_of(CONFIG), "size": len(CONFIG)},
        "layers": [],
    }
).encode()
DIGEST = sha256_of(BODY)
TAGS = "/tags/list"
IS_MANIFEST = {"Content-Type": MANIFEST}
HTML = {"Content-Type": "text/html"}


@pytest.fixture
def played() -> Iterator[Played]:
    one = Played()
    yield one
    one.end()


@pytest.fixture
def fleet(tmp_path: Path, command: Command, played: Played, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    """One image, on a tag that moves, in a registry that a test plays."""
    one = begun(tmp_path, command, monkeypatch)
    one.git("rm", "-r", "--quiet", "desired")
    one.commit(
        {
            "desired/reconciler.yaml": "fleet: acme/images\n",
            "desired/site/site.pkr.hcl": TEMPLATE,
            "desired/site/image.yaml": (
                f"source: {{oci: '{played.host}/theirs/debian'}}\nlocations: [{played.host}/acme/site]\n"
            ),
        }
    )
    return one


def answering(played: Played, faults: Mapping[str, Reply]) -> None:
    """A registry with a source and no tag of ours, but for what is answered to what is in a path."""

    def answer(method: str, path: str, headers: Mapping[str, str]) -> Reply:
        for part, reply in faults.items():
            if part in path:
                return reply
        if TAGS in path:
            return refusal(404, "NAME_UNKNOWN")
        if "/manifests/" in path:
            return Reply(200, BODY, {"Content-Type": MANIFEST, "Docker-Content-Digest": DIGEST})
        return refusal(404, "MANIFEST_UNKNOWN")

    played.answers = answer


SOME_TIME = pytest.mark.long  # it is asked again, some times
FAULTS = [
    pytest.param((refusal(401, "UNAUTHORIZED", "authentication required"), "UNAUTHORIZED"), id="401"),
    pytest.param((refusal(403, "DENIED", "requested access is denied"), "DENIED"), id="403"),
    pytest.param((Reply(404, b"<html>", HTML), "404, and not as a registry does"), id="404", marks=SOME_TIME),
    pytest.param((refusal(429, "TOOMANYREQUESTS", "slow down"), "429"), id="429", marks=SOME_TIME),
    pytest.param((Reply(500, b"<html>oops"), "500"), id="500", marks=SOME_TIME),
    pytest.param((Reply(200, b"<html>log in</html>", HTML), "text/html"), id="a login page", marks=SOME_TIME),
    pytest.param((GONE, "could not be asked"), id="broken off", marks=SOME_TIME),
]


@pytest.mark.parametrize("case", FAULTS)
@pytest.mark.parametrize("at", [TAGS, "/manifests/latest"])
def test_it_is_unknown_with_why_and_nothing_is_planned(
    fleet: Fleet, played: Played, monkeypatch: pytest.MonkeyPatch, case: tuple[Reply, str], at: str
) -> None:
    fault, said = case
    answering(played, {at: fault})
    monkeypatch.setenv("COLUMNS", "80")

    ended = fleet.run("plan")

    told = " ".join((ended.stdout + ended.stderr).split())
    assert "unexpected" not in told
    assert "Traceback" not in told
    assert said in told or (fault.status in (401, 403) and at != TAGS), (
        "what is asked by HEAD is answered without words"
    )
    assert played.host in told
    refused = fault.status in (401, 403) and at == TAGS
    assert ended.returncode == (1 if refused else 3)
    assert refused == (not ended.stdout)
    assert [line for line in ended.stdout.splitlines() if len(line) > 80] == []
    if fault.status in (401, 403):
        assert f"`docker login {played.host}`, as somebody who may read {played.host}/" in told


def test_what_a_tag_means_now_is_in_the_key(fleet: Fleet, played: Played) -> None:
    def planned(body: bytes) -> str:
        there = Reply(200, body, {**IS_MANIFEST, "Docker-Content-Digest": sha256_of(body)})
        answering(played, {"/theirs/debian/manifests/": there})
        (image,) = fleet.json("plan")["images"]
        assert image["actions"] == ["build"]
        return str(image["key"])

    key = planned(BODY)

    assert planned(BODY) == key
    assert planned(BODY.replace(b'"layers": []', b'"layers":[]')) != key


def test_a_tag_that_only_a_template_names_is_said_to_move(fleet: Fleet, played: Played) -> None:
    fleet.commit(
        {
            "desired/site/site.pkr.hcl": TEMPLATE.replace("var.source_image", '"debian"').replace(
                "variable", "# variable"
            ),
            "desired/site/image.yaml": f"locations: [{played.host}/acme/site]\n",
        }
    )

    validated = fleet.run("validate")

    assert validated.returncode == 0
    told = " ".join((validated.stdout + validated.stderr).split())
    assert "debian is whatever its publisher calls the latest" in told
