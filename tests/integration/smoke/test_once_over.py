"""The once-over finds what should not be in an image, and nothing where nothing is."""

from __future__ import annotations

import re
import subprocess
from xml.etree import ElementTree as ET

import pytest

from reconciler.build.tester import Tested
from tests.integration.smoke.examination import Examination, Instance, Start

pytestmark = pytest.mark.sandbox

FOREIGN_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEh6rM0pYQ8mQHzV7bW0b3Q4iY4S4QvQv0r0b3Q4iY4S packer_6912ab"

# Each is planted in an instance of its own image; all at once, as each is found by itself.
DEFECTS = {
    "first boot has finished without error": """
mkdir -p /run/cloud-init
cat > /usr/local/bin/cloud-init <<'END'
#!/bin/sh
printf 'status: error\\ndetail: DataSourceEc2Local\\nerrors:\\n\\t- Runparts: 1 failures\\n'
exit 1
END
chmod +x /usr/local/bin/cloud-init
""",
    "no systemd unit has failed": """
mkdir -p /run/systemd/system
cat > /usr/local/bin/systemctl <<'END'
#!/bin/sh
[ "$1" != list-units ] || echo 'nginx.service loaded failed failed A high performance web server'
END
chmod +x /usr/local/bin/systemctl
""",
    "the root filesystem is writable": "ln -s /bin/false /usr/local/bin/mktemp",
    "the root filesystem has free space": """
printf '#!/bin/sh\\necho Filesystem 1024-blocks Used Available Capacity Mounted on\\necho /dev/x 9 9 91234 99%% /\\n' \
  > /usr/local/bin/df
chmod +x /usr/local/bin/df
""",
    "only the key of this test may log in": f"""
mkdir -p /root/.ssh
echo '{FOREIGN_KEY}' > /root/.ssh/authorized_keys
""",
    "no shell history is left": """
useradd --create-home builder
echo 'export TOKEN=secret' > /home/builder/.bash_history
: > /root/.bash_history
""",
    "the clock is right": """
printf '#!/bin/sh\\necho 1000000000\\n' > /usr/local/bin/date
chmod +x /usr/local/bin/date
""",
}
FOUND = {
    "first boot has finished without error": (
        "cloud-init ended with an error: errors: - Runparts: 1 failures"
    ),
    "no systemd unit has failed": "failed: nginx.service",
    "the root filesystem is writable": "the root filesystem is not writable: nothing says why",
    "the root filesystem has free space": "89 MiB are free on the root filesystem; 256 are asked for",
    "only the key of this test may log in": (
        "1 authorized key left in the image: /root/.ssh/authorized_keys (packer_6912ab)"
        " (Packer removes its own with ssh_clear_authorized_keys = true)"
    ),
    "the host keys are of this boot": (
        "baked into the image, the same on every instance: /etc/ssh/ssh_host_ed25519_key"
        " (remove them at the end of the build)"
    ),
    "no shell history is left": "left in the image: /home/builder/.bash_history",
}  # fmt: skip


def baked_host_key(instance: Instance, *, made: str) -> str:
    """The script that makes the key that answers one of the image's own, and the only one, of a certain age."""
    scanned = subprocess.run(
        ["ssh-keyscan", "-t", "ed25519", instance.address], capture_output=True, text=True, check=True
    ).stdout.split(maxsplit=1)[1]
    return f"""
rm -f /etc/ssh/ssh_host_*
echo 'not for reading' > /etc/ssh/ssh_host_ed25519_key
echo '{scanned.strip()}' > /etc/ssh/ssh_host_ed25519_key.pub
touch -d '{made}' /etc/ssh/ssh_host_ed25519_key
"""


def cases(tested: Tested) -> dict[str, ET.Element]:
    """The test cases in the JUnit file, by name."""
    document = ET.parse(tested.log.with_suffix(".xml"))  # noqa: S314 - our own file
    return {case.attrib["name"].removeprefix("once-over: "): case for case in document.iter("testcase")}


