"""What is made once in the tests' process is what botocore and GitPython make each time."""

from __future__ import annotations

import botocore.session
import git.cmd
import pytest
from botocore.hooks import EVENT_ALIASES
from botocore.loaders import Loader
from git.util import remove_password_if_present


@pytest.mark.parametrize("service", ["ec2", "ssm", "s3"])
def test_a_client_has_every_operation_however_many_there_were_before(service: str) -> None:
    first, second = (
        botocore.session.Session().create_client(
            service, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="x"
        )
        for _ in range(2)
    )

    names = first.meta.method_to_api_mapping
    assert names == second.meta.method_to_api_mapping
    assert [name for name in names if getattr(type(second), name).__name__ != name] == []
    assert hasattr(first, "upload_file") is hasattr(second, "upload_file") is False
    assert Loader().list_available_services("service-2") is not Loader().list_available_services("service-2")


def test_events_are_renamed_as_ever() -> None:
    events = [botocore.session.Session().get_component("event_emitter") for _ in range(2)]
    for old, new in list(EVENT_ALIASES.items())[:40]:
        name = f"before-call.{old}.Operation"
        assert events[0]._alias_event_name(name) == events[1]._alias_event_name(name)
        assert new in events[0]._alias_event_name(name)


@pytest.mark.parametrize(
    "word",
    ["https://ada:secret@host/x", "//ada@host", "http.extraHeader=Authorization: Basic c2VjcmV0", "plain", "a:b@c"],
)
def test_a_password_is_taken_out_of_a_command_that_is_told(word: str) -> None:
    command = ["git", "-c", word, "fetch"]
    once = vars(git.cmd)["remove_password_if_present"]
    assert once is not remove_password_if_present
    assert once(command) == remove_password_if_present(command)
