"""The once-over finds what should not be in an image, tells harm from hygiene, and finds nothing where nothing is."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from reconciler.ports.tester import Tested
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
}  # fmt: skip

# What stays of a build and breaks nothing, planted in another instance. The files are as old as those of an image.
LEFTOVERS = """
useradd --create-home builder
mkdir -p /run/systemd/system /var/lib/cloud/instances/i-build /var/log/apt
echo 'export TOKEN=secret' > /home/builder/.bash_history
: > /root/.bash_history
printf '#!/bin/sh\n' > /usr/local/bin/systemctl
printf '#!/bin/sh\necho " -1 0f3a Sat 2026-11-21"; echo "  0 77aa Sun 2026-11-22"\n' > /usr/local/bin/journalctl
printf '#!/bin/sh\necho status: done\n' > /usr/local/bin/cloud-init
chmod +x /usr/local/bin/*
rm -rf /var/log/*.log
echo 5d41402abc4b2a76b9719d911017c592 > /etc/machine-id
echo old > /var/log/build.log
echo old > /var/log/apt/history.log
touch -d 2026-01-01 /etc/machine-id /var/log/build.log /var/log/apt/history.log
"""
LEFT = {
    "packer-key": "Packer's temporary key stays in /home/admin/.ssh/authorized_keys, /root/.ssh/authorized_keys",
    "host-keys": "host keys of the build are the same on every instance: /etc/ssh/ssh_host_ed25519_key",
    "shell-history": "shell histories stay: /home/builder/.bash_history",
    "machine-id": "/etc/machine-id is that of the build, the same on every instance",
    "cloud-init": (
        "what cloud-init kept of the build instance stays, its user data too: /var/lib/cloud/instances/i-build"
    ),
    "logs": "logs of the build stay: the journal of 1 earlier boot, /var/log/build.log",
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
    assert tested.result.tests == len(cases(tested)) - len(skipped) == 7
    assert skipped == {
        "no systemd unit has failed": "systemd does not run",
        "what it runs by itself starts": "it is booted whole, or declares nothing that it runs",
        "the host keys are of this boot": (
            "the host key that answered is not one of the image's: its sshd is not what we talk to"
        ),
        "the machine id is of this boot": "systemd does not run",
        "no log of the build is left": "systemd does not run",
    }
    assert tested.result.findings == ()
    assert tested.inventory is not None


@pytest.fixture(scope="module")
def defective(started: Start, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the once-over says of an instance with every defect, by check."""
    instance = started()
    instance.do("\n".join(DEFECTS.values()))
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


def new_key(folder: Path, name: str) -> tuple[str, str]:
    """A key's public half, a line with a comment, and its fingerprint as OpenSSH says it."""
    file = folder / name
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"packer_{name}", "-f", file], check=True)
    shown = subprocess.run(["ssh-keygen", "-l", "-f", file], capture_output=True, text=True, check=True).stdout
    return file.with_suffix(".pub").read_text().strip(), shown.split()[1]


@dataclass(frozen=True)
class Left:
    """An instance with everything in it that a build may leave, and the fingerprint of Packer's key there."""

    instance: Instance
    key: str


@pytest.fixture(scope="module")
def left(started: Start, tmp_path_factory: pytest.TempPathFactory) -> Left:
    instance = started()
    public, fingerprint = new_key(tmp_path_factory.mktemp("keys"), "6912ab")
    told = 'no-port-forwarding,command="echo \'Please login as the user \\"admin\\".\'" '
    instance.do(
        f"""
{LEFTOVERS}
{baked_host_key(instance, made="2026-01-01")}
mkdir -p /root/.ssh /home/admin/.ssh
cat >> /root/.ssh/authorized_keys <<'END'
{told}{public}
END
echo '{public}' >> /home/admin/.ssh/authorized_keys
"""
    )
    return Left(instance, fingerprint)


def test_what_a_build_merely_leaves_is_found_and_fails_nothing(left: Left, examine: Examination) -> None:
    tested = examine.of(left.instance, packer_keys=frozenset({left.key}))

    assert tested.result.status == "passed", tested.result
    assert {one.code: one.text for one in tested.result.findings} == LEFT
    assert [one.keys for one in tested.result.findings if one.keys] == [(left.key,)]
    assert all(one.hint for one in tested.result.findings)
    told = {name: case.findtext("system-out") for name, case in cases(tested).items() if case.find("system-out")
            is not None}  # fmt: skip
    assert len(told) == len(LEFT)
    assert (told["no shell history is left"] or "").startswith(f"finding: {LEFT['shell-history']}\n  remove them")


def test_where_hygiene_is_asked_for_every_finding_is_a_failure(left: Left, examine: Examination) -> None:
    tested = examine.of(left.instance, packer_keys=frozenset({left.key}), hygiene="fail")

    assert tested.result.status == "failed"
    assert tested.result.findings == ()
    failed = {one.test.removeprefix("once-over: "): one.what for one in tested.result.failed}
    assert sorted(what.partition(" (")[0].partition(" (+")[0] for what in failed.values()) == sorted(LEFT.values())
    assert failed["no shell history is left"] == f"{LEFT['shell-history']} (remove them at the end of the build)"
    assert [name for name, case in cases(tested).items() if case.find("failure") is not None] == list(failed)


def test_a_key_that_is_only_named_as_packers_is_anybodys(left: Left, examine: Examination, tmp_path: Path) -> None:
    """Whoever writes into a build can give his key the name that Packer's has, and copy Packer's own beside it."""
    genuine = left.instance.do("grep packer_ /home/admin/.ssh/authorized_keys").split()[1]
    forged, _ = new_key(tmp_path, "6912ab")
    kind, blob, _ = forged.split()
    left.instance.do(
        f"""
printf '%s\n' '{forged}' '{kind} {blob} {genuine}' 'environment="A={genuine}" {kind} {blob} packer_6912ab' \
  > /home/builder/.keys
mkdir -p /home/builder/.ssh
mv /home/builder/.keys /home/builder/.ssh/authorized_keys
"""
    )
    try:
        tested = examine.of(left.instance, packer_keys=frozenset({left.key}))
    finally:
        left.instance.do("rm -r /home/builder/.ssh")

    (failed,) = tested.result.failed
    assert failed.what.startswith("3 authorized keys left in the image: /home/builder/.ssh/authorized_keys (packer_69")
    assert failed.what.endswith("(that name is Packer's, but it is not the key that EC2 made for this build)")
    assert "packer-key" in [one.code for one in tested.result.findings]


def test_without_knowing_which_key_was_packers_none_is(left: Left, examine: Examination) -> None:
    tested = examine.of(left.instance)

    (failed,) = tested.result.failed
    assert failed.test == "once-over: only the key of this test may log in"
    assert failed.what.startswith(
        "2 authorized keys left in the image: /home/admin/.ssh/authorized_keys (packer_6912ab)"
    )


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
    assert set(skipped) == {
        "no systemd unit has failed", "the machine id is of this boot", "no log of the build is left",
        "what it runs by itself starts",
    }  # fmt: skip
    assert tested.result.findings == ()


def test_a_root_filesystem_that_was_mounted_read_only_is_found(examine: Examination, started: Start) -> None:
    instance = started()
    instance.mounted_read_only()

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
