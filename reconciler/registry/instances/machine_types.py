"""The smallest instance types that an image boots on, where nobody asked for others."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.errors import UserError

if TYPE_CHECKING:
    from mypy_boto3_ec2.type_defs import ImageTypeDef

# All on Nitro but t2, which is on Xen and the one that needs no ENA driver in the image and boots no UEFI
# (EC2 User Guide, "Instances built on the Nitro System" and "Boot modes").
_NITRO = {"x86_64": ("t3.micro", "t3a.micro"), "arm64": ("t4g.micro", "t4g.small", "m7g.medium", "m6g.medium")}
_XEN = {"x86_64": ("t2.micro",), "i386": ("t2.micro", "t2.small")}


def smallest(image: ImageTypeDef) -> tuple[str, ...]:
    """The types to try, the cheapest first. Raises UserError for an architecture that has no small machine."""
    architecture = image.get("Architecture", "")
    nitro = _NITRO.get(architecture, ()) if image.get("EnaSupport") else ()
    xen = _XEN.get(architecture, ()) if image.get("BootMode") != "uefi" else ()
    if not nitro and not xen:
        raise UserError(
            f"no small instance type is known for {image['ImageId']} ({architecture or 'no architecture'})",
            mend="name one: `smoke_test.instance_type` in image.yaml",
        )
    return nitro + xen
