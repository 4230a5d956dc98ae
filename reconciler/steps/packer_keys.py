"""The temporary keys that Packer logs in with: which ones they were, so that a test can tell them from anybody else's.

A cloud makes such a key for one build, and Packer has its private half in memory alone. The public half stays in every
image whose template does not remove it, and opens nothing. Its name and its comment are no proof of that: whoever
writes into a build can give any key the same ones. So the cloud is asked for the public half while the
key pair is there.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reconciler.model import events
from reconciler.model.errors import ReconcilerError
from reconciler.model.events import Listener
from reconciler.model.fleet import Image
from reconciler.model.lockfile import Build, Lockfile
from reconciler.model.public_key import fingerprints
from reconciler.plan.tags import own
from reconciler.ports.bench import Instances
from reconciler.ports.registry import Registry

KEY_TAG = "packer-key"
"""On the artifacts of a build that could not be tested yet: a later run has no other way to know the key."""

_CLOCKS_DIFFER = timedelta(minutes=5)
_LATE_SECONDS = 30.0
"""For the answer, at the end of a build that was over before it came."""


@dataclass
class PackerKeys:
    """Fingerprints of Packer's keys by the id of the build that holds them. Shared by the threads of a run."""

    _known: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, build: Build) -> None:
        """Take note of the keys that a test found in a build: they are in whatever is built on it, too."""
        found = build.smoke_test.findings if build.smoke_test is not None else ()
        self.add(build.id, (key for finding in found for key in finding.keys))

    def note_all(self, lock: Lockfile) -> None:
        """Take note of all that is recorded of an image."""
        for build in lock.builds:
            self.note(build)

    def add(self, build_id: str, keys: Iterable[str]) -> None:
        """Take note of keys that a build may hold."""
        with self._lock:
            self._known[build_id].update(keys)

    def of(self, build_id: str | None) -> frozenset[str]:
        """The keys of a build; empty where none is known."""
        with self._lock:
            return frozenset(self._known.get(build_id or "", ()))


def may_stay(image: Image) -> bool:
    """Whether Packer's key stays in the image for all that its template says."""
    return any(not builder.clears_keys for builder in image.template.builders)


def keep(registry: Registry, build: Build, keys: frozenset[str]) -> None:
    """Write a build's keys on its artifacts, for the run that tests it; where that fails, they will be anybody's."""
    for artifact in build.artifacts if keys else ():
        with suppress(ReconcilerError):
            registry.tag(artifact, own(**{KEY_TAG: " ".join(sorted(keys))}))


class KeyWatch:
    """Asks for the public half of the key pair that a build logs in with, while it is there, beside the build."""

    def __init__(self, instances: Instances | None, image: Image, *, since: datetime, listener: Listener) -> None:
        """Without `instances` nothing is asked, and no key is known. `since` is when the build began."""
        self._instances, self._image, self._listener = instances, image, listener
        self._since = since - _CLOCKS_DIFFER
        self._asking: list[threading.Thread] = []
        self._found: set[str] = set()

    def ask(self, key_pair: str) -> None:
        """Begin to ask for a key pair, by its name."""
        if self._instances is None:
            return
        # A daemon: nobody waits for an answer that a broken line holds up for minutes.
        asking = threading.Thread(target=self._ask, args=(self._instances, key_pair), daemon=True)
        self._asking.append(asking)
        asking.start()

    def keys(self) -> frozenset[str]:
        """The fingerprints of what was answered."""
        for asking in self._asking:
            asking.join(_LATE_SECONDS)
        return frozenset(self._found)

    def _ask(self, instances: Instances, key_pair: str) -> None:
        try:
            public = instances.public_key(self._image.build_location, key_pair, since=self._since)
        except ReconcilerError as error:
            self._warn(error.what)
            return
        if public is None:
            self._warn(f"by the time it was asked for, there was no key pair {key_pair} of this build")
        self._found.update(fingerprints(public or ""))

    def _warn(self, why: str) -> None:
        what = f"Packer's temporary key is not known, so the test takes it for anybody's: {why}"
        self._listener(events.Warned(image=self._image.name, what=what))
