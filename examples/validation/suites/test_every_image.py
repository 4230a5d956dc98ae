"""What holds for every image."""

from __future__ import annotations

import os

from testinfra.host import Host


def test_it_is_the_build_that_was_announced(host: Host) -> None:
    release = host.file("/etc/image-release").content_string.splitlines()

    assert release[-1] == f"{os.environ['IMAGE']} {os.environ['BUILD']}"


def test_no_trace_of_its_making_is_left(host: Host) -> None:
    with host.sudo():
        assert not host.file("/root/.bash_history").exists
        assert host.run("find /home /root -path '*/.ssh/id_*' -o -name '.aws'").stdout == ""
