"""Boots an AMI, runs a command while it is up, and leaves nothing behind.

    python3 candidate.py --region us-east-1 --ami ami-0… --folder /tmp/x -- pytest --ssh-config=/tmp/x/ssh_config …

The command's exit code is the result. 75 says that the candidate could not be booted or reached, so that nothing is
known of it. SSH reaches it as `candidate`, by the `ssh_config` that is written to the folder.
"""

from __future__ import annotations

import argparse
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

UNKNOWN = 75  # EX_TEMPFAIL of sysexits.h
PURPOSE = {"Key": "Purpose", "Value": "image-validation"}
"""On everything that is made here; iam.json lets nothing else be ended."""
_LIFE_MINUTES = 60
_SSH_SECONDS = 300
_SSH_CONFIG = """\
Host candidate
  HostName {address}
  User {user}
  IdentityFile {key}
  IdentitiesOnly yes
  BatchMode yes
  ConnectTimeout 10
  StrictHostKeyChecking accept-new
  UserKnownHostsFile {known}
"""


class Unreachable(Exception):
    """Nobody can log in."""


def main(arguments: Sequence[str]) -> int:
    """Boot, wait for SSH, run the command; return its exit code, or UNKNOWN."""
    asked = _parser().parse_args(arguments)
    # A cancelled job ends by the way that cleans up.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    ec2: Any = boto3.client("ec2", region_name=asked.region)
    try:
        with booted(ec2, asked) as address:
            config = asked.folder / "ssh_config"
            key, known = asked.folder / "key", asked.folder / "known_hosts"
            config.write_text(_SSH_CONFIG.format(address=address, user=asked.user, key=key, known=known))
            wait_for_ssh(config)
            print(f"{asked.ami} is up at {address}", flush=True)
            return run_against(config, asked.command)
    except (BotoCoreError, ClientError, Unreachable) as error:
        print(f"error: {asked.ami} in {asked.region}: {error}", file=sys.stderr)
        return UNKNOWN


@contextmanager
def booted(ec2: Any, asked: argparse.Namespace) -> Iterator[str]:
    """An instance of the AMI for as long as the block runs; the address to reach it at."""
    name = f"image-validation-{secrets.token_hex(6)}"
    with ExitStack() as cleanup:
        key = asked.folder / "key"
        made = ec2.create_key_pair(KeyName=name, KeyType="ed25519", TagSpecifications=[_tagged("key-pair")])
        cleanup.callback(ec2.delete_key_pair, KeyName=name)
        key.touch(mode=0o600)
        key.write_text(made["KeyMaterial"])
        group = _open_door(ec2, name, subnet=asked.subnet, source=asked.source)
        cleanup.callback(ec2.delete_security_group, GroupId=group)
        instance = _launch(ec2, asked, key=name, group=group)
        # The group can't go while the instance is there.
        cleanup.callback(ec2.get_waiter("instance_terminated").wait, InstanceIds=[instance])
        cleanup.callback(ec2.terminate_instances, InstanceIds=[instance])
        ec2.get_waiter("instance_running").wait(InstanceIds=[instance])
        (found,) = ec2.describe_instances(InstanceIds=[instance])["Reservations"][0]["Instances"]
        yield str(found.get("PublicIpAddress") or found["PrivateIpAddress"])


def wait_for_ssh(config: Path) -> None:
    """Return when a login works. Raises Unreachable after five minutes."""
    deadline = time.monotonic() + _SSH_SECONDS
    while not answers(config):
        if time.monotonic() > deadline:
            raise Unreachable(f"no SSH within {_SSH_SECONDS} s")
        time.sleep(3)


def run_against(config: Path, command: Sequence[str]) -> int:
    """Run the command and return its exit code. Raises Unreachable if the candidate was lost meanwhile."""
    code = subprocess.run(command, check=False).returncode
    if code != 0 and not answers(config):
        # Every test that was left then failed, and not for what is in the image.
        raise Unreachable("it was lost while the command ran")
    return code


def answers(config: Path) -> bool:
    """Whether a login works now."""
    return subprocess.run(["ssh", "-F", config, "candidate", "true"], capture_output=True, check=False).returncode == 0


def _open_door(ec2: Any, name: str, *, subnet: str | None, source: str) -> str:
    vpc = {"VpcId": ec2.describe_subnets(SubnetIds=[subnet])["Subnets"][0]["VpcId"]} if subnet else {}
    group: str = ec2.create_security_group(
        GroupName=name, Description="SSH to a candidate", TagSpecifications=[_tagged("security-group")], **vpc
    )["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": source}]}
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    return group


def _launch(ec2: Any, asked: argparse.Namespace, *, key: str, group: str) -> str:
    launched: Any = ec2.run_instances(
        ImageId=asked.ami,
        InstanceType=asked.instance_type,
        KeyName=key,
        MinCount=1,
        MaxCount=1,
        SecurityGroupIds=[group],
        TagSpecifications=[_tagged("instance"), _tagged("volume")],
        MetadataOptions={"HttpTokens": "required"},
        # If the machine that this runs on is lost, the instance ends by itself.
        InstanceInitiatedShutdownBehavior="terminate",
        UserData=f"#!/bin/sh\nshutdown -h +{_LIFE_MINUTES}\n",
        **({"SubnetId": asked.subnet} if asked.subnet else {}),
    )
    return str(launched["Instances"][0]["InstanceId"])


def _tagged(kind: str) -> dict[str, Any]:
    return {"ResourceType": kind, "Tags": [PURPOSE]}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Boot an AMI, run a command while it is up, leave nothing behind.")
    parser.add_argument("--region", required=True)
    parser.add_argument("--ami", required=True)
    parser.add_argument("--folder", required=True, type=Path, help="where the key and the ssh_config are written")
    parser.add_argument("--user", default="admin", help="whom to log in as; Debian's is admin, Ubuntu's ubuntu")
    parser.add_argument("--instance-type", default="t3.small")
    parser.add_argument("--subnet", help="default: one of the default VPC's")
    parser.add_argument("--source", default="0.0.0.0/0", help="who may try to log in; CI has no fixed address")
    parser.add_argument("command", nargs="+")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
