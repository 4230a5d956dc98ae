from __future__ import annotations

from reconciler.model.errors import Transient, UserError
from reconciler.registries.ec2.launch import EC2_CHOOSES, Place, Refusal, exhausted

FULL = "InsufficientInstanceCapacity"
A, B = Place("subnet-1", "us-east-1a"), Place("subnet-2", "us-east-1b")


def test_what_was_tried_is_told_by_type_and_code() -> None:
    refusals = [
        Refusal("t3.micro", EC2_CHOOSES, FULL),
        Refusal("t3.micro", A, FULL),
        Refusal("t3.micro", B, "Unsupported"),
        Refusal("t3a.micro", EC2_CHOOSES, FULL),
    ]

    error = exhausted(refusals, doing="booting ami-1 in us-east-1")

    assert type(error) is Transient
    assert error.what == (
        "booting ami-1 in us-east-1: EC2 has no room (t3.micro: InsufficientInstanceCapacity in a zone that EC2 chose, "
        "subnet-1 (us-east-1a), Unsupported in subnet-2 (us-east-1b); "
        "t3a.micro: InsufficientInstanceCapacity in a zone that EC2 chose)"
    )


def test_a_type_that_no_zone_offers_is_the_persons_to_mend() -> None:
    error = exhausted([Refusal("t9.micro", A, "Unsupported"), Refusal("t9.micro", B, "Unsupported")], doing="booting")

    assert type(error) is UserError
    assert "smoke_test.instance_type" in str(error)


def test_a_quota_that_is_reached_is_told_with_what_to_do() -> None:
    error = exhausted([Refusal("t3.micro", A, "VcpuLimitExceeded")], doing="booting")

    assert type(error) is Transient
    assert "higher quota" in str(error)
