"""Secrets are taken out of text, and nothing else is."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from reconciler.build.secrets import LONGEST_SHOWN, LineRedactor, redactor

# No time limits: the machine may be busy.
unhurried = settings(suppress_health_check=[HealthCheck.too_slow])
slow = settings(unhurried, max_examples=30)
KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1g"
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
    "spelled",
    ['pä"ss<1>', r"p\u00e4\"ss<1>", r"pä\"ss<1>", r"p\u00e4\"ss\u003c1\u003e", r"pä\"ss\u003c1\u003e"],
    ids=["as it is", "JSON in ASCII", "JSON", "Go's JSON in ASCII", "Go's JSON"],
)
def test_a_secret_is_found_however_its_json_is_escaped(spelled: str) -> None:
    assert redactor(['pä"ss<1>'])(f"said: {spelled}!") == "said: <redacted>!"


# As they are made: any text, none of it part of what stands around it.
SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=6, max_size=90)
AROUND = st.binary(max_size=5)


def packed(raw: bytes, *, urlsafe: bool, padded: bool, width: int, end: str) -> str:
    text = (base64.urlsafe_b64encode if urlsafe else base64.b64encode)(raw).decode()
    text = text if padded else text.rstrip("=")
    return end.join(text[at : at + width] for at in range(0, len(text), width)) if width else text


def left(secret: str, text: str) -> list[str]:
    """What is left of a secret's base64 in a text whose lines were joined, at whatever alignment: its pieces of six."""
    shown = re.sub(r"\\[rn]|\s", "", text).replace("-", "+").replace("_", "/").replace("<redacted>", "\0")
    pieces = []
    for shift in range(3):
        whole = base64.b64encode(bytes(shift) + secret.encode()).decode().rstrip("=")
        own = whole[(8 * shift + 5) // 6 : 8 * (shift + len(secret.encode())) // 6]
        pieces += [own[at : at + 6] for at in range(len(own) - 5)]
    return [piece for piece in pieces if piece in shown]


WAYS = st.fixed_dictionaries(
    {
        "urlsafe": st.booleans(),
        "padded": st.booleans(),
        "width": st.sampled_from([0, 20, 64, 76]),
        "end": st.sampled_from(["\n", "\r\n", "\n    ", "\\n", "\\r\\n"]),
    }
)


@unhurried
@given(SECRETS, AROUND, AROUND, WAYS)
def test_a_secret_is_found_in_base64_at_any_alignment_in_any_alphabet_and_in_lines_of_any_width(
    secret: str, before: bytes, after: bytes, way: dict[str, Any]
) -> None:
    text = packed(before + secret.encode() + after, **way)

    assert left(secret, redactor([secret])(f"auth: {text}.")) == []


@unhurried
@given(SECRETS, AROUND, WAYS, st.sampled_from(["", "    ", "\t"]))
def test_a_secret_in_base64_is_found_although_its_lines_come_one_at_a_time(
    secret: str, before: bytes, way: dict[str, Any], indent: str
) -> None:
    lines = packed(before + secret.encode(), **{**way, "end": "\n"}).splitlines()
    redact = LineRedactor(redactor([secret]))

    shown = [redact(f"{indent}{line}") for line in lines]

    # A part of seven at the end of a line is not known for one.
    assert [piece for piece in left(secret, "".join(shown)) if all(piece not in line[-7:] for line in shown)] == []


@unhurried
@given(st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=4, max_size=40), st.data())
def test_a_secret_is_found_in_a_url_whatever_of_it_is_escaped(secret: str, data: st.DataObject) -> None:
    escaped = data.draw(st.lists(st.sampled_from(["as it is", "%{:02x}", "%{:02X}"]), min_size=len(secret)))
    spelled = "".join(
        one if how == "as it is" and one != "%" else how.replace("as it is", "%{:02X}").format(ord(one))
        for one, how in zip(secret, escaped, strict=False)
    )

    around = "https://example.org/?t=", "&u=1"
    assume(all(secret not in part for part in around))  # else it is redacted there, too

    assert redactor([secret])(spelled.join(around)) == "<redacted>".join(around)


