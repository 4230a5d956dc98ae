"""GitHub as it fails: limits, refusals, moves, and a network that is down."""

from __future__ import annotations

import json
import socket
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from reconciler.announce.access import RetryPolicy
from reconciler.announce.github_api import Dispatch, GitHub
from reconciler.announce.pull_request import PullRequest
from reconciler.model.announcement import Announcement
from reconciler.model.errors import Terminal, Transient

if TYPE_CHECKING:
    from tests.integration.announce.conftest import Receiver

TOKEN = "ghs_secret"


def github(url: str, *, variable: str = "GITHUB_TOKEN") -> GitHub:
    environment = {variable: TOKEN, "GITHUB_API_URL": url}
    return GitHub(environment, policy=RetryPolicy(base=0), seconds_between_writes=0)


def said(message: str) -> bytes:
    return json.dumps({"message": message, "documentation_url": "https://docs.github.com"}).encode()


def repository(receiver: Receiver) -> bytes:
    return json.dumps({"url": f"{receiver.url}/repos/acme/images", "full_name": "acme/images"}).encode()


@pytest.mark.parametrize("variable", ["GITHUB_TOKEN", "RECONCILER_GITHUB_TOKEN"])
def test_a_token_that_is_refused_is_named_by_its_variable(variable: str, receiver: Receiver) -> None:
    receiver.answers(401, body=said("Bad credentials"))

    with pytest.raises(Terminal, match="Bad credentials") as caught:
        PullRequest("acme/images", github(receiver.url, variable=variable)).is_open(1)

    assert f"the token in {variable}" in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_our_own_token_goes_before_the_jobs(receiver: Receiver) -> None:
    receiver.answers(401)
    environment = {"GITHUB_TOKEN": "the-job's", "RECONCILER_GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": receiver.url}

    with pytest.raises(Terminal):
        PullRequest("acme/images", GitHub(environment)).is_open(1)

    assert receiver.received[0].headers["authorization"].split()[-1] == TOKEN


def test_without_a_token_nothing_is_asked(receiver: Receiver) -> None:
    with pytest.raises(Terminal, match="RECONCILER_GITHUB_TOKEN and GITHUB_TOKEN are not set"):
        PullRequest("acme/images", GitHub({"GITHUB_API_URL": receiver.url})).is_open(1)

    assert receiver.received == []


def test_the_token_does_not_travel_in_the_clear() -> None:
    with pytest.raises(Terminal, match="no https:// address"):
        PullRequest("acme/images", github("http://github.example.org")).is_open(1)


@pytest.mark.parametrize("status", [403, 404])
def test_a_missing_permission_is_named(status: int, receiver: Receiver) -> None:
    receiver.answers(200, body=repository(receiver))
    receiver.answers(200, body=b'{"statuses": []}')
    receiver.answers(status, body=said("Resource not accessible by integration"))

    with pytest.raises(Terminal, match="setting the status of web on 9c0d1e2f") as caught:
        PullRequest("acme/images", github(receiver.url)).set_status("9c0d1e2f", "web", state="success", description="")

    assert "needs the permission `statuses: write`" in str(caught.value)


