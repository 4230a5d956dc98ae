"""What OpenSSH says becomes one line that tells faults apart. The texts are those of OpenSSH 9.2."""

from __future__ import annotations

import pytest

from reconciler.build.smoke.client import no_command, refusal
from tests.cpu import cpu_seconds

CHANGED = """\
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @
@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@@
IT IS POSSIBLE THAT SOMEONE IS DOING SOMETHING NASTY!
The fingerprint for the ED25519 key sent by the remote host is
SHA256:0123456789012345678901234567890123456789abc.
Host key verification failed.
"""


@pytest.mark.parametrize(
    ("stderr", "kind", "text"),
    [
        ("ssh: connect to host h port 22: Connection refused\r\n", "refused", "h refuses the connection"),
        ("ssh: connect to host h port 22: Connection timed out\r\n", "silent", "h does not answer"),
        ("ssh: connect to host h port 22: No route to host\r\n", "silent", "h does not answer"),
        ("Connection timed out during banner exchange\r\n", "silent", "h does not answer"),
        ("Timeout, server h not responding.\r\n", "silent", "h does not answer"),
        (
            "admin@h: Permission denied (publickey).\r\n",
            "denied",
            "h answers, and does not let admin in with the key (publickey)",
        ),
        (CHANGED, "changed-key", "the host key of h changed, to SHA256:0123456789012345678901234567890123456789abc"),
        ("kex_exchange: \x1b[1mreset\n", "other", r"h: kex_exchange: \x1b[1mreset"),
        ("", "other", "h closes the connection"),
        (
            "ssh: connect to host h port 22: Network is unreachable\r\n",
            "unreachable",
            "this machine has no way to h",
        ),
        (
            "No user exists for uid 1000\r\n",
            "here",
            "`ssh` fails on this machine: No user exists for uid 1000",
        ),
        (
            'Load key "/tmp/k": error in libcrypto\r\nadmin@h: Permission denied (publickey).\r\n',
            "here",
            "`ssh` fails on this machine: admin@h: Permission denied (publickey).",
        ),
    ],
)  # fmt: skip
def test_each_failure_has_its_kind_and_its_line(stderr: str, kind: str, text: str) -> None:
    found = refusal(stderr, where="h", user="admin")

    assert (found.kind, found.text) == (kind, text)


def test_a_login_without_a_command_says_the_first_line_that_came() -> None:
    found = no_command("\n\nThis account is currently not available.\nbye\n", where="h", user="root")

    assert found.text == "h lets root in, and runs no command: This account is currently not available."


@pytest.mark.parametrize("unit", ["Load key ", "Timeout, server ", "Permission denied (", "SHA256:", "@", "\n"])
def test_what_a_server_says_without_end_is_read_once(unit: str) -> None:
    with cpu_seconds(5):
        assert refusal(unit * (256_000 // len(unit)), where="192.0.2.1", user="admin").kind == "other"
