"""Tests of a machine that is made of this template."""

from testinfra.host import Host


def test_vmware_tools_run(host: Host) -> None:
    assert host.service("open-vm-tools").is_running
