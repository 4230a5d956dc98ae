"""What cloud-init leaves behind when an instance has booted: nothing runs it here, and provisioners wait for that.

As cloud-init 22.4 to 25 write it (`cloudinit/cmd/main.py`, `status_wrapper`, and `cc_final_message`): a folder for the
instance with `boot-finished`, and two files in /run from which `cloud-init status` reads that all stages are done.
"""

from __future__ import annotations

import json
import subprocess
import time

import yaml

from reconciler.sandbox.machine import HOST_ENVIRONMENT, Machine

_STAGES = ("init-local", "init", "modules-config", "modules-final")
_SOURCE = "DataSourceEc2Local"
_MOST_CONFIG = 256 * 1024
_PATIENCE_SECONDS = 60

# Inside the instance, as a path of its own may come to lead anywhere. Arguments: the instance's id, and what goes into
# status.json and result.json. An image without cloud-init has none of it.
_RECORD = """
command -v cloud-init >/dev/null || exit 0
umask 022
place=/var/lib/cloud/instances/$1
mkdir -p "$place/sem" /var/lib/cloud/data /run/cloud-init
ln -sfn "$place" /var/lib/cloud/instance
printf '%s\\n' "$1" | tee /run/cloud-init/instance-id >/var/lib/cloud/data/instance-id
printf '%s\\n' "$4: $4" >"$place/datasource"
printf '%s\\n' "$2" | tee /run/cloud-init/status.json >/var/lib/cloud/data/status.json
printf '%s\\n' "$3" | tee /run/cloud-init/result.json >/var/lib/cloud/data/result.json
: >/run/cloud-init/enabled
date -R >"$place/boot-finished"
"""
_CONFIGURATION = """
{ cat /etc/cloud/cloud.cfg; for file in /etc/cloud/cloud.cfg.d/*.cfg; do echo ---; cat "$file"; done; } | head -c "$1"
"""


def record_boot(machine: Machine, instance_id: str) -> None:
    """Leave the traces of a boot that went well."""
    now = time.time()
    stages = {stage: {"errors": [], "start": now, "finished": now} for stage in _STAGES}
    status = {"v1": {"datasource": _SOURCE, "stage": None, **stages}}
    result = {"v1": {"datasource": _SOURCE, "errors": []}}
    done = _inside(machine, _RECORD, instance_id, json.dumps(status), json.dumps(result), _SOURCE)
    if done.returncode != 0:  # a full disk, or a file where a folder should be: as on EC2, the instance is up without
        machine.say(f"sandbox: cloud-init left no trace: {done.stderr.decode(errors='replace').strip()}")


def default_user(machine: Machine) -> str | None:
    """The user that the image's cloud-init makes at boot; None where there is no cloud-init, or it makes none."""
    told = _inside(machine, _CONFIGURATION, str(_MOST_CONFIG)).stdout.decode(errors="replace")
    name: str | None = None
    try:
        documents = [document for document in yaml.safe_load_all(told) if isinstance(document, dict)]
    except (yaml.YAMLError, RecursionError):
        return None
    for document in documents:
        info = document.get("system_info")
        user = info.get("default_user") if isinstance(info, dict) else None
        if isinstance(user, dict) and isinstance(user.get("name"), str):
            name = user["name"]
    return name


def _inside(machine: Machine, script: str, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    command = machine.command(
        ["env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "sh", "-ec", script, "sh", *arguments]
    )
    try:
        return subprocess.run(
            command, cwd="/", env=HOST_ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, check=False,
            timeout=_PATIENCE_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:  # an image may have a file there that nobody ever writes
        told = f"that took more than {_PATIENCE_SECONDS} seconds".encode()
        return subprocess.CompletedProcess(command, 124, b"", told)
