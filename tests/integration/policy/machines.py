"""A machine that was booted from an image of this repository: its policy converged, its smoke suite run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from tests.integration.sandbox.conftest import Instance

DESIRED = Path(__file__).parents[3] / "desired"
POLICY = DESIRED / "base" / "policy"
_TASK = re.compile(r".*TASK \[(?:\w+ : )?(.+)\] \**")
_CHANGED = re.compile(r"(?:.*: )?changed: \[")


@dataclass(frozen=True)
class Smoke:
    """How a smoke suite ended."""

    passed: int
    failed: frozenset[str]
    """The names of the tests, parameters aside."""


@dataclass(frozen=True)
class Machine:
    """A running machine; `folder` is for what converging and testing it write."""

    instance: Instance
    folder: Path

    def converge(self, policy: Path = POLICY) -> list[str]:
        """Converge a policy; the tasks that changed something."""
        ended = subprocess.run(
            [
                *("ansible-playbook", f"--inventory={self.instance.address},", "--user=admin"),
                *(f"--private-key={self.instance.key}", str(policy / "playbook.yml")),
            ],
            env=environment(
                {
                    "ANSIBLE_CONFIG": str(policy / "ansible.cfg"),
                    "ANSIBLE_HOST_KEY_CHECKING": "False",  # Packer says so too
                    "HOME": str(self.folder),
                }
            ),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return changed_tasks(ended.stdout)

    def smoke(self, image: str) -> Smoke:
        """Run the smoke suite of an image over SSH."""
        config, report = self.folder / "ssh_config", self.folder / "smoke.xml"
        config.write_text("Host *\n  StrictHostKeyChecking no\n  UserKnownHostsFile /dev/null\n  LogLevel ERROR\n")
        ended = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--junitxml={report}"),
                *(f"--hosts=ssh://admin@{self.instance.address}", f"--ssh-identity-file={self.instance.key}"),
                *(f"--ssh-config={config}", str(DESIRED / image / "smoke")),
            ],
            env=environment({}),
            capture_output=True,
            text=True,
            check=False,
        )
        assert ended.returncode in {0, 1}, ended.stdout + ended.stderr
        tests = list(ET.parse(report).iter("testcase"))  # noqa: S314 - written by the line above
        failed = [one for one in tests if one.find("failure") is not None or one.find("error") is not None]
        skipped = [one for one in tests if one.find("skipped") is not None]
        names = frozenset(str(one.get("name")).partition("[")[0] for one in failed)
        return Smoke(passed=len(tests) - len(failed) - len(skipped), failed=names)


def changed_tasks(output: str) -> list[str]:
    """The tasks of which Ansible says, perhaps through Packer, that they changed something."""
    names: list[str] = []
    task = ""
    for line in output.splitlines():
        if match := _TASK.match(line):
            task = match[1]
        elif _CHANGED.match(line) and task not in names:
            names.append(task)
    return names


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Ours, with `ansible-playbook` on the PATH, and without what is meant for the pytest and the Ansible outside."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("ANSIBLE_", "PYTEST_"))}
    return {**inherited, "PATH": f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}", **more}
