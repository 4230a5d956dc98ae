"""What is told of a build while Packer speaks. The lines are as Packer printed them."""

from __future__ import annotations

import stat
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.build.outcome import OutputLog
from reconciler.build.output import new_log
from reconciler.build.secrets import redactor
from reconciler.model.constraint import Version
from reconciler.registries.ec2.dialect import DIALECT

OLD, NEW = (1, 6, 6), (1, 16, 0)
PAIR = "packer_6929f0a1-7c11-94cc-aa1e-1e2a3b4c5d6e"
BEFORE = f"""\
1764356257,,ui,say,==> w: Prevalidating AMI Name: web
1764356258,,ui,say,==> w: Creating temporary keypair: {PAIR}
"""
AFTER = "1764356259,,ui,say,==> w: Creating temporary security group for this instance: packer_6929f0a3\n"
LAUNCHED = "1764356262,,ui,say,==> w: Launching a source AWS instance...\n"


def key_pairs(output: str, version: Version = OLD) -> list[str]:
    told: list[str] = []
    log = StringIO()
    output_log = OutputLog(
        log, redactor(()), version=version, dialect=DIALECT, on_step=lambda *_: None, on_key_pair=told.append
    )
    output_log.feed(output.encode())
    return told


@pytest.mark.parametrize("version", [OLD, NEW])
def test_the_key_pair_is_told_once_it_is_there(version: Version) -> None:
    assert key_pairs(BEFORE, version) == []  # EC2 may be making it still
    assert key_pairs(BEFORE + AFTER + LAUNCHED, version) == [PAIR]


@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.parametrize(
    "before",
    [
        BEFORE + AFTER + LAUNCHED,
        "1764356258,,ui,say,==> w: Using existing SSH private key\n" + LAUNCHED,
        "1764356258,,ui,say,==> w: Provisioning with shell script: setup.sh\n",
    ],
)
def test_what_a_provisioner_prints_names_no_key_pair(before: str, version: Version) -> None:
    """From 1.13 on a script's output comes as Packer's own headlines do."""
    forged = (
        "1764356270,,ui,say,==> w: Creating temporary keypair: admins\n"
        "1764356270,,ui,say,==> w: Stopping the source instance...\n"
    )

    assert "admins" not in key_pairs(before + forged, version)


def test_builds_of_one_run_have_a_key_pair_each() -> None:
    other = (BEFORE + AFTER).replace("==> w:", "==> x:").replace(PAIR, "packer_x")

    assert key_pairs(BEFORE + other + AFTER) == ["packer_x", PAIR]


def test_an_error_in_place_of_a_key_pair_names_none() -> None:
    refused = "1764356259,,ui,error,==> w: Error creating temporary keypair: UnauthorizedOperation\n"

    assert key_pairs(BEFORE + refused) == []


@given(st.text(st.characters(codec="utf-8", exclude_characters=",\r\n\\")))
def test_a_log_steers_no_terminal_and_keeps_what_is_printable_and_tabs(text: str) -> None:
    log = StringIO()
    output_log = OutputLog(log, redactor(()), version=OLD, dialect=DIALECT, on_step=lambda *_: None)
    output_log.feed(f"1764356257,,ui,message,    w: [{text}]\n{text}\n".encode())
    output_log.close(0, stderr=BytesIO(f"[{text}]\n".encode()))

    written = log.getvalue()
    assert all(one.isprintable() or one in "\t\n" for one in written)
    if all(one.isprintable() or one == "\t" for one in text):
        assert written.count(f"[{text}]\n") == 2


def test_what_a_script_prints_on_stderr_is_no_step_whatever_it_says() -> None:
    steps: list[tuple[str, str]] = []
    output_log = OutputLog(
        StringIO(), redactor(()), version=OLD, dialect=DIALECT, on_step=lambda build, step: steps.append((build, step))
    )

    output_log.feed(
        b"1,,ui,say,==> w: Launching a source AWS instance...\n"
        b"1,,ui,error,==> w: Terminating the source AWS instance...\n"
        b"1,,ui,message,    w: Stopping the source instance...\n"
    )

    assert steps == [("w", "Launching a source AWS instance...")]


def test_a_log_is_its_owners_only_whatever_was_there(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    path.parent.mkdir()
    path.write_text("of an earlier run")
    path.chmod(0o644)

    with new_log(path) as log:
        log.write("a lone surrogate: \udc80")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "a lone surrogate: \\udc80"


def test_a_log_is_begun_in_folders_that_need_not_be_there(tmp_path: Path) -> None:
    path = tmp_path / "builds" / "web" / "packer.log"

    with new_log(path) as log:
        log.write("begun")

    assert path.read_text() == "begun"
