"""The clock of whoever keeps artifacts, as an answer over HTTP tells it: of EC2 and of container registries."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

from reconciler.model.values import told_moment


def told_at(headers: Mapping[str, str]) -> datetime | None:
    """When an answer was given, by its sender's clock: its Date, of headers in lower case. None where it says none."""
    try:
        return told_moment(parsedate_to_datetime(headers.get("date", "")))
    except ValueError:
        return None
