from __future__ import annotations

import pytest
from botocore.exceptions import ClientError
from botocore.stub import Stubber
from hypothesis import given
from hypothesis import strategies as st

from reconciler.aws.session import Clients
from reconciler.registries.ec2.bench import read_console
from reconciler.registries.machines import last_lines

REGION = "us-east-1"


def test_the_last_lines_that_hold_anything_are_told() -> None:
    output = "".join(f"line {number}\r\n\r\n" for number in range(100))

    assert last_lines(output) == tuple(f"line {number}" for number in range(80, 100))


@pytest.mark.parametrize(
    ("output", "shown"),
    [
        ("\x1b[1;31mpanic\x1b[0m", "panic"),
        ("\x9b31mpanic", "panic"),
        ("\x1b]0;title\x07panic", "panic"),
        ("\x1b(Bpanic", "panic"),
        ("a\x00b\x07c", "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}c"),
        ("10 %\r20 %", "20 %"),
        ("\u202epanic", "\N{REPLACEMENT CHARACTER}panic"),
        ("tab\there", "tab here"),
        ("x" * 1000, f"{'x' * 199}…"),
    ],
    ids=["colour", "C1", "title", "charset", "controls", "progress", "bidi", "tab", "long"],
)
def test_nothing_in_them_moves_a_terminal(output: str, shown: str) -> None:
    assert last_lines(output)[-1] == shown


@given(st.text(alphabet=st.characters()))
def test_whatever_the_console_says_is_harmless(output: str) -> None:
    assert all(line.isprintable() for line in last_lines(output))


def test_an_instance_without_a_console_so_far_says_nothing(clients: Clients, ec2: Stubber) -> None:
    ec2.add_response("get_console_output", {"InstanceId": "i-1"})

    assert last_lines(read_console(clients.ec2(REGION), "i-1")) == ()


def test_what_is_no_text_is_replaced(clients: Clients, ec2: Stubber) -> None:
    ec2.add_response("get_console_output", {"Output": "ok\ufffd"}, {"InstanceId": "i-1", "Latest": True})

    assert last_lines(read_console(clients.ec2(REGION), "i-1")) == ("ok\ufffd",)


def test_a_type_that_can_not_tell_the_latest_tells_what_it_has(clients: Clients, ec2: Stubber) -> None:
    ec2.add_client_error(
        "get_console_output", "UnsupportedOperation", expected_params={"InstanceId": "i-1", "Latest": True}
    )
    ec2.add_response("get_console_output", {"Output": "older"}, {"InstanceId": "i-1"})

    assert read_console(clients.ec2(REGION), "i-1") == "older"


def test_a_console_that_may_not_be_read_is_an_error_here(clients: Clients, ec2: Stubber) -> None:
    ec2.add_client_error("get_console_output", "UnauthorizedOperation")

    with pytest.raises(ClientError):
        read_console(clients.ec2(REGION), "i-1")
