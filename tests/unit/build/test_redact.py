"""Secrets are taken out of text, and nothing else is."""

from __future__ import annotations

import base64

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.build.redact import LineRedactor, redactor

# No time limits: the machine may be busy.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\nabcdef==\n-----END RSA PRIVATE KEY-----"


@unhurried
@given(st.text(min_size=4).map(str.strip).filter(lambda text: len(text) >= 4), st.text(), st.text())
def test_a_known_secret_is_nowhere_in_the_text(secret: str, before: str, after: str) -> None:
    redacted = redactor([secret])(before + secret + after)

    assert secret not in redacted.replace("<redacted>", "\0")


@unhurried
@given(st.text())
def test_redacting_twice_is_redacting_once(text: str) -> None:
    redact = redactor(["hunter2value"])

    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    "spelled", ['p"ss w\\rd', r"p\"ss w\\rd", "p%22ss%20w%5Crd", base64.b64encode(b'p"ss w\\rd').decode()]
)
def test_a_secret_is_found_as_json_urls_and_headers_spell_it(spelled: str) -> None:
    assert redactor(['p"ss w\\rd'])(f"<{spelled}>") == "<<redacted>>"


@pytest.mark.parametrize(
    "spelled", ["toksecret-Ab9+%2Fx", "toksecret-Ab9+%2fx", "toksecret-Ab9%20%2Fx", "toksecret-Ab9%20%2fx"]
)
def test_a_secret_is_found_as_forms_and_urlencode_spell_it(spelled: str) -> None:
    assert redactor(["toksecret-Ab9 /x"])(f"t={spelled}&u=1") == "t=<redacted>&u=1"


def test_a_megabyte_without_a_blank_is_read_once() -> None:
    # Looked through anew from each of its letters, this line would take half an hour.
    line = "x" * 1_000_000

    assert redactor(["hunter2value"])(f"{line}https://me:pass@example.org hunter2value") == (
        f"{line}https://<redacted>@example.org <redacted>"
    )


def test_a_secret_that_is_not_unicode_is_redacted() -> None:
    assert redactor(["caf\udce9-secret"])("caf%E9-secret") == "<redacted>"


def test_each_line_of_a_secret_is_one() -> None:
    assert redactor(["first line\nsecond line\n"])("-> second line") == "-> <redacted>"


def test_the_longer_of_two_secrets_is_replaced_whole() -> None:
    assert redactor(["hunter2", "hunter2value"])("hunter2value") == "<redacted>"


def test_a_short_secret_is_replaced_only_where_it_stands_alone() -> None:
    redact = redactor(["us"])

    assert redact("us-east-1:ami-0abus") == "us-east-1:ami-0abus"
    assert redact('us, "us" key=us') == '<redacted>, "<redacted>" key=<redacted>'


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("clone https://me:pass@example.org/x", "clone https://<redacted>@example.org/x"),
        (f"aws_secret_access_key = {KEY}", "aws_secret_access_key = <redacted>"),
        (f'"SecretAccessKey": "{KEY}"', '"SecretAccessKey": "<redacted>"'),
        (f"AKIAIOSFODNN7EXAMPLE {KEY}", "AKIAIOSFODNN7EXAMPLE <redacted>"),
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer <redacted>"),
        (f"key: {PEM} end", "key: <redacted> end"),
        ("token ghp_" + "a1" * 18, "token <redacted>"),
    ],
)
def test_what_has_the_shape_of_a_secret_is_replaced(text: str, shown: str) -> None:
    assert redactor([])(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "AMI: ami-2ac40ac508b14a185",
        "AKIAIOSFODNN7EXAMPLE is not authorized",
        "https://example.org/a@b",
        "commit 3f9c2aa0123456789012345678901234567890ab",
        "-----BEGIN CERTIFICATE-----",
    ],
)
def test_what_only_looks_a_little_like_a_secret_stays(text: str) -> None:
    assert redactor([])(text) == text


def test_a_key_that_comes_line_by_line_is_followed_for_each_build() -> None:
    redact = LineRedactor(redactor([]))
    lines = [("a", line) for line in f"before\n{PEM}\nafter".splitlines()]
    mixed = [pair for line in lines for pair in (line, ("b", "not a key"))]

    shown = [redact(line, build=build) for build, line in mixed]

    assert shown[0::2] == ["before", "<redacted>", "<redacted>", "<redacted>", "<redacted>", "after"]
    assert set(shown[1::2]) == {"not a key"}


def test_a_key_without_an_end_does_not_hide_the_rest_of_a_build_for_ever() -> None:
    redact = LineRedactor(redactor([]))
    redact("-----BEGIN PRIVATE KEY-----")

    shown = [redact("line") for _ in range(1000)]

    assert shown[0] == "<redacted>"
    assert shown[-1] == "line"
