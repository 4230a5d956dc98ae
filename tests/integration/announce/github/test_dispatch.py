from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.announce.github_api import Dispatch, GitHub
from reconciler.model.announcement import Announcement

if TYPE_CHECKING:
    from tests.integration.announce.github.conftest import Forge

pytestmark = [pytest.mark.github]


def test_the_announcement_travels_under_one_key(forge: Forge, github: GitHub, news: Announcement) -> None:
    Dispatch("acme/images", github).announce(news)

    (event,) = forge.dispatched
    assert event == {"event_type": "image-candidate", "client_payload": {"announcement": news.plain()}}


def test_a_type_of_ones_own_is_sent(forge: Forge, github: GitHub, news: Announcement) -> None:
    Dispatch("acme/images", github, event_type="validate").announce(news)

    assert forge.dispatched[0]["event_type"] == "validate"


def test_a_repository_is_asked_for_once(forge: Forge, github: GitHub, news: Announcement) -> None:
    dispatch = Dispatch("acme/images", github)
    dispatch.announce(news)
    dispatch.announce(news)

    assert forge.requests.count("GET /repos/acme/images") == 1
    assert len(forge.dispatched) == 2