@pytest.mark.parametrize(
    ("status", "message", "headers", "when"),
    [
        (403, "You have exceeded a secondary rate limit.", {"Retry-After": "3600"}, "not before 3600 s from now"),
        (429, "Too many requests", {"Retry-After": "60"}, "not before 60 s from now"),
        (
            403,
            "API rate limit exceeded for installation ID 1.",
            {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1795342530"},
            "not before 10:15:30 UTC",
        ),
        (403, "You have exceeded a secondary rate limit.", {}, "not before a minute from now"),
    ],
)
def test_a_limit_is_told_with_its_end_and_not_waited_for(
    status: int, message: str, headers: dict[str, str], when: str, receiver: Receiver
) -> None:
    receiver.answers(status, headers=headers, body=said(message))

    with pytest.raises(Transient, match=when):
        PullRequest("acme/images", github(receiver.url)).is_open(1)

    assert len(receiver.received) == 1


def test_a_request_that_is_refused_is_told_with_githubs_reason(receiver: Receiver, news: Announcement) -> None:
    reason = {"message": "Validation Failed", "errors": [{"field": "client_payload", "code": "too_large"}]}
    receiver.answers(200, body=repository(receiver))
    receiver.answers(422, body=json.dumps(reason).encode())

    with pytest.raises(Terminal, match="Validation Failed: client_payload too_large"):
        Dispatch("acme/images", github(receiver.url)).announce(news)


def test_a_dispatch_that_is_refused_is_no_success(receiver: Receiver, news: Announcement) -> None:
    receiver.answers(200, body=repository(receiver))
    receiver.answers(403, body=said("Resource not accessible by personal access token"))

    with pytest.raises(Terminal, match="`contents: write`"):
        Dispatch("acme/images", github(receiver.url)).announce(news)


@pytest.mark.parametrize("status", [500, 502, 503])
def test_a_read_is_tried_again_when_github_is_broken(status: int, receiver: Receiver) -> None:
    receiver.answers(status, body=b"<html>Unicorn!</html>")

    with pytest.raises(Transient, match="githubstatus"):
        PullRequest("acme/images", github(receiver.url)).is_open(1)

    assert len(receiver.received) == 3


def test_a_write_is_not_repeated_since_it_may_have_been_heard(receiver: Receiver, news: Announcement) -> None:
    receiver.answers(200, body=repository(receiver))
    receiver.answers(502, body=b"")

    with pytest.raises(Transient):
        Dispatch("acme/images", github(receiver.url)).announce(news)

    assert [got.method for got in receiver.received] == ["GET", "POST"]


def test_a_github_that_is_not_there_is_transient() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(Transient, match="can't be reached"):
        PullRequest("acme/images", github(f"http://127.0.0.1:{port}")).is_open(1)


BEGUN = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000000000\r\n\r\n"


@pytest.mark.parametrize(
    ("piece", "what"), [(b"x", "takes longer than 0.5 s"), (b"x" * 65536, "more than 33,554,432 bytes")]
)
def test_an_answer_that_never_ends_is_given_up(piece: bytes, what: str) -> None:
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            there, _ = server.accept()
            with there, suppress(OSError):
                there.sendall(BEGUN)
                for _ in range(150 if piece == b"x" else 1000):  # the end of one that was not given up
                    there.sendall(piece)
                    if over.wait(0.02 if piece == b"x" else 0):
                        break

        answering = threading.Thread(target=answer)
        answering.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        policy = RetryPolicy(tries=1, timeout=10, whole=0.5 if piece == b"x" else 60)
        try:
            with pytest.raises(Transient, match=what):
                PullRequest(
                    "acme/images", GitHub({"GITHUB_TOKEN": TOKEN, "GITHUB_API_URL": url}, policy=policy)
                ).is_open(1)
        finally:
            over.set()
            answering.join()


def test_a_redirect_to_another_host_is_not_followed(receiver: Receiver) -> None:
    receiver.answers(301, headers={"Location": "http://elsewhere.example.org/repos/1"})

    with pytest.raises(Terminal, match="GITHUB_API_URL"):
        PullRequest("acme/images", github(receiver.url)).is_open(1)

    assert len(receiver.received) == 1


@pytest.mark.parametrize("where", ["http://[", "//[x/", "http://[0]/", "http://h:x/"])
@pytest.mark.parametrize("status", [301, 302, 307])
def test_a_redirect_to_what_is_no_address_ends_no_run(receiver: Receiver, status: int, where: str) -> None:
    receiver.answers(status, headers={"Location": where})

    with pytest.raises((Terminal, ValueError)) as caught:
        PullRequest("acme/images", github(receiver.url)).is_open(1)

    assert isinstance(caught.value, Terminal)
    assert "GITHUB_API_URL" in str(caught.value)


def test_a_renamed_repository_is_written_to_by_its_new_name(receiver: Receiver, news: Announcement) -> None:
    receiver.answers(301, headers={"Location": f"{receiver.url}/repositories/1"})
    receiver.answers(200, body=json.dumps({"url": f"{receiver.url}/repos/acme/renamed"}).encode())
    receiver.answers(204, body=b"")

    Dispatch("acme/images", github(receiver.url)).announce(news)

    assert receiver.received[-1].path == "/repos/acme/renamed/dispatches"