def test_a_clean_image_passes_and_skips_only_what_is_not_there(examine: Examination, instance: Instance) -> None:
    tested = examine.of(instance)

    skipped = {name: found.attrib["message"] for name, case in cases(tested).items() if (found := case.find("skipped"))
               is not None}  # fmt: skip
    assert tested.result.status == "passed", tested.result
    assert tested.result.tests == len(cases(tested)) - len(skipped) == 6
    assert skipped == {
        "no systemd unit has failed": "systemd does not run",
        "the host keys are of this boot": (
            "the host key that answered is not one of the image's: its sshd is not what we talk to"
        ),
    }
    assert tested.inventory is not None


@pytest.fixture(scope="module")
def defective(started: Start, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the once-over says of an instance with every defect, by check."""
    instance = started()
    instance.do("\n".join([*DEFECTS.values(), baked_host_key(instance, made="2026-01-01")]))
    tested = Examination(tmp_path_factory.mktemp("defective")).of(instance)
    assert tested.inventory is not None
    return {one.test.removeprefix("once-over: "): one.what for one in tested.result.failed}


@pytest.mark.parametrize("check", FOUND)
def test_a_defect_is_found_and_said_in_one_line(defective: dict[str, str], check: str) -> None:
    assert defective[check] == FOUND[check]


def test_a_clock_that_is_wrong_is_found(defective: dict[str, str]) -> None:
    assert re.fullmatch(r"the clock is [0-9]{9} s behind", defective["the clock is right"])


def test_every_check_has_a_defect_that_it_finds(defective: dict[str, str]) -> None:
    assert defective.keys() == {*FOUND, "the clock is right"}


def test_what_a_first_boot_makes_is_no_defect(examine: Examination, started: Start) -> None:
    instance = started()
    public = subprocess.run(["ssh-keygen", "-y", "-f", instance.key], capture_output=True, text=True, check=True).stdout
    forced = 'no-port-forwarding,command="echo \'Please login as the user \\"admin\\".\'" '
    instance.do(
        f"""
{baked_host_key(instance, made="now")}
mkdir -p /root/.ssh /home/admin/.ssh /run/cloud-init
cat > /root/.ssh/authorized_keys <<'END'
# added by cloud-init
{forced}{public.strip()} test
END
echo '{public.strip()}' > /home/admin/.ssh/authorized_keys
printf '#!/bin/sh\\necho status: done; exit 2\\n' > /usr/local/bin/cloud-init
chmod +x /usr/local/bin/cloud-init
: > /root/.bash_history
ln -sf /dev/null /home/admin/.bash_history
"""
    )

    tested = examine.of(instance)

    skipped = [name for name, case in cases(tested).items() if case.find("skipped") is not None]
    assert tested.result.status == "passed", tested.result
    assert skipped == ["no systemd unit has failed"]


def test_a_root_filesystem_that_was_mounted_read_only_is_found(examine: Examination, started: Start) -> None:
    instance = started()
    instance.do("mount -o remount,ro /")

    tested = examine.of(instance, user="root")  # there already: nothing has to be written to log in

    (found,) = tested.result.failed
    assert found.test == "once-over: the root filesystem is writable"
    assert found.what.endswith("Read-only file system")


def test_a_name_that_is_no_text_is_no_defect_and_hides_none(examine: Examination, started: Start) -> None:
    """Latin-1, in a password file of long ago: the account's folder is looked into all the same."""
    instance = started()
    instance.do(
        r"""
home=$(printf '/home/jos\351 %%n')
mkdir -p "$home/.ssh"
printf 'jos\351:x:1999:1999:Jos\351 \302\205,,,:%s:/bin/sh\n' "$home" >> /etc/passwd
"""
        """
printf 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEh6rM0pYQ8mQHzV7bW0b3Q4 caf\\351\n' > "$home/.ssh/authorized_keys"
"""
    )

    tested = examine.of(instance)

    (found,) = tested.result.failed
    assert found.test == "once-over: only the key of this test may log in"
    assert found.what.startswith(
        r"1 authorized key left in the image: /home/jos\xe9 %n/.ssh/authorized_keys (caf\xe9) (Packer removes"
    )
