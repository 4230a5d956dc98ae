"""Builds by the real Packer: what comes out of them, and what is left of them."""

from __future__ import annotations

import json
import re
import threading
from typing import Any

import pytest

from reconciler.build.build import Packer
from reconciler.build.packer.binary import Binary
from reconciler.build.packer.versions import CURRENT
from reconciler.model.errors import Place
from reconciler.model.events import Event, Started, Step
from reconciler.model.fleet import Variable
from reconciler.ports.builder import BuildFailed

pytestmark = pytest.mark.packer

FILE_TEMPLATE = """
variable "image_name" { type = string }
variable "image_tags" { type = map(string) }
source "file" "web" {
  content = "${var.image_name} ${var.image_tags["reconciler:image"]}"
  target  = "made"
}
build {
  sources = ["file.web"]
  provisioner "shell-local" { script = "./setup.sh" }
}
"""
IMAGE_NAME = Variable("image_name", "string", Place("desired/web/web.pkr.hcl"))
IMAGE_TAGS = Variable("image_tags", "map(string)", Place("desired/web/web.pkr.hcl"))

TWO_BUILDS = """
source "file" "good" {
  content = "x"
  target  = "made"
}
source "null" "bad" { communicator = "none" }
build {
  name    = "grp"
  sources = ["file.good", "null.bad"]
  provisioner "shell-local" {
    only    = ["null.bad"]
    script  = "./install.sh"
  }
}
"""
INSTALL = "#!/bin/sh\necho installing\necho 'E: Unable to locate package nginx-fulll' >&2\nexit 100\n"


def test_a_build_returns_its_artifact_and_is_given_the_variables_it_declares(
    requests: Any, packer: Packer, heard: Any, cancelled: threading.Event
) -> None:
    request = requests(
        {"web.pkr.hcl": FILE_TEMPLATE, "setup.sh": "#!/bin/sh\necho hello\n"},
        builders=("file.web",),
        variables=(IMAGE_NAME, IMAGE_TAGS),
        image_tags={"reconciler:image": "web"},
    )

    result = packer.build(request, listener=heard, cancelled=cancelled)

    assert [(a.builder, a.kind, a.location, a.id) for a in result.artifacts] == [
        ("file.web", "other", "packer", "made")
    ]
    assert [one.files for one in result.made] == [(str(request.export / "desired/web/made"),)]
    assert (request.export / "desired/web/made").read_text() == "web-20261122T101530Z-1a2b3c4 web"
    assert result.packer.version == packer.binary.version_text
    assert result.packer.plugins == {}
    assert heard.events == [
        Started("web", request.build_id, None, str(request.log)),
        Step("web", "Running local shell script: ./setup.sh"),
    ]
    assert " file.web: hello\n" in request.log.read_text()


def test_nothing_private_is_left_in_the_run_folder(
    requests: Any, packer: Packer, heard: Any, cancelled: threading.Event
) -> None:
    request = requests({"web.pkr.hcl": TWO_BUILDS, "install.sh": INSTALL}, builders=("grp.file.good", "grp.null.bad"))

    with pytest.raises(BuildFailed):
        packer.build(request, listener=heard, cancelled=cancelled)

    assert [path.name for path in request.run_folder.iterdir() if path.is_file()] == []


def test_a_failing_provisioner_is_named_with_its_script_and_last_lines(
    requests: Any, packer: Packer, heard: Any, cancelled: threading.Event
) -> None:
    request = requests({"web.pkr.hcl": TWO_BUILDS, "install.sh": INSTALL}, builders=("grp.file.good", "grp.null.bad"))

    with pytest.raises(BuildFailed) as caught:
        packer.build(request, listener=heard, cancelled=cancelled)

    failed = caught.value
    assert failed.cause == "failed"
    assert failed.what.startswith('build failed in provisioner "shell-local" (desired/web/install.sh), 0:0')
    assert set(failed.tail[:-1]) == {
        "Running local shell script: ./install.sh",
        "installing",
        "E: Unable to locate package nginx-fulll",
    }
    assert failed.tail[-1].startswith("Script exited with non-zero exit status: 100.")
    assert failed.log == request.log
    assert [artifact.builder for artifact in failed.artifacts] == ["grp.file.good"]


def test_a_mistake_in_the_template_is_shown_where_it_is(
    requests: Any, packer: Packer, heard: Any, cancelled: threading.Event
) -> None:
    request = requests({"web.pkr.hcl": 'build {\n  surces = ["file.web"]\n}\n'}, builders=("file.web",))

    with pytest.raises(BuildFailed) as caught:
        packer.build(request, listener=heard, cancelled=cancelled)

    assert caught.value.where == Place("desired/web/web.pkr.hcl", 2)
    assert caught.value.what.startswith("Packer cannot build it: ")
    too_old = f"{packer.binary.path} is {packer.binary.version_text}: if a later one knows that, "
    assert (caught.value.version, caught.value.may_be_too_old) == (
        packer.binary.version_text, packer.binary.version < CURRENT,
    )  # fmt: skip
    if packer.binary.version < CURRENT:
        assert [one.startswith(too_old) for one in caught.value.hint] == [True, False]
        assert caught.value.hint[1] == "and then the next run tries it at once"
    else:
        assert caught.value.hint == ()


