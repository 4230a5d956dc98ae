"""What a machine of this template has to be."""

from testinfra.host import Host


def test_vmware_tools_run(host: Host) -> None:
    assert host.service("open-vm-tools").is_running
