from __future__ import annotations

import pytest

from reconciler.build.inventory.take import parse
from reconciler.model.inventory import User
from tests.unit.build.inventory.conftest import Printed

PASSWD = b"""\
root:x:0:0:root:/root:/bin/bash
daemon:x:1:1::/usr/sbin:/usr/sbin/nologin
sync:x:4:65534::/bin:/bin/sync
odd:x:1001:1001::/home/odd:
hidden:x:1002:1002::/opt:/opt/.x
off:x:1003:1003::/:/bin/false
#mallory:x:0:0::/:/bin/sh
+::::::
broken line
admin:x:1000:1000:Debian,,,:/home/admin:/bin/bash
"""


def test_whoever_gets_a_shell_is_a_user(printed: Printed) -> None:
    found = parse(printed(users=PASSWD))

    assert found.users == (
        User("admin", 1000, "/bin/bash"),
        User("hidden", 1002, "/opt/.x"),
        User("odd", 1001, "/bin/sh"),
        User("root", 0, "/bin/bash"),
    )


def test_suid_files_may_have_any_name(printed: Printed) -> None:
    found = parse(printed(suid=b"/usr/bin/su\0/opt/a\nb\0/opt/caf\xe9\0"))

    assert found.suid == ("/opt/a\nb", r"/opt/caf\xe9", "/usr/bin/su")


def test_a_file_that_went_away_meanwhile_is_no_failure(printed: Printed) -> None:
    gone = b"find: '/tmp/x': No such file or directory\n"

    assert parse(printed(suid=(1, b"/usr/bin/su\0", gone))).suid == ("/usr/bin/su",)


@pytest.mark.parametrize("said", [b"find: '/opt': Input/output error\n", b"", b"sh: find: not found\n"])
def test_files_that_could_not_be_looked_for_are_unread(printed: Printed, said: bytes) -> None:
    found = parse(printed(suid=(2, b"/usr/bin/su\0", said)))

    assert found.suid is None
    assert found.unread["suid"]
