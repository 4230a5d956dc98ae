"""Statuses, the comment and pull requests, each request held against GitHub's own description."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest

from reconciler.announce.github_api import GitHub
from reconciler.announce.pull_request import MARKER, Opened, PullRequest, State, Status
from reconciler.model.errors import Terminal
from reconciler.words.markdown import LONGEST

if TYPE_CHECKING:
    from tests.integration.announce.github.conftest import Forge

pytestmark = [pytest.mark.github]

SHA = "9c0d1e2f" * 5
SET = f"POST /repos/acme/images/statuses/{SHA}"


def test_what_githubs_description_does_not_allow_is_refused(forge: Forge, pull_request: PullRequest) -> None:
    """Or the tests here would pass for a description that forbids nothing."""
    with pytest.raises(Terminal):
        pull_request.set_status(SHA, "web", state=cast("State", "good"), description="built")

    (violation,) = forge.violations
    assert "state must be equal to one of the allowed values" in violation
    forge.violations.clear()


def again(github: GitHub) -> PullRequest:
    """As the next run sees it, which remembers nothing."""
    return PullRequest("acme/images", github)


def test_a_status_is_set(forge: Forge, pull_request: PullRequest) -> None:
    posted = pull_request.set_status(
        SHA, "web", state="pending", description="building", target_url="https://ci.example.org/1"
    )

    assert posted
    assert forge.statuses[SHA] == [
        {
            "context": "reconciler/web",
            "state": "pending",
            "description": "building",
            "target_url": "https://ci.example.org/1",
        }
    ]


def test_a_status_that_says_so_already_is_left_alone_by_this_run_and_the_next(
    forge: Forge, pull_request: PullRequest, github: GitHub
) -> None:
    for one in (pull_request, pull_request, again(github)):
        one.set_status(SHA, "web", state="success", description="built")

    assert forge.written() == [SET]


@pytest.mark.parametrize(
    "now",
    [
        Status("failure", "built", ""),
        Status("success", "adopted", ""),
        Status("success", "built", "https://ci.example.org/2"),
    ],
)
def test_a_status_that_says_something_else_is_replaced(
    now: Status, forge: Forge, pull_request: PullRequest, github: GitHub
) -> None:
    pull_request.set_status(SHA, "web", state="success", description="built")

    assert again(github).set_status(SHA, "web", state=now.state, description=now.description, target_url=now.target_url)
    assert len(forge.statuses[SHA]) == 2


def test_a_commit_is_read_once_however_many_images_it_has(forge: Forge, pull_request: PullRequest) -> None:
    for number in range(3):
        pull_request.set_status(SHA, f"image-{number}", state="success", description="built")

    assert forge.requests.count(f"GET /repos/acme/images/commits/{SHA}/status") == 1


def test_more_statuses_than_a_page_holds_are_known(forge: Forge, pull_request: PullRequest, github: GitHub) -> None:
    for number in range(101):
        forge.statuses.setdefault(SHA, []).append(
            {"context": f"reconciler/{number}", "state": "success", "description": "built", "target_url": None}
        )

    assert not pull_request.set_status(SHA, "100", state="success", description="built")


def test_a_description_is_cut_after_140_characters_and_then_known_again(
    forge: Forge, pull_request: PullRequest, github: GitHub
) -> None:
    for one in (pull_request, again(github)):
        one.set_status(SHA, "web", state="failure", description="x" * 200)

    (status,) = forge.statuses[SHA]
    assert status["description"] == "x" * 139 + "…"


def test_the_comment_is_written_once_and_then_edited_in_place(
    forge: Forge, pull_request: PullRequest, github: GitHub
) -> None:
    number = forge.open_pull()
    pull_request.comment(number, "one image will change")
    again(github).comment(number, "two images will change")

    assert forge.bodies() == [f"{MARKER}\ntwo images will change"]


def test_two_fleets_of_a_repository_have_statuses_and_comments_of_their_own(
    forge: Forge, pull_request: PullRequest, github: GitHub
) -> None:
    other, number = PullRequest("acme/images", github, folder="infra"), forge.open_pull()
    for ours, text in ((pull_request, "one"), (other, "another"), (pull_request, "one more"), (other, "the last")):
        ours.comment(number, text)
        ours.set_status(SHA, "web", state="success", description=text)

    assert forge.bodies() == [f"{MARKER}\none more", "<!-- reconciler infra -->\nthe last"]
    newest = {status["context"]: status["description"] for status in forge.statuses[SHA]}
    assert newest == {"reconciler/web": "one more", "reconciler/infra/web": "the last"}


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_comment_that_reads_the_same_is_left_alone(line_end: str, forge: Forge, pull_request: PullRequest) -> None:
    number = forge.open_pull()
    forge.write_comment(number, f"{MARKER}\none\ntwo".replace("\n", line_end))

    pull_request.comment(number, "one\ntwo\n")

    assert forge.written() == []


def test_a_comment_that_a_person_deleted_is_written_anew(
    forge: Forge, pull_request: PullRequest, github: GitHub
) -> None:
    number = forge.open_pull()
    pull_request.comment(number, "one image will change")
    forge.comments.clear()

    again(github).comment(number, "one image will change")

    assert forge.bodies() == [f"{MARKER}\none image will change"]


def test_what_others_wrote_is_not_touched(forge: Forge, pull_request: PullRequest) -> None:
    number = forge.open_pull()
    forge.write_comment(number, f"{MARKER}\nquoted", author="person")
    forge.write_comment(number, "hello")

    pull_request.comment(number, "text")

    assert forge.bodies() == [f"{MARKER}\nquoted", "hello", f"{MARKER}\ntext"]


def test_of_two_comments_that_two_runs_wrote_the_first_stays(forge: Forge, pull_request: PullRequest) -> None:
    number = forge.open_pull()
    forge.write_comment(number, f"{MARKER}\nfirst")
    forge.write_comment(number, f"{MARKER}\nsecond")

    pull_request.comment(number, "text")

    assert forge.bodies() == [f"{MARKER}\ntext"]


def test_a_comment_of_another_pull_request_is_another(forge: Forge, pull_request: PullRequest) -> None:
    one, other = forge.open_pull(), forge.open_pull("other")
    pull_request.comment(one, "one")
    pull_request.comment(other, "other")

    assert forge.bodies() == [f"{MARKER}\none", f"{MARKER}\nother"]


def test_a_comment_that_is_too_long_is_cut_in_its_middle(forge: Forge, pull_request: PullRequest) -> None:
    number = forge.open_pull()
    markdown = "begins\n" + "a line of a log\n" * 10_000 + "ends"

    pull_request.comment(number, markdown, whole="https://ci.example.org/1")

    (body,) = forge.bodies()
    assert len(body) <= LONGEST
    assert body.startswith(f"{MARKER}\nbegins\n")
    assert body.endswith("ends")
    assert "the whole is at https://ci.example.org/1" in body


def test_a_pull_request_is_open_or_not(forge: Forge, pull_request: PullRequest) -> None:
    assert pull_request.is_open(forge.open_pull())
    assert not pull_request.is_open(forge.open_pull(state="closed"))


def test_a_pull_request_that_cannot_be_seen_is_not_taken_for_closed(forge: Forge, pull_request: PullRequest) -> None:
    with pytest.raises(Terminal, match="pull-requests: read"):
        pull_request.is_open(404)


def test_a_branch_has_a_pull_request_or_none(forge: Forge, pull_request: PullRequest) -> None:
    forge.open_pull("topic", state="closed")
    number = forge.open_pull("topic")
    forge.open_pull("other")

    assert pull_request.number_for_branch("topic") == number
    assert pull_request.number_for_branch("none") is None
    assert pull_request.number_for_branch("topic", owner="forker") is None


def test_a_pull_request_is_opened_and_then_brought_up_to_date(
    forge: Forge, pull_request: PullRequest, github: GitHub
) -> None:
    opened = pull_request.open_or_update_pull_request("state", "main", title="Record web", body="one")
    updated = again(github).open_or_update_pull_request("state", "main", title="Record web", body="two")

    assert opened == Opened(1, "https://github.com/acme/images/pull/1", created=True)
    assert updated == Opened(1, "https://github.com/acme/images/pull/1", created=False)
    assert forge.pulls[1]["body"] == "two"


def test_a_pull_request_that_says_so_already_is_left_alone(
    forge: Forge, pull_request: PullRequest, github: GitHub
) -> None:
    for one in (pull_request, again(github)):
        one.open_or_update_pull_request("state", "main", title="Record web", body="one")

    assert forge.written() == ["POST /repos/acme/images/pulls"]


def test_a_pull_request_into_another_branch_is_another(forge: Forge, pull_request: PullRequest) -> None:
    forge.open_pull("state", "release")

    assert pull_request.open_or_update_pull_request("state", "main", title="t", body="b").created


def test_when_another_run_was_faster_its_pull_request_is_taken(forge: Forge, pull_request: PullRequest) -> None:
    forge.faster = {"title": "theirs"}

    opened = pull_request.open_or_update_pull_request("state", "main", title="ours", body="b")

    assert not opened.created
    assert forge.pulls[opened.number]["title"] == "ours"
