"""What is tried where, when EC2 has no room, and what is said when it has none anywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.model.errors import ReconcilerError, Transient, UserError

NOT_OFFERED = "Unsupported"
"""The zone has no such type at all."""
FULL_HERE = frozenset({
    NOT_OFFERED, "InsufficientFreeAddressesInSubnet", "InsufficientHostCapacity", "InsufficientInstanceCapacity",
})  # fmt: skip
"""Another zone may do. Codes as in the EC2 API reference."""
QUOTA_REACHED = frozenset({"InstanceLimitExceeded", "VcpuLimitExceeded"})
"""No other zone will do, as a quota counts for the region. Another type may have one of its own."""


@dataclass(frozen=True)
class Place:
    """Where an instance may start. No subnet: EC2 chooses the zone, within the default VPC."""

    subnet: str | None = None
    zone: str = ""

    def __str__(self) -> str:
        """`subnet-1 (us-east-1a)`, or `a zone that EC2 chose`."""
        if self.subnet is None:
            return "a zone that EC2 chose"
        return f"{self.subnet} ({self.zone})" if self.zone else self.subnet


EC2_CHOOSES = Place()


@dataclass(frozen=True)
class Refusal:
    """One try that EC2 had no room for."""

    type: str
    place: Place
    code: str


def exhausted(refusals: Sequence[Refusal], *, doing: str) -> ReconcilerError:
    """The error for when everything was tried: Transient, unless the types are simply not to be had there."""
    tried = "; ".join(
        f"{kind}: {', '.join(_by_code([one for one in refusals if one.type == kind]))}"
        for kind in dict.fromkeys(one.type for one in refusals)
    )
    codes = {one.code for one in refusals}
    if codes == {NOT_OFFERED}:
        return UserError(
            f"{doing}: no such instance type is offered there ({tried})",
            mend="name others: `smoke_test.instance_type` in image.yaml",
        )
    mend = ["a later run tries again; more types or subnets: `smoke_test.instance_type`, `smoke_test.subnets`"]
    if not codes.isdisjoint(QUOTA_REACHED):
        mend.append("end instances that nobody needs, or ask AWS for a higher quota")
    return Transient(f"{doing}: EC2 has no room ({tried})", mend=mend)


def _by_code(refusals: Sequence[Refusal]) -> list[str]:
    # A region has up to six zones: told by their code once, not one by one.
    return [
        f"{code} in {', '.join(str(one.place) for one in refusals if one.code == code)}"
        for code in dict.fromkeys(one.code for one in refusals)
    ]
