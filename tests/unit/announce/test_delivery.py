from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reconciler.announce.access import Credential, RetryPolicy, credential
from reconciler.announce.delivery import retry_after
from reconciler.model.errors import Terminal
from reconciler.model.text import shown_url

NOW = datetime(2026, 11, 22, 10, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("0", 0.0),
        (" 120 ", 120.0),
        ("Sun, 22 Nov 2026 10:16:30 GMT", 60.0),
        ("Sun, 22 Nov 2026 10:16:30 -0000", 60.0),
        ("Sun, 22 Nov 2026 10:00:00 GMT", 0.0),
        ("-5", None),
        ("soon", None),
        ("Sun, 22 Nov 99999999999999999999 10:16:30 GMT", None),
        ("Sun, 22 Nov 2026 10:16:30 +99999999999999", None),
        ("٣", None),
        ("", None),
        (None, None),
    ],
)
def test_a_pause_is_read_as_seconds_or_as_a_date(header: str | None, seconds: float | None) -> None:
    assert retry_after(header, now=NOW) == seconds


def test_pauses_double_up_to_the_longest_and_are_drawn_by_chance() -> None:
    policy = RetryPolicy(base=1, longest_pause=5, chance=lambda: 1.0)

    assert [policy.pause(failures) for failures in range(1, 5)] == [1.0, 2.0, 4.0, 5.0]
    assert RetryPolicy(chance=lambda: 0.0).pause(3) == 0.0


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://hooks.example.org:8443/a/b?token=s3cret#x", "https://hooks.example.org:8443/a/b"),
        ("https://user:s3cret@hooks.example.org/a", "https://hooks.example.org/a"),
        ("/relative", ""),
        ("", ""),
        ("https://[", ""),
        ("//[0]/", ""),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, shown: str) -> None:
    assert shown_url(url) == shown


def test_the_first_variable_that_holds_something_is_taken() -> None:
    assert credential({"A": " ", "B": " x\n"}, "A", "B", purpose="token") == Credential("B", "x")


@pytest.mark.parametrize("value", ["two\nlines", "tökén"])
def test_what_could_not_stand_in_a_header_is_refused_and_not_shown(value: str) -> None:
    with pytest.raises(Terminal, match="A holds") as caught:
        credential({"A": value}, "A", purpose="token")

    assert value not in str(caught.value)


def test_a_credential_does_not_print_its_value() -> None:
    assert "s3cret" not in repr(Credential("A", "s3cret"))
