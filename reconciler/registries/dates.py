"""What time it is where artifacts are, by what answers over HTTP carry."""

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
