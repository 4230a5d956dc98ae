"""The last lines of an instance's console: all that is known of one that never lets anybody in."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from reconciler.registry.errors import code_of

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

_LINES = 20
_WIDTH = 200
# What a terminal would obey: sequences that start with ESC or a C1 control, then every other control character.
_SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]|(?:\x1b\]|\x9d)[^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?|\x1b[ -/]*[0-~]"
)
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069]")


def read_console(ec2: EC2Client, instance_id: str) -> str:
    """What EC2 has of the console, up to 64 KB, with what is no UTF-8 replaced (botocore does both). May be empty.

    Raises botocore's errors.
    """
    try:
        # As it is now. Otherwise it is as EC2 last kept it, minutes ago perhaps, and empty before that.
        return ec2.get_console_output(InstanceId=instance_id, Latest=True).get("Output", "")
    except ClientError as error:
        if code_of(error) not in ("UnsupportedOperation", "InvalidParameterCombination", "InvalidParameterValue"):
            raise
        # Only instances built on Nitro have it (GetConsoleOutput, API reference).
        return ec2.get_console_output(InstanceId=instance_id).get("Output", "")


def last_lines(output: str) -> tuple[str, ...]:
    """The last lines that hold anything, at most 20 of 200 characters, with nothing in them that a terminal obeys.

    A firmware draws menus and a booting system colours, into a text that ends up in a terminal and in a comment.
    """
    plain = _SEQUENCES.sub("", output.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " "))
    lines = [_CONTROLS.sub("\N{REPLACEMENT CHARACTER}", line).rstrip()[:_WIDTH] for line in plain.split("\n")]
    return tuple([line for line in lines if line][-_LINES:])
