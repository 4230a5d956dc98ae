"""Where it was measured: figures mean nothing without it."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path


def machine() -> str:
    """Cores, CPU, kernel and the versions of what takes part, in two lines."""
    load, _, _ = os.getloadavg()
    here = f"{os.cpu_count()} cores, {_cpu()}, Linux {platform.release()}, load {load:.1f} at the start"
    packages = ", ".join(f"{name} {version(name)}" for name in ("boto3", "botocore", "moto", "pydantic"))
    tools = f"{_said('git', '--version')}, {_said('packer', 'version')}"
    return f"{here}\nPython {platform.python_version()}, {packages}, {tools}"


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(": ")[2]
    return platform.machine()


def _said(*command: str) -> str:
    try:
        said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return f"no {command[0]}"
    return said.splitlines()[0] if said else f"no {command[0]}"
