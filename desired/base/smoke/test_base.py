"""What the base image promises, asked of a machine that was booted from it."""

from __future__ import annotations

import pytest
from testinfra.host import Host


@pytest.fixture(scope="module")
def sshd(host: Host) -> dict[str, str]:
    """The settings that sshd goes by, from whichever file they come."""
    # sshd answers only where there are a host key and a folder in /run. A first boot makes both, if there is an init.
    ask = "mkdir -p /run/sshd && new=$(mktemp -d) && ssh-keygen -q -N '' -f $new/key && /usr/sbin/sshd -T -h $new/key"
    with host.sudo():
        answer = host.check_output(ask)
    return dict(line.split(maxsplit=1) for line in answer.splitlines() if " " in line)


@pytest.fixture(scope="module")
def systemd(host: Host) -> None:
    """Skips where systemd does not run, as in the sandbox."""
    if not host.file("/run/systemd/system").is_directory:
        pytest.skip("systemd does not run")


def test_it_says_which_build_it_is(host: Host) -> None:
    assert host.file("/etc/image-release").content_string.startswith("base ")


def test_nobody_logs_in_with_a_password(sshd: dict[str, str]) -> None:
    assert sshd["passwordauthentication"] == "no"
    assert sshd["kbdinteractiveauthentication"] == "no"


def test_root_does_not_log_in(sshd: dict[str, str]) -> None:
    assert sshd["permitrootlogin"] == "no"


@pytest.mark.parametrize("name", ["auditor", "root"])
def test_the_passwords_of_our_users_are_locked(host: Host, name: str) -> None:
    with host.sudo():
        assert host.user(name).password.startswith("!")


def test_auditors_read_logs_and_may_do_nothing_else(host: Host) -> None:
    assert host.user("auditor").groups == ["auditor", "adm"]


def test_security_upgrades_install_themselves(host: Host) -> None:
    assert host.package("unattended-upgrades").is_installed
    assert host.check_output("apt-config dump APT::Periodic::Unattended-Upgrade").endswith('"1";')


@pytest.mark.parametrize(("name", "value"), [("kernel.kptr_restrict", 2), ("net.ipv4.tcp_syncookies", 1)])
def test_the_kernel_will_be_set_up_at_boot(host: Host, name: str, value: int) -> None:
    assert host.file("/etc/sysctl.d/60-baseline.conf").contains(f"^{name} = {value}$")


@pytest.mark.usefixtures("systemd")
def test_the_kernel_was_set_up(host: Host) -> None:
    with host.sudo():
        assert host.sysctl("kernel.kptr_restrict") == 2


@pytest.mark.usefixtures("systemd")
def test_services_run(host: Host) -> None:
    assert host.service("ssh").is_running
    assert host.service("apt-daily-upgrade.timer").is_enabled


def test_nothing_of_ansible_is_left(host: Host) -> None:
    with host.sudo():
        assert host.check_output("find /root /home -name .ansible") == ""
