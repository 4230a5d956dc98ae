"""Waiting until an instance runs and can be reached. Whether SSH answers is another's question."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.errors import ReconcilerError, Terminal, Transient
from reconciler.registry.clock import Clock, Polling
from reconciler.registry.errors import AwsError, translate
from reconciler.registry.instances.living import look_up

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ec2.type_defs import InstanceTypeDef


def wait_running(ec2: EC2Client, instance_id: str, *, timeout: float, clock: Clock, polling: Polling) -> str:
    """Wait, and return the address: the public one where there is one, else the private one, else IPv6.

    A look that fails for a passing reason is taken again until the time is over. Raises Transient after `timeout`
    seconds and where EC2 itself failed; Terminal where the instance can't run (`Client.InternalError`: the key that
    its disk is encrypted with may not be used).
    """
    began = clock.monotonic()
    for delay in polling.delays():
        waited = clock.monotonic() - began
        passing, instance = _look(ec2, instance_id)
        state = instance["State"]["Name"] if instance is not None else "not visible"
        if instance is not None and state == "running" and (address := _address(instance)):
            return address
        if instance is not None and state not in ("pending", "running"):
            raise _ended(instance, state)
        if waited >= timeout:
            without = " without an address" if state == "running" else ""
            raise Transient(f"{instance_id} is still {state}{without} after {timeout:.0f} s") from passing
        clock.sleep(min(delay, timeout - waited))
    raise AssertionError("delays never end")


def _look(ec2: EC2Client, instance_id: str) -> tuple[Transient | None, InstanceTypeDef | None]:
    try:
        return None, look_up(ec2, instance_id)
    except AwsError as error:
        ours = translate(error, doing=f"describing {instance_id}")
        if isinstance(ours, Transient):
            return ours, None
        raise ours from error


def _address(instance: InstanceTypeDef) -> str | None:
    return instance.get("PublicIpAddress") or instance.get("PrivateIpAddress") or instance.get("Ipv6Address")


def _ended(instance: InstanceTypeDef, state: str) -> ReconcilerError:
    """By EC2's reason: `Server.…` is its own fault, `Client.…` the image's or the account's (StateReason, API)."""
    reason = instance.get("StateReason", {})
    why = reason.get("Message") or "EC2 gives no reason"
    kind = Transient if reason.get("Code", "").startswith("Server.") else Terminal
    return kind(f"{instance['InstanceId']} did not start, it is {state}: {why}")
