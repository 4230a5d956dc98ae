"""Upstream images: what Debian, Canonical and others publish, in every region, and what SSM says is the newest.

Ids and dates are made from the names, so that every sandbox has the same ones. What is on their disks is the sandbox's
own Debian in all of them, with the login user of each publisher: the names are what templates ask for.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from reconciler.model.errors import UserError
from reconciler.sandbox.storage import Chain

Listener = Callable[["Upstream"], None]


@dataclass(frozen=True)
class Publisher:
    """Who publishes images under a prefix, as whom to log in, and the SSM parameter that names the newest."""

    prefix: str
    owner: str
    user: str
    parameter: str | None
    """None where the publisher keeps none."""
    root_device: str
    alias: str | None = None
    """What EC2 calls the owner beside its account: `amazon`."""


@dataclass(frozen=True)
class Upstream:
    """One published image; it has another id in each region."""

    name: str
    created: datetime
    publisher: Publisher
    layers: Chain | None = None
    """What is on its disk; None where that is what every image of its publisher holds."""

    def id_in(self, region: str) -> str:
        """Its AMI id in a region."""
        digest = hashlib.sha256(f"{region}/{self.name}".encode()).hexdigest()
        return f"ami-{digest[:17]}"


def _debian(release: int) -> Publisher:
    # https://wiki.debian.org/Cloud/AmazonEC2Image
    return Publisher(
        prefix=f"debian-{release}-amd64-",
        owner="136693071363",
        user="admin",
        parameter=f"/aws/service/debian/release/{release}/latest/amd64",
        root_device="/dev/xvda",
    )


def _ubuntu(version: str, series: str, *, volume: str = "ssd") -> Publisher:
    # https://documentation.ubuntu.com/aws/aws-how-to/instances/find-ubuntu-images/
    disk = "ebs-gp3" if volume == "ssd-gp3" else "ebs-gp2"
    return Publisher(
        prefix=f"ubuntu/images/hvm-{volume}/ubuntu-{series}-{version}-amd64-server-",
        owner="099720109477",
        user="ubuntu",
        parameter=f"/aws/service/canonical/ubuntu/server/{version}/stable/current/amd64/hvm/{disk}/ami-id",
        root_device="/dev/sda1",
    )


def _amazon(prefix: str, parameter: str) -> Publisher:
    # https://docs.aws.amazon.com/linux/al2023/ug/ec2.html
    return Publisher(
        prefix=prefix,
        owner="137112412989",
        user="ec2-user",
        parameter=f"/aws/service/ami-amazon-linux-latest/{parameter}",
        root_device="/dev/xvda",
        alias="amazon",
    )


PUBLISHERS = (
    _debian(11),
    _debian(12),
    _debian(13),
    _ubuntu("20.04", "focal"),
    _ubuntu("22.04", "jammy"),
    _ubuntu("24.04", "noble", volume="ssd-gp3"),
    _amazon("al2023-ami-2023.", "al2023-ami-kernel-default-x86_64"),
    _amazon("amzn2-ami-hvm-2.0.", "amzn2-ami-hvm-x86_64-gp2"),
    Publisher("RHEL-9.", owner="309956199498", user="ec2-user", parameter=None, root_device="/dev/sda1"),
    Publisher("Rocky-9-EC2-Base-9.", owner="792107900819", user="rocky", parameter=None, root_device="/dev/sda1"),
)

_AT_START = (
    "debian-11-amd64-20261101-1234",
    "debian-12-amd64-20261101-1234",
    "debian-13-amd64-20261101-1234",
    "ubuntu/images/hvm-ssd/ubuntu-focal-20.04-amd64-server-20261101",
    "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20261101",
    "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20261101",
    "al2023-ami-2023.9.20261101.0-kernel-6.1-x86_64",
    "amzn2-ami-hvm-2.0.20261101.0-x86_64-gp2",
    "RHEL-9.6.0_HVM-20261101-x86_64-0-Hourly2-GP3",
    "Rocky-9-EC2-Base-9.6-20261101.0.x86_64",
)


class Catalogue:
    """All published images, and those who want to know of new ones."""

    def __init__(self) -> None:
        self._published: list[Upstream] = []
        self._listeners: list[Listener] = []
        for name in _AT_START:
            self.publish(name)

    def publish(
        self, name: str, *, created: datetime | None = None, prepare: Callable[[Publisher], Chain | None] | None = None
    ) -> Upstream:
        """Publish an image in every region.

        `created` defaults to six in the morning of the date in the name. `prepare` makes its disk, once it is known
        that it may be published.

        Raises:
            UserError: nobody publishes under such a name, it is taken, or it has no date and `created` is absent.
        """
        publisher = next((publisher for publisher in PUBLISHERS if name.startswith(publisher.prefix)), None)
        if publisher is None:
            prefixes = ", ".join(f"{publisher.prefix}…" for publisher in PUBLISHERS)
            raise UserError(f"no upstream publishes {name!r} in the sandbox", hint=f"names start with {prefixes}")
        if any(image.name == name for image in self._published):
            raise UserError(f"{name!r} is published already", hint="choose a later date in the name")
        created = created or _date_in(name)
        image = Upstream(name, created, publisher, layers=prepare(publisher) if prepare is not None else None)
        self._published.append(image)
        for listener in self._listeners:
            listener(image)
        return image

    def follow(self, listener: Listener) -> None:
        """Tell `listener` of all that is published already, and of what will be."""
        for image in self._published:
            listener(image)
        self._listeners.append(listener)

    def newest(self, publisher: Publisher) -> Upstream:
        """What the publisher's SSM parameter points to."""
        return max(
            (image for image in self._published if image.publisher == publisher), key=lambda image: image.created
        )


def install_parameters(catalogue: Catalogue) -> None:
    """Let SSM answer for the catalogue. moto knows such parameters for Amazon's own images only."""
    from moto.ssm.models import Parameter, ParameterDict  # noqa: PLC0415  moto takes half a second to import

    by_parameter = {publisher.parameter: publisher for publisher in PUBLISHERS if publisher.parameter}
    check = ParameterDict._check_loading_status  # noqa: SLF001  where moto loads such parameters on first use

    def check_loading_status(self: Any, key: str) -> None:
        check(self, key)
        publisher = by_parameter.get(str(key))
        if publisher is None:
            return
        image = catalogue.newest(publisher)
        versions = dict.setdefault(self, key, [])
        if not versions or versions[-1].value != image.id_in(self.region_name):
            versions.append(
                Parameter(  # type: ignore[abstract]  # moto makes them so too
                    account_id=self.account_id,
                    name=key,
                    value=image.id_in(self.region_name),
                    parameter_type="String",
                    description=None,
                    allowed_pattern=None,
                    keyid=None,
                    last_modified_date=image.created,
                    version=len(versions) + 1,
                    data_type="aws:ec2:image",
                )
            )

    ParameterDict._check_loading_status = check_loading_status  # type: ignore[method-assign]  # noqa: SLF001  see above


def _date_in(name: str) -> datetime:
    found = re.search(r"[-.](\d{8})(?:[-.]|$)", name)
    if found is None:
        raise UserError(f"{name!r} has no date in it", hint="name it like debian-12-amd64-20261101-1234")
    return datetime.strptime(found.group(1), "%Y%m%d").replace(hour=6, tzinfo=UTC)