def test_a_json_template_builds(requests: Any, packer: Packer, heard: Any, cancelled: threading.Event) -> None:
    template = {
        "variables": {"image_name": ""},
        "builders": [{"type": "file", "name": "web", "target": "made", "content": "{{user `image_name`}}"}],
    }
    request = requests({"template.json": json.dumps(template)}, builders=("file.web",), variables=(IMAGE_NAME,))

    result = packer.build(request, listener=heard, cancelled=cancelled)

    assert [artifact.builder for artifact in result.artifacts] == ["web"]
    assert (request.export / "desired/web/made").read_text() == "web-20261122T101530Z-1a2b3c4"


def test_packer_runs_in_the_declared_folder(
    requests: Any, packer: Packer, heard: Any, cancelled: threading.Event
) -> None:
    template = FILE_TEMPLATE.replace("./setup.sh", "desired/web/setup.sh")
    request = requests(
        {"packer/web.pkr.hcl": template, "setup.sh": "#!/bin/sh\npwd\nexit 3\n"},
        builders=("file.web",),
        packer={"template": "packer", "working_dir": "/"},
        variables=(IMAGE_NAME, IMAGE_TAGS),
        image_tags={"reconciler:image": "web"},
    )

    with pytest.raises(BuildFailed) as caught:
        packer.build(request, listener=heard, cancelled=cancelled)

    assert str(request.export) in caught.value.tail
    assert "(desired/web/setup.sh)" in caught.value.what


def test_only_the_selected_build_runs(requests: Any, packer: Packer, heard: Any, cancelled: threading.Event) -> None:
    request = requests(
        {"web.pkr.hcl": TWO_BUILDS, "install.sh": INSTALL},
        builders=("grp.file.good", "grp.null.bad"),
        packer={"only": ["*.file.good"]},
    )

    result = packer.build(request, listener=heard, cancelled=cancelled)

    assert [artifact.builder for artifact in result.artifacts] == ["grp.file.good"]


def test_a_selection_that_packer_does_not_match_is_a_failure(
    requests: Any, packer: Packer, heard: Any, cancelled: threading.Event
) -> None:
    # The template was read wrongly: Packer itself calls the build grp.file.good, and 1.6.6 ends well.
    request = requests(
        {"web.pkr.hcl": TWO_BUILDS, "install.sh": INSTALL},
        builders=("file.good",),
        packer={"only": ["file.good"]},
    )

    with pytest.raises(BuildFailed) as caught:
        packer.build(request, listener=heard, cancelled=cancelled)

    assert caught.value.cause == ("no-artifact" if packer.binary.version < (1, 8, 5) else "failed")


SLEEPER = """
source "file" "web" {
  content = "x"
  target  = "made"
}
build {
  sources = ["file.web"]
  provisioner "shell-local" { script = "./wait.sh" }
}
"""


def waiting(child: Any) -> dict[str, str]:
    return {"web.pkr.hcl": SLEEPER, "wait.sh": f"#!/bin/sh\n{child.start}\n"}


def test_a_cancelled_build_leaves_nothing_running(
    requests: Any, packer: Packer, heard: Any, cancelled: threading.Event, child: Any
) -> None:
    request = requests(waiting(child), builders=("file.web",))

    def cancel(event: Event) -> None:
        if isinstance(event, Step):
            child.wait_for_start()
            cancelled.set()

    heard.react = cancel

    with pytest.raises(BuildFailed) as caught:
        packer.build(request, listener=heard, cancelled=cancelled)

    assert caught.value.cause == "cancelled"
    assert caught.value.cleaned_up
    assert child.is_gone()
    # Where the script ends before Packer takes notice of its own signal, it is a build that failed.
    assert re.search("Cleanly cancelled builds|no artifacts were created", request.log.read_text())


def test_a_build_that_takes_too_long_is_stopped(
    requests: Any, binary: Binary, heard: Any, cancelled: threading.Event, child: Any
) -> None:
    request = requests(waiting(child), builders=("file.web",), timeout=3600.0)
    now = 0.0

    def skip_an_hour(event: Event) -> None:
        nonlocal now
        if isinstance(event, Step):
            child.wait_for_start()
            now = 3600.0

    heard.react = skip_an_hour

    with pytest.raises(BuildFailed) as caught:
        Packer(binary, clock=lambda: now).build(request, listener=heard, cancelled=cancelled)

    assert caught.value.cause == "timed-out"
    assert caught.value.what == "build timed out after 1h"
    assert caught.value.seconds == 3600
    assert child.is_gone()


def test_a_build_cancelled_before_it_began_is_not_started(
    requests: Any, packer: Packer, heard: Any, cancelled: threading.Event
) -> None:
    cancelled.set()

    with pytest.raises(BuildFailed) as caught:
        packer.build(requests({"web.pkr.hcl": SLEEPER}, builders=("file.web",)), listener=heard, cancelled=cancelled)

    assert caught.value.cause == "cancelled"
    assert heard.events == []
