"""The baseline: what desired/base promises to every image on top of it."""

from __future__ import annotations

from testinfra.host import Host


def test_nobody_logs_in_with_a_password(host: Host) -> None:
    assert host.file("/etc/ssh/sshd_config.d/10-baseline.conf").contains("^PasswordAuthentication no")
