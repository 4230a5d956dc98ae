from __future__ import annotations

from typing import Any

import pytest

from reconciler.model.errors import UserError
from reconciler.registries.ec2.launch import smallest


@pytest.mark.parametrize(
    ("image", "types"),
    [
        ({"Architecture": "x86_64", "EnaSupport": True}, ("t3.micro", "t3a.micro", "t2.micro")),
        ({"Architecture": "x86_64", "EnaSupport": True, "BootMode": "uefi"}, ("t3.micro", "t3a.micro")),
        ({"Architecture": "x86_64"}, ("t2.micro",)),
        ({"Architecture": "i386"}, ("t2.micro", "t2.small")),
        ({"Architecture": "arm64", "EnaSupport": True}, ("t4g.micro", "t4g.small", "m7g.medium", "m6g.medium")),
    ],
    ids=["x86", "uefi", "without ENA", "i386", "arm"],
)
def test_the_smallest_types_that_fit_are_taken(image: Any, types: tuple[str, ...]) -> None:
    assert smallest(image | {"ImageId": "ami-1"}) == types


@pytest.mark.parametrize("architecture", ["arm64_mac", ""])
def test_what_fits_no_small_type_is_the_persons_to_name(architecture: Any) -> None:
    with pytest.raises(UserError, match="no small instance type is known for ami-1"):
        smallest({"ImageId": "ami-1", "Architecture": architecture, "EnaSupport": True})