@unhurried
@given(SECRETS, st.sampled_from(["what has to be", "every character"]))
def test_a_secret_is_found_in_json_whatever_of_it_is_escaped(secret: str, escaped: str) -> None:
    units = secret.encode("utf-16-be")
    every = "".join(f"\\u{units[at] << 8 | units[at + 1]:04x}" for at in range(0, len(units), 2))
    spelled = every if escaped == "every character" else json.dumps(secret)[1:-1].replace("/", "\\/")

    assert redactor([secret])(f'{{"t": "{spelled}"}}') == '{"t": "<redacted>"}'


@pytest.mark.parametrize("width", [7, 10, 19])
def test_a_secret_that_is_broken_into_lines_is_found(width: int) -> None:
    secret = "correct-horse-battery-staple"
    lines = [secret[at : at + width] for at in range(0, len(secret), width)]

    assert redactor([secret])("\n".join(lines)) == "<redacted>"
    assert redactor([secret])("\\n".join(lines)) == "<redacted>"


def test_a_secret_that_is_broken_into_lines_is_found_although_they_come_one_at_a_time() -> None:
    redact = LineRedactor(redactor(["correct-horse-battery-staple"]))
    lines = [("a", "see: correct-horse-"), ("b", "other"), ("a", "battery-s"), ("a", "taple is it"), ("a", "taple")]

    shown = [redact(line, stream=stream) for stream, line in lines]

    assert shown == ["see: <redacted>", "other", "<redacted>", "<redacted> is it", "taple"]


def test_a_basic_login_is_found_with_whatever_user() -> None:
    for user in ("", "a", "me", "bot", "x-access-token", "admin@example.org"):
        login = base64.b64encode(f"{user}:hunter2-value".encode()).decode()
        shown = redactor(["hunter2-value"])(f"curl -H 'Proxy-Authorization: x {login}'")
        assert left("hunter2-value", shown) == []
        assert shown.endswith("<redacted>'")


def test_what_is_found_in_a_text_that_is_not_ascii_is_taken_out_where_it_stands() -> None:
    packed_twice = " é ".join([base64.b64encode(b"hunter2-value").decode()] * 2)

    assert redactor(["hunter2-value"])(f"é {packed_twice} é") == "é <redacted> é <redacted> é"


@pytest.mark.thorough
@slow
@given(st.integers(0, 60))
def test_no_half_of_a_secret_in_base64_is_left_where_a_line_is_cut(offset: int) -> None:
    secret = "hunter2-and-a-long-tail"
    redact = redactor([secret])
    text = "." * (LONGEST_SHOWN - offset) + base64.b64encode(f"me:{secret}".encode()).decode() + "." * 5000

    assert left(secret, redact(redact.shortened(text))) == []


@pytest.mark.thorough
@pytest.mark.parametrize(
    "line", [" \t", "\n", "\\n", "%41", "eyJ", "eyJ-", "eyJaaaaaaaa.eyJ", "-----BEGIN ", "a://", "QUJD"]
)
def test_a_megabyte_of_what_encodings_are_made_of_is_read_once(line: str) -> None:
    # Looked through anew from each of its characters, it would take hours.
    text = line * (1_000_000 // len(line))

    assert redactor(["hunter2value", PEM])(text) is not None


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


@slow
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
        (f"Cookie: session={JWT}; a=b", "Cookie: session=<redacted>; a=b"),
        (f'{{"id_token":"{JWT}"}}', '{"id_token":"<redacted>"}'),
        ("https://me:p/ss@example.org/x", "https://<redacted>@example.org/x"),
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
        "https://example.org:8443/a@b",
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

    shown = [redact(line, stream=stream) for stream, line in mixed]

    assert shown[0::2] == ["before", "<redacted>", "<redacted>", "<redacted>", "<redacted>", "after"]
    assert set(shown[1::2]) == {"not a key"}


def test_a_key_without_an_end_does_not_hide_the_rest_of_a_build_for_ever() -> None:
    redact = LineRedactor(redactor([]))
    redact("-----BEGIN PRIVATE KEY-----")

    shown = [redact("line") for _ in range(1000)]

    assert shown[0] == "<redacted>"
    assert shown[-1] == "line"
