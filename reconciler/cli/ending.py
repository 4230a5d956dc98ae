"""Whether this command was told to end: what waits, or reads, in another thread than the main one asks it."""

from __future__ import annotations

import threading

TOLD_TO_END = threading.Event()
