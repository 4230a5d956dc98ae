"""An answer that has no end is ended, whoever asked; any other arrives to the byte."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.build.smoke.client import ClientConfig
from reconciler.build.smoke.connection import Connection, Login, closing
from reconciler.build.smoke.exchange import MOST_BYTES, AnsweredTooMuch, CommandTimedOut, exchange

_GREETED = 'case "$*" in *is-connected*) echo reconciler-is-connected; exec cat >/dev/null;; esac\n'


def talk(script: str, given: bytes = b"", *, most: int = MOST_BYTES) -> tuple[int, bytes, bytes]:
    pipe = subprocess.PIPE
    with subprocess.Popen(["sh", "-c", script], stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            ran = exchange(process, given, check=lambda: None, poll=1.0, most=most)
        finally:
            process.kill()
    return ran.status, ran.stdout, ran.stderr


@settings(max_examples=20, suppress_health_check=[HealthCheck.too_slow])
@given(st.binary(max_size=300), st.integers(0, 2000), st.integers(0, 255))
def test_what_is_given_and_answered_arrives_to_the_byte(word: bytes, times: int, status: int) -> None:
    assert talk(f"cat; echo why >&2; exit {status}", word * times) == (status, word * times, b"why\n")


def test_input_that_nobody_reads_is_no_error() -> None:
    assert talk("exec <&-; echo done", b"x" * 1_000_000) == (0, b"done\n", b"")


@pytest.mark.parametrize("script", ["yes", "yes >&2", "yes & yes >&2"])
def test_an_answer_without_end_is_ended(script: str) -> None:
    with pytest.raises(AnsweredTooMuch, match="more than 1 MiB"):
        talk(f"exec 2>&2; {script}", most=1 << 20)


@pytest.fixture
def connection(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Connection]:
    """A connection by a client that does what the test says, in place of ssh."""
    ssh = tmp_path / "bin" / "ssh"
    ssh.parent.mkdir()
    ssh.write_text(f"#!/bin/sh\n{request.param}")
    ssh.chmod(0o755)
    config = ClientConfig(tmp_path / "config", tmp_path / "key", tmp_path / "known_hosts", tmp_path / "socket")
    one = Connection(
        config,
        Login(where="192.0.2.1", user="admin"),
        environment={"PATH": f"{ssh.parent}:{os.environ['PATH']}"},
        cancelled=threading.Event(),
    )
    with closing(one):
        yield one


@pytest.mark.parametrize("connection", [_GREETED + "exec yes\n"], indirect=True)
def test_no_command_takes_more_of_an_instances_answer_than_is_read(connection: Connection) -> None:
    assert connection.open() is None

    with pytest.raises(AnsweredTooMuch):
        connection.run("true", timeout=600)
    assert connection.knock(timeout=600) is not None
    assert not connection.lost


@pytest.mark.parametrize("connection", [_GREETED + "exec sleep 1000\n"], indirect=True)
def test_a_command_that_never_answers_is_ended_in_time(connection: Connection) -> None:
    assert connection.open() is None

    with pytest.raises(CommandTimedOut):
        connection.run("true", timeout=0.2)


_ENDLESS = 'yes go away | head -c 2000000; touch "$0.heard"; exec yes go away\n'


@pytest.mark.parametrize("connection", [_ENDLESS], indirect=True)
def test_a_greeting_without_end_is_no_connection(connection: Connection, tmp_path: Path) -> None:
    refused = connection.open()

    assert refused is not None
    assert refused.kind == "no-command"
    assert refused.text.endswith(": go away")
    assert not (tmp_path / "bin" / "ssh.heard").exists(), "of two megabytes the first 64 KiB are read"


@pytest.mark.parametrize(
    "connection",
    ["yes banner | head -c 40000000 >&2; echo reconciler-is-connected; exec cat >/dev/null\n"],
    indirect=True,
)
def test_a_server_that_has_the_client_complain_without_end_is_no_connection(connection: Connection) -> None:
    assert connection.open() is None

    assert connection.lost
    assert len(connection.why_lost().text) < 1000


def test_a_test_of_a_suite_that_is_answered_without_end_fails_and_the_next_one_runs(tmp_path: Path) -> None:
    suite = tmp_path / "test_endless.py"
    suite.write_text(
        "def test_endless(host): host.run('yes')\n"
        "def test_other(host): assert host.run('echo here; exit 3').stdout == 'here\\n'\n"
    )
    arguments = ["-p", "reconciler.build.smoke.plugin", "-p", "testinfra.plugin", "-p", "no:cacheprovider"]

    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments, "--hosts=local://", "-q", str(suite)],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )

    assert "1 failed, 1 passed" in ran.stderr
    assert "`yes`: it answered with more than 16 MiB" in ran.stdout
