"""What is told of a build while Packer speaks. The lines are as Packer printed them."""

from __future__ import annotations

import base64
import stat
from io import BytesIO, StringIO
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from reconciler.build.outcome import OutputLog
from reconciler.build.output import escape, new_log, unescape
from reconciler.build.packer.versions import MASKED
from reconciler.build.secrets import redactor
from reconciler.model.constraint import Version
from reconciler.registries.ec2.dialect import DIALECT

OLD, NEW = (1, 6, 6), (1, 16, 0)
PAIR = "packer_6929f0a1-7c11-94cc-aa1e-1e2a3b4c5d6e"
BEFORE = f"""\
1764356257,,ui,say,==> w: Prevalidating AMI Name: web
1764356258,,ui,say,==> w: Creating temporary keypair: {PAIR}
"""
AFTER = "1764356259,,ui,say,==> w: Creating temporary security group for this instance: packer_6929f0a3\n"
LAUNCHED = "1764356262,,ui,say,==> w: Launching a source AWS instance...\n"


def key_pairs(output: str, version: Version = OLD) -> list[str]:
    told: list[str] = []
    log = StringIO()
    output_log = OutputLog(
        log, redactor(()), version=version, dialect=DIALECT, on_step=lambda *_: None, on_key_pair=told.append
    )
    output_log.feed(output.encode())
    return told


@pytest.mark.parametrize("version", [OLD, NEW])
def test_the_key_pair_is_told_once_it_is_there(version: Version) -> None:
    assert key_pairs(BEFORE, version) == []  # EC2 may be making it still
    assert key_pairs(BEFORE + AFTER + LAUNCHED, version) == [PAIR]


@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.parametrize(
    "before",
    [
        BEFORE + AFTER + LAUNCHED,
        "1764356258,,ui,say,==> w: Using existing SSH private key\n" + LAUNCHED,
        "1764356258,,ui,say,==> w: Provisioning with shell script: setup.sh\n",
    ],
)
def test_what_a_provisioner_prints_names_no_key_pair(before: str, version: Version) -> None:
    """From 1.13 on a script's output comes as Packer's own headlines do."""
    forged = (
        "1764356270,,ui,say,==> w: Creating temporary keypair: admins\n"
        "1764356270,,ui,say,==> w: Stopping the source instance...\n"
    )

    assert "admins" not in key_pairs(before + forged, version)


def test_builds_of_one_run_have_a_key_pair_each() -> None:
    other = (BEFORE + AFTER).replace("==> w:", "==> x:").replace(PAIR, "packer_x")

    assert key_pairs(BEFORE + other + AFTER) == ["packer_x", PAIR]


def test_an_error_in_place_of_a_key_pair_names_none() -> None:
    refused = "1764356259,,ui,error,==> w: Error creating temporary keypair: UnauthorizedOperation\n"

    assert key_pairs(BEFORE + refused) == []


@given(st.text(st.characters(codec="utf-8", exclude_characters=",\r\n\\")))
def test_a_log_steers_no_terminal_and_keeps_what_is_printable_and_tabs(text: str) -> None:
    assume(MASKED not in text)
    log = StringIO()
    output_log = OutputLog(log, redactor(()), version=OLD, dialect=DIALECT, on_step=lambda *_: None)
    output_log.feed(f"1764356257,,ui,message,    w: [{text}]\n{text}\n".encode())
    output_log.close(0, stderr=BytesIO(f"[{text}]\n".encode()))

    written = log.getvalue()
    assert all(one.isprintable() or one in "\t\n" for one in written)
    if all(one.isprintable() or one == "\t" for one in text):
        assert written.count(f"[{text}]\n") == 2


def test_what_a_script_prints_on_stderr_is_no_step_whatever_it_says() -> None:
    steps: list[tuple[str, str]] = []
    output_log = OutputLog(
        StringIO(), redactor(()), version=OLD, dialect=DIALECT, on_step=lambda build, step: steps.append((build, step))
    )

    output_log.feed(
        b"1,,ui,say,==> w: Launching a source AWS instance...\n"
        b"1,,ui,error,==> w: Terminating the source AWS instance...\n"
        b"1,,ui,message,    w: Stopping the source instance...\n"
    )

    assert steps == [("w", "Launching a source AWS instance...")]


