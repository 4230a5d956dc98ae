from __future__ import annotations

import pytest

from reconciler.announce.assembly import Untold, tell
from reconciler.model.announcement import Announcement, RecordedImage, announcement
from reconciler.model.errors import Terminal, Transient
from reconciler.model.lockfile import Build

DOWN = Transient("down")


def news_of(image: str) -> Announcement:
    build = Build(
        id="20261122T101530Z-1a2b3c4", key="k", components={}, commit="9c0d1e2", artifacts=(), phase="candidate"
    )
    return announcement("candidate", build, of=RecordedImage("f", image, "main", None, "l"), previous=None)


BASE, WEB = news_of("base"), news_of("web")


class Fake:
    """An announcer that fails for some images."""

    def __init__(self, name: str, fails: dict[str, Exception]) -> None:
        self.name = name
        self.heard: list[str] = []
        self._fails = fails

    def announce(self, what: Announcement) -> None:
        self.heard.append(what.image)
        if what.image in self._fails:
            raise self._fails[what.image]


def test_everybody_is_told_everything_in_order() -> None:
    one, other = Fake("one", {}), Fake("other", {})

    assert tell([one, other], [BASE, WEB]) == ()
    assert one.heard == other.heard == ["base", "web"]


@pytest.mark.parametrize("error", [DOWN, Terminal("refused")])
def test_one_that_fails_is_a_value_and_stops_no_other(error: Transient | Terminal) -> None:
    broken, other = Fake("broken", {"web": error}), Fake("other", {})

    assert tell([broken, other], [BASE, WEB]) == (Untold("broken", WEB, error),)
    assert other.heard == ["base", "web"]


def test_one_that_failed_is_not_asked_again_in_this_run() -> None:
    broken = Fake("broken", {"base": DOWN})

    assert tell([broken], [BASE, WEB]) == (Untold("broken", BASE, DOWN), Untold("broken", WEB, DOWN))
    assert broken.heard == ["base"]


def test_a_fault_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        tell([Fake("broken", {"base": ZeroDivisionError()})], [BASE])
