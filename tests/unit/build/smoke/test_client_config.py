"""The SSH client's settings are complete, whatever the request holds, as OpenSSH itself reads them."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest

from reconciler.build.smoke.client import ALIAS, is_plain, written
from reconciler.ports.tester import TestRequest


def request(folder: Path, **asked: Any) -> TestRequest:
    folder.joinpath("key").write_text("a key\n")
    return TestRequest(
        **{
            "image": "web", "build_id": "20261122T101530Z-1a2b3c4", "address": "192.0.2.7", "user": "admin",
            "private_key": folder / "key", "suite": None, "suite_name": "", "timeout": 60, "folder": folder,
            "log": folder / "log", "alive": lambda: "running", **asked,
        }
    )  # fmt: skip


def as_read(file: Path) -> dict[str, str]:
    """The settings in effect (`ssh -G`)."""
    answer = subprocess.run(["ssh", "-F", file, "-G", ALIAS], capture_output=True, text=True, check=True).stdout
    return dict(line.split(" ", 1) for line in answer.splitlines() if " " in line)


def test_nothing_but_our_key_and_our_known_hosts_counts(tmp_path: Path) -> None:
    with written(request(tmp_path, port=2222)) as config:
        read = as_read(config.file)

    assert (read["hostname"], read["port"], read["user"]) == ("192.0.2.7", "2222", "admin")
    assert read["identityfile"] == str(config.key)
    assert read["userknownhostsfile"] == str(config.known_hosts)
    assert read["globalknownhostsfile"] == "/dev/null"
    assert read["identityagent"] == "none"
    assert (read["identitiesonly"], read["batchmode"], read["forwardagent"]) == ("yes", "yes", "no")
    assert read["stricthostkeychecking"] == "accept-new"
    assert read["updatehostkeys"] == "false"


def test_an_ipv6_address_with_its_interface_is_a_host_name(tmp_path: Path) -> None:
    with written(request(tmp_path, address="fe80::1%eth0")) as config:
        assert as_read(config.file)["hostname"] == "fe80::1%eth0"


ODD = ["with blanks", "100%h", "it's", 'a "b"', "café", "${HOME}", "a[1]", "a::b"]


@pytest.mark.parametrize("name", ODD)
def test_a_folder_may_have_any_name_and_the_client_reads_none_of_it(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()

    with written(request(folder)) as config:
        read = as_read(config.file)
        assert config.key.read_text() == "a key\n"
        assert config.key.stat().st_mode & 0o777 == 0o600

    assert read["identityfile"] == str(config.key)
    assert is_plain(str(config.file))
    assert not config.key.exists()


@pytest.mark.parametrize("name", ODD)
def test_a_temporary_folder_may_have_any_name(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / name
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    with written(request(tmp_path)) as config:
        assert is_plain(str(config.file))


def test_the_socket_has_a_short_path_and_goes_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("x" * 80)
    deep.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(deep))

    with written(request(tmp_path)) as config:
        assert len(str(config.socket)) + 17 < 104
        assert config.socket.parent.is_dir()
    assert not config.socket.parent.exists()
