"""Other package databases, tools and service managers, as far as Debian's archive and a few files bring them."""

from __future__ import annotations

import itertools

import pytest

from reconciler.build.inventory.take import take_inventory
from reconciler.model.inventory import Inventory, Package
from reconciler.plan.difference import order
from reconciler.sandbox.handle import Sandbox
from tests.integration.inventory.conftest import Boot, InstanceShell
from tests.integration.sandbox.conftest import Instance, start

pytestmark = pytest.mark.sandbox

_TOOLS = "cat find grep id ls mktemp readlink rm sed sh sleep stat timeout true uname wc"
_SPEC = """Name: web
Epoch: 3
Version: 1.2~rc1
Release: 4.el9
Summary: s
License: l
BuildArch: noarch
%description
d
%files
%package libs
Summary: s
%description libs
d
%files libs
"""
_APK = """C:Q1abc=
P:musl
V:1.2.5-r0
A:x86_64
S:383459
L:MIT
o:musl
F:lib
R:ld-musl-x86_64.so.1
a:0:0:755
Z:Q1def=

C:Q1ghi=
P:libcrypto3
V:3.3.1-r3
A:x86_64
o:openssl
F:

"""


def inside(instance: Instance) -> Inventory:
    return take_inventory(InstanceShell(instance), patience_seconds=0)


@pytest.fixture(scope="module")
def equipped(sandbox: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An AMI with tools that Debian does not bring by itself."""
    instance = start(sandbox, tmp_path_factory.mktemp("equipped"))
    if instance.run("sudo apt-get update -qq -o Acquire::Retries=0").returncode != 0:
        pytest.skip("apt reaches no archive")
    instance.says("sudo DEBIAN_FRONTEND=noninteractive apt-get install -qq busybox rpm >/dev/null")
    return instance.ec2.create_image(InstanceId=instance.id, Name="equipped")["ImageId"]


def put(instance: Instance, path: str, content: str) -> None:
    done = instance.run(f"sudo mkdir -p $(dirname {path}) && sudo tee {path}", given=content.encode())
    assert done.returncode == 0, done.stderr


def test_busyboxs_tools_bring_the_same_inventory(boot: Boot, equipped: str) -> None:
    instance = boot(equipped)
    by_debians_tools = inside(instance)

    instance.says(f"for tool in {_TOOLS}; do sudo ln -s $(command -v busybox) /usr/local/bin/$tool; done")

    assert "BusyBox" in instance.run("sudo sh -c 'PATH=/usr/local/bin; find --help'").stderr.decode()
    assert inside(instance) == by_debians_tools


def test_rpms_database_is_read_with_epochs_and_source_packages(boot: Boot, equipped: str) -> None:
    instance = boot(equipped)
    put(instance, "/etc/rpm/macros", "%_dbpath /var/lib/rpm\n")  # Debian's rpm has its database in the home folder
    put(instance, "/opt/web.spec", _SPEC)
    instance.says("sudo rpmbuild --quiet -bb --define '_topdir /opt/rpm' /opt/web.spec")
    instance.says("sudo sh -c 'rpm --install --nodeps /opt/rpm/RPMS/noarch/*.rpm'")

    found = inside(instance)

    rpms = [one for one in found.packages or () if one.kind == "rpm"]
    assert rpms == [
        Package("web", "3:1.2~rc1-4.el9", "noarch", "rpm"),
        Package("web-libs", "3:1.2~rc1-4.el9", "noarch", "rpm", "web"),
    ]
    assert any(one.kind == "deb" for one in found.packages or ())

    instance.says("sudo sh -c 'for file in /var/lib/rpm/rpmdb.sqlite; do echo broken >$file; done'")
    damaged = inside(instance)

    assert damaged.packages is None
    assert damaged.unread["packages"].startswith("error:")


def test_rpms_are_ordered_as_rpm_itself_orders_them(boot: Boot, equipped: str) -> None:
    instance = boot(equipped)
    versions = (
        "1 1.0 1.05 1.5 1.0a 1.0.a 1a 1.0~rc1 1.0~rc1^git1 1.0~rc1~x 1.0^ 1.0^2016 1.0^2016~p 1.0.1 ~ ^ a A z 5.5p10"
    )
    versions += " 5.5p2 20101121 2_0 2.0 xyz.4 8 xyz10 10xyz 1.0.. 6.5~ 6.5^ 0 00 1b.fc17 1g.fc17"
    pairs = list(itertools.product(versions.split(), repeat=2))
    program = "".join(f'print(rpm.vercmp("{one}", "{other}"), "")' for one, other in pairs)

    theirs = instance.says(f"rpm --eval '%{{lua:{program}}}'").split()

    assert [order("rpm", one, other) for one, other in pairs] == list(map(int, theirs))


def test_apks_database_is_read(boot: Boot) -> None:
    instance = boot()
    put(instance, "/lib/apk/db/installed", _APK)

    found = inside(instance).packages or ()

    assert [one for one in found if one.kind == "apk"] == [
        Package("libcrypto3", "3.3.1-r3", "x86_64", "apk", "openssl"),
        Package("musl", "1.2.5-r0", "x86_64", "apk"),
    ]


def test_without_systemd_the_runlevels_say_what_starts(boot: Boot) -> None:
    instance = boot()
    instance.says("sudo rm /usr/bin/systemctl /bin/systemctl -f")
    instance.says("sudo sh -c 'rm /etc/rc*.d/S* && ln -s ../init.d/ssh /etc/rc2.d/S01ssh'")
    instance.says("sudo sh -c 'mkdir -p /etc/runlevels/default && ln -s /etc/init.d/chronyd /etc/runlevels/default/'")
    instance.says("sudo ln -s /etc/init.d/dbus /etc/runlevels/default/crond")

    assert set(inside(instance).services or ()) == {"ssh", "crond"}


def test_what_only_root_sees_is_unread_for_a_user_who_may_not_sudo(boot: Boot) -> None:
    instance = boot()
    shell = InstanceShell(instance, become="nobody")

    found = take_inventory(shell, patience_seconds=0)

    assert found.ports is None
    assert found.suid is None
    assert "`sudo -n` does not work" in found.unread["suid"]
    assert found.packages
    assert found.users
