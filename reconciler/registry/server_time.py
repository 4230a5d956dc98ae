"""What time the registry has: it refuses requests that are signed too far from it."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from botocore.exceptions import ClientError

from reconciler.registry.errors import translated
from reconciler.registry.session import Clients


def server_time(clients: Clients, location: str) -> datetime | None:
    """EC2's clock, from the Date header of a dry-run answer, which comes even when the signature is refused."""
    with translated(f"asking the time in {location}"):
        try:
            headers = clients.ec2(location).describe_regions(DryRun=True)["ResponseMetadata"]["HTTPHeaders"]
        except ClientError as refused:
            headers = refused.response["ResponseMetadata"]["HTTPHeaders"]
    date = headers.get("date")
    return parsedate_to_datetime(date).astimezone(UTC) if date else None
