"""The policy of `base`: converged by Packer, unchanged when converged again, and fixed where it drifted."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.policy.machines import POLICY, changed_tasks

if TYPE_CHECKING:
    from tests.integration.policy.conftest import Boot, Built

pytestmark = [pytest.mark.sandbox, pytest.mark.packer(once="policy")]

BROKEN = {
    "sudo userdel auditor": "Give people an account that no password opens",
    "echo root:secret | sudo chpasswd": "Lock the password of root",
    "echo PasswordAuthentication yes | sudo tee /etc/ssh/sshd_config.d/10-baseline.conf": "Write sshd's settings",
    "sudo rm -f /etc/apt/apt.conf.d/60baseline /etc/apt/apt.conf.d/20auto-upgrades": "Write apt's settings",
    "sudo sed -i /kptr_restrict/d /etc/sysctl.d/60-baseline.conf": "Write the kernel's settings",
}
"""What somebody may do to a machine, and the task that fixes it; in the order of tasks."""


def test_packer_converges_the_whole_policy(base: Built) -> None:
    changed = {*changed_tasks(base.log), "Lock the password of root"}  # some systems come with it locked

    assert changed == set(BROKEN.values())


def test_a_converged_machine_is_left_as_it_is(base: Built, boot: Boot) -> None:
    assert boot(base.image).converge() == []


def test_a_task_that_always_changes_something_would_be_noticed(base: Built, boot: Boot, tmp_path: Path) -> None:
    careless = tmp_path / "policy"
    shutil.copytree(POLICY, careless)
    with (careless / "roles/baseline/tasks/kernel.yml").open("a") as tasks:
        tasks.write("\n- name: Write the date\n  ansible.builtin.shell: date > /etc/converged\n")

    machine = boot(base.image)

    assert machine.converge(careless) == ["Write the date"]
    assert machine.converge(careless) == ["Write the date"]


def test_drift_is_seen_by_the_smoke_suite_and_fixed_by_the_next_converge(base: Built, boot: Boot) -> None:
    machine = boot(base.image)
    for command in BROKEN:
        machine.instance.says(command)

    assert machine.smoke("base").failed == {
        "test_nobody_logs_in_with_a_password",
        "test_root_does_not_log_in",
        "test_the_passwords_of_our_users_are_locked",
        "test_auditors_read_logs_and_may_do_nothing_else",
        "test_security_upgrades_install_themselves",
        "test_the_kernel_will_be_set_up_at_boot",
    }
    assert machine.converge() == list(BROKEN.values())
    assert not machine.smoke("base").failed
    assert machine.converge() == []
