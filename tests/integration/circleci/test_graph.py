"""`reconciler graph`, and the setup workflow of docs/circleci.md that goes on with what it prints."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.integration.circleci.conftest import ROLE
from tests.integration.circleci.orb import assert_circleci_takes, documented, pipeline

if TYPE_CHECKING:
    from tests.integration.circleci.conftest import Images, NewImages, NewRunner

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once=True)]

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / ".circleci" / "config.yml"


def setup_config() -> dict[str, Any]:
    """The setup workflow that the page shows."""
    (config,) = (config for config in documented("docs/circleci.md") if config.get("setup"))
    return config


@pytest.fixture
def images(new_images: NewImages) -> Images:
    """Nothing is booted: who builds what, and after whom, is what counts here."""
    return new_images(settings="defaults: { smoke_test: { boot: false } }\n")


@dataclass
class Continued:
    """CircleCI's API, as far as a setup workflow calls it."""

    url: str
    bodies: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def api() -> Iterator[Continued]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/api/v2/pipeline/continue"
            continued.bodies.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        continued = Continued(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield continued
        server.shutdown()
        thread.join()


def reconciler(images: Images, *arguments: str) -> subprocess.CompletedProcess[str]:
    return images.command.run(*arguments, cwd=images.path, environment=images.environment)


def assert_continuation_is_taken(config: str, folder: Path) -> None:
    file = folder / "config.yml"
    file.write_text(config)
    assert_circleci_takes(file)


def test_the_graph_is_shown_as_text_json_and_mermaid_without_aws(images: Images) -> None:
    assert reconciler(images, "graph").stdout == "base\n  web\n"
    assert reconciler(images, "graph", "base").stdout == "base\n  web\n"
    assert json.loads(reconciler(images, "graph", "--json").stdout)["images"] == [
        {"image": "base", "parent": None},
        {"image": "web", "parent": "base"},
    ]
    assert "n0 --> n1" in reconciler(images, "graph", "--mermaid").stdout


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("graph", "nothing"), "no image is named 'nothing'"),
        (("graph", "--circleci", "--offline"), ".circleci/config.yml can't be read"),
        (("graph", "--circleci", "--offline", "--config", "desired/base/setup.sh"), "is no CircleCI config"),
        (("graph", "--refresh"), "go with --circleci"),
    ],
)
def test_what_cannot_be_done_is_said(images: Images, arguments: tuple[str, ...], says: str) -> None:
    ended = reconciler(images, *arguments)

    assert ended.returncode == 1
    assert says in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_fan_out_is_limited_as_a_run_is(images: Images) -> None:
    images.write("desired/reconciler.yaml", "limits: { max_actions: 1 }\n")
    (images.path / ".circleci").mkdir()
    shutil.copy(CONFIG, images.path / ".circleci")
    images.publish("Allow one")

    job = ("--job", "reconciler/reconcile")
    refused = reconciler(images, "graph", "--circleci", "--offline", *job)

    assert refused.returncode == 1
    assert "one run may act on 1" in refused.stderr
    assert reconciler(images, "graph", "--circleci", "--offline", "--max-actions", "2", *job).returncode == 0


def test_the_setup_workflow_goes_on_with_a_job_for_each_image_and_these_build_the_fleet(
    images: Images, machine: NewRunner, api: Continued, tmp_path: Path
) -> None:
    config = setup_config()
    assert_continuation_is_taken(yaml.safe_dump(config), tmp_path)
    images.write(".circleci/config.yml", yaml.safe_dump(config))
    images.publish("Fan out")
    setup = pipeline(config)
    known = {"AWS_ROLE_ARN": ROLE, "CIRCLECI_CLI_HOST": api.url, "CIRCLE_CONTINUATION_KEY": "the key"}

    planned = machine(images).run(setup.steps("reconciler/fan-out"), environment=known)

    assert not planned.failed, planned.output
    (body,) = api.bodies
    assert body["continuation-key"] == "the key"
    assert_continuation_is_taken(body["configuration"], tmp_path)
    continued = pipeline(yaml.safe_load(body["configuration"]))
    base, web = continued.jobs()["reconciler/reconcile"]
    assert (base["name"], web["name"], web["requires"]) == ("image base", "image web", ["image base"])
    assert web["context"] == ["reconciler-reconcile"]

    for job in (base, web):
        steps = continued.steps("reconciler/reconcile", arguments=job["arguments"])
        built = machine(images).run(steps, environment={"AWS_ROLE_ARN": ROLE})
        assert not built.failed, built.output

    assert len(images.lockfile("web")["builds"]) == 1
    # The last record's own pipeline ends before it plans; a scheduled one finds nothing to do.
    assert machine(images).run(setup.steps("reconciler/fan-out"), environment=known).halted
    assert len(api.bodies) == 1

    scheduled = machine(images).run(setup.steps("reconciler/fan-out", arguments="--refresh"), environment=known)

    assert not scheduled.failed, scheduled.output
    nothing = yaml.safe_load(api.bodies[-1]["configuration"])
    assert nothing["workflows"] == {"images": {"jobs": ["nothing-to-do"]}}
    assert_continuation_is_taken(api.bodies[-1]["configuration"], tmp_path)