def test_a_log_is_its_owners_only_whatever_was_there(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "web.log"
    path.parent.mkdir()
    path.write_text("of an earlier run")
    path.chmod(0o644)

    with new_log(path) as log:
        log.write("a lone surrogate: \udc80")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text() == "a lone surrogate: \\udc80"


def test_a_log_is_begun_in_folders_that_need_not_be_there(tmp_path: Path) -> None:
    path = tmp_path / "builds" / "web" / "packer.log"

    with new_log(path) as log:
        log.write("begun")

    assert path.read_text() == "begun"


# Packer's own log, with PACKER_LOG=1: each line of a script stands there behind the time and what Packer says of it. As
# 1.6.6 and 1.16.0 print them; the last is a plugin's.

PREFIXES = {
    "1.6.6, stdout": "2026/11/30 03:48:13 1796010493,,ui,message,    x: ",
    "1.6.6, stderr": "2026/11/30 03:48:13 1796010493,,ui,error,==> x: ",
    "1.16.0, stdout": "2026/11/30 03:48:14 1796010494,,ui,say,==> null.x: ",
    "1.16.0, stderr": "2026/11/30 03:48:14 1796010494,,ui,error,==> null.x: ",
    "a plugin": "2026/11/30 03:48:14 packer-plugin-amazon_v1.8.1_x5.0_linux_amd64 plugin: 2026/11/30 03:48:14 ",
}
BETWEEN = (
    "2026/11/30 03:48:14 [DEBUG] - common: receiving ConfigSpec as protobuf\n"
    "2026/11/30 03:48:14 packer-builder-null plugin: Running the provision hook\n"
    "2026/11/30 03:48:15 1796010495,,ui,say,==> null.other: done\n"
)
TOKEN = "s3cr3t-of-sixty-four-chars-xyz0123456789,abcdefghijklmnop-tail-"
AS_IT_IS, IN_BASE64 = "as it is", "in base64"


def own_log(stderr: str, secret: str) -> str:
    """What the log has of Packer's stderr."""
    log = StringIO()
    output_log = OutputLog(log, redactor([secret]), version=NEW, dialect=DIALECT, on_step=lambda *_: None)
    output_log.close(0, stderr=BytesIO(stderr.encode()))
    return log.getvalue().removeprefix("--- stderr ---\n")


def later(prefix: str, seconds: int) -> str:
    """A line's beginning so many seconds after."""
    return (
        prefix.replace(":13 ", f":{13 + seconds} ").replace(":14 ", f":{14 + seconds} ").replace("049", f"05{seconds}")
    )


def in_lines(text: str, width: int) -> list[str]:
    return [text[at : at + width] for at in range(0, len(text), width)]


@pytest.mark.parametrize("form", PREFIXES)
@pytest.mark.parametrize("way", [AS_IT_IS, IN_BASE64])
def test_a_secret_over_several_lines_of_packers_own_log_is_found(form: str, way: str) -> None:
    """Each part was seen by itself: the time and Packer's words stood between one and the next."""
    prefix = PREFIXES[form]
    text, width = (TOKEN, 20) if way == AS_IT_IS else (base64.b64encode(f"name::{TOKEN}".encode()).decode(), 40)
    written = [escape(part) if ",ui," in prefix else part for part in in_lines(text, width)]
    lines = [later(prefix, number) + part for number, part in enumerate(written)]

    shown = own_log(BETWEEN.join(f"{line}\n" for line in lines), TOKEN)

    before = "bmFtZTo6" if way == IN_BASE64 else ""
    assert shown.replace(BETWEEN, "").splitlines() == [
        f"{later(prefix, number)}{before if not number else ''}<redacted>" for number in range(len(lines))
    ]
    assert shown.count(BETWEEN) == len(lines) - 1


# What a secret holds may look like the end of a line, or be one of itself.
@example(r"000000000000000\r00", AS_IT_IS, b"", 18, "1.16.0, stderr", "")
@example(r"a-whole-line\nand-the-next\r\nof-a-key", AS_IT_IS, b"", 13, "1.16.0, stdout", BETWEEN)
@example(40 * "0" + r"\n0001", AS_IT_IS, b"", 16, "1.16.0, stderr", "")
@example(30 * "0", IN_BASE64, bytes(5), 13, "1.6.6, stdout", "")
@settings(suppress_health_check=[HealthCheck.too_slow])
@given(
    st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S"]), min_size=17, max_size=90),
    st.sampled_from([AS_IT_IS, IN_BASE64, "in the other alphabet"]),
    st.binary(max_size=5),
    st.integers(min_value=8, max_value=76),
    st.sampled_from(sorted(PREFIXES)),
    st.sampled_from(["", BETWEEN]),
)
def test_however_wide_its_lines_are_no_secret_is_left_in_packers_own_log(  # noqa: PLR0917 - what is drawn
    secret: str, way: str, before: bytes, width: int, form: str, between: str
) -> None:
    encode = base64.urlsafe_b64encode if way == "in the other alphabet" else base64.b64encode
    prefix = PREFIXES[form]
    text = secret if way == AS_IT_IS else encode(before + secret.encode()).decode()
    begins, ends = (8 * len(before) + 5) // 6, 8 * (len(before) + len(secret)) // 6
    ahead, own = ("", text) if way == AS_IT_IS else (text[:begins], text[begins:ends])
    written = [escape(part) if ",ui," in prefix else part for part in in_lines(text, width)]
    stderr = between.join(f"{later(prefix, number % 9)}{part}\n" for number, part in enumerate(written))

    parts = [line[len(prefix) :] for line in own_log(stderr, secret).splitlines() if line not in between]

    # Of the first line a part of up to seven characters at its end is not known for one (docs/security.md). What is
    # ahead of it is none, though it may look like one that repeats itself.
    parts[0] = parts[0].removeprefix(ahead)
    left = "\0".join(unescape(part).replace("<redacted>", "\0") for part in parts)
    assert [at for at in range(len(own) - 7) if own[at : at + 8] in left] == []


def test_what_packer_can_not_tell_from_a_line_break_hides_no_part_of_a_secret() -> None:
    log = StringIO()
    secret = r"C:\new-password\rest-of-it"
    output_log = OutputLog(log, redactor([secret]), version=NEW, dialect=DIALECT, on_step=lambda *_: None)

    output_log.feed(f"1796010494,,ui,say,    x: {escape(secret)}\n".encode())

    assert "password" not in log.getvalue()
    assert "est-of" not in log.getvalue()


@given(st.text(st.characters(codec="ascii", exclude_categories=["C"])), st.sampled_from(sorted(PREFIXES)))
def test_what_is_no_secret_stays_in_packers_own_log_as_it_is(text: str, form: str) -> None:
    line = PREFIXES[form] + text
    assert own_log(f"{line}\n", TOKEN) == f"{line}\n"


def test_a_key_in_packers_own_log_is_found_by_its_lines() -> None:
    key = ["-----BEGIN RSA PRIVATE KEY-----", "MIIEpAIBAAKCAQEA", "abcdef==", "-----END RSA PRIVATE KEY-----", "after"]
    prefix = PREFIXES["1.16.0, stdout"]

    shown = own_log(BETWEEN.join(f"{prefix}{line}\n" for line in key), TOKEN)

    assert shown.replace(BETWEEN, "").replace(prefix, "").split() == [*["<redacted>"] * 4, "after"]
    assert shown.count(BETWEEN) == 4


@pytest.mark.parametrize("kind", ["say", "message"])
def test_what_a_script_prints_as_an_error_meanwhile_does_not_part_a_secret(kind: str) -> None:
    log = StringIO()
    output_log = OutputLog(log, redactor([TOKEN]), version=NEW, dialect=DIALECT, on_step=lambda *_: None)
    for part in in_lines(TOKEN, 20):
        output_log.feed(f"1796010494,,ui,{kind},    x: {escape(part)}\n1796010494,,ui,error,==> x: warning\n".encode())

    said = [line.partition("x: ")[2] for line in log.getvalue().splitlines()]
    assert said == ["<redacted>", "warning"] * 4
