"""Secrets are taken out of text, and nothing else is."""

from __future__ import annotations

import base64

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.build.redact import LONGEST_SHOWN, LineRedactor, redactor

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


@pytest.mark.parametrize(
    ("secret", "spelled"),
    [
        ('s3,cr%et"x', 's3%!(PACKER_COMMA)cr%et"x'),
        ('s3,cr%et"x', 's3%!(PACKER_COMMA)cr%et\\"x'),
        ("first\nx,y", "first\\nx%!(PACKER_COMMA)y"),
        ("first\r\nx,y", "first\\r\\nx%!(PACKER_COMMA)y"),
        ("it's<that>", "it'\"'\"'s<that>"),
        ("it's<that>", "it'\\''s<that>"),
        ("it's<that>", "it's\\u003cthat\\u003e"),
    ],
)
def test_a_secret_is_found_as_packers_log_the_shell_and_go_spell_it(secret: str, spelled: str) -> None:
    assert redactor([secret])(f"1,,ui,say,[{spelled}]") == "1,,ui,say,[<redacted>]"


@unhurried
@given(st.integers(0, 40), st.sampled_from([0, 7]))
def test_no_half_of_a_secret_is_left_where_a_line_is_cut(offset: int, left_out: int) -> None:
    secret = "hunter2-and-a-long-tail"
    redact = redactor([secret])
    text = "." * (LONGEST_SHOWN - offset) + secret + "." * (5000 if not left_out else 0)

    shown = redact(redact.shortened(text, left_out=left_out))

    assert "hunter2" not in shown
    assert shown.endswith("more characters)")


def test_what_is_cut_off_is_counted_and_a_line_of_common_length_is_whole() -> None:
    redact = redactor(())
    whole = "." * LONGEST_SHOWN

    assert redact.shortened(whole) == whole
    assert redact.shortened("." * 100_000, left_out=5) == f"{whole} … ({100_005 - LONGEST_SHOWN} more characters)"


def test_of_a_line_that_is_cut_inside_of_a_secret_longer_than_all_that_is_shown_nothing_is_left() -> None:
    secret = "s" * (2 * LONGEST_SHOWN)

    assert redactor([secret]).shortened(secret[:-1], left_out=1) == f" … ({2 * LONGEST_SHOWN} more characters)"


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
