"""The inventory of an instance: what was put there is found, and two boots of one image have the same."""

from __future__ import annotations

import pytest

from reconciler.build.inventory.take import take_inventory
from reconciler.model.errors import Transient
from reconciler.model.inventory import Inventory, Port, User
from reconciler.plan.difference import difference
from tests.integration.inventory.conftest import Boot, InstanceShell
from tests.integration.sandbox.conftest import Instance

pytestmark = pytest.mark.sandbox

# A child goes on in the background once it did what it is there for: then the command ends, and not before.
_STAY = """sudo python3 -c '
import fcntl, os, socket, time
done, tell = os.pipe()
if os.fork():
    os.read(done, 1)
    os._exit(0)
os.setsid()
{do}
os.write(tell, b".")
time.sleep(600)
' </dev/null >/dev/null 2>&1"""
_LISTENS = 's = socket.socket(); s.bind(("127.0.0.1", 8765)); s.listen()'
_LOCKS = 'f = open("/var/lib/dpkg/lock", "w"); fcntl.lockf(f, fcntl.LOCK_EX)'


def inside(instance: Instance) -> Inventory:
    return take_inventory(InstanceShell(instance), patience_seconds=0)


def test_two_boots_of_one_image_have_the_same_inventory(boot: Boot) -> None:
    first, second = inside(boot()), inside(boot())

    assert first == second
    assert first.unread == {}
    assert first.os.id == "debian"
    assert {"dash", "dpkg"} <= {one.name for one in first.packages or ()}


def test_what_was_put_into_a_machine_is_found(boot: Boot) -> None:
    instance = boot()
    before = inside(instance)
    instance.says("sudo useradd --shell /bin/sh --uid 4321 mallory")
    instance.says("sudo cp /bin/true $'/opt/odd\\nname' && sudo chmod u+s $'/opt/odd\\nname'")
    instance.says("sudo ln -s /lib/systemd/system/debug-shell.service /etc/systemd/system/sysinit.target.wants/")
    instance.says(_STAY.format(do=_LISTENS))

    after = inside(instance)

    assert before.users is not None
    assert after.users == tuple(sorted([*before.users, User("mallory", 4321, "/bin/sh")]))
    assert set(after.suid or ()) - set(before.suid or ()) == {"/opt/odd\nname"}
    assert set(after.ports or ()) - set(before.ports or ()) == {Port("tcp", "127.0.0.1", 8765, "python3")}
    assert difference(before, after).services.added == ("debug-shell.service",)


def test_a_locked_package_database_is_unread_and_never_empty(boot: Boot) -> None:
    instance = boot()
    instance.says(_STAY.format(do=_LOCKS))

    found = inside(instance)

    assert found.packages is None
    assert "the package database is locked: process" in found.unread["packages"]
    assert "(python3) holds /var/lib/dpkg/lock" in found.unread["packages"]
    assert found.services


def test_a_damaged_package_database_is_unread_with_dpkgs_own_words(boot: Boot) -> None:
    instance = boot()
    instance.says("echo 'no field' | sudo tee -a /var/lib/dpkg/status")

    found = inside(instance)

    assert found.packages is None
    assert "parsing file '/var/lib/dpkg/status'" in found.unread["packages"]


def test_a_machine_without_a_package_database_says_so(boot: Boot) -> None:
    instance = boot()
    instance.says("sudo rm -r /var/lib/dpkg")

    found = inside(instance)

    assert (found.packages, found.unread) == (
        None,
        {"packages": "no package database: neither dpkg's, rpm's nor apk's"},
    )


def test_an_instance_that_dies_meanwhile_is_no_inventory(boot: Boot) -> None:
    instance = boot()
    instance.says("sudo mv /usr/bin/uname /usr/bin/uname.real")
    instance.says("printf '#!/bin/sh\\nkill -9 $PPID' | sudo tee /usr/bin/uname && sudo chmod +x /usr/bin/uname")

    with pytest.raises(Transient, match="cut off"):
        inside(instance)
