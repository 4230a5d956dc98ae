"""An instance is a machine: reached by its key, shut off from the host, carried on by images."""

from __future__ import annotations

import asyncio
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import asyncssh
import pytest

from reconciler.model.errors import UserError
from reconciler.sandbox.handle import Sandbox
from reconciler.sandbox.system import cache_folder

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from tests.integration.sandbox.conftest import Client, Instance, Start

pytestmark = pytest.mark.sandbox


def test_packages_install_for_real_and_only_inside(launched: Start, ec2: EC2Client) -> None:
    parent = launched()
    if parent.run("sudo apt-get update -qq -o Acquire::Retries=0").returncode != 0:
        pytest.skip("apt reaches no archive")
    # The cached system may be older than the archive; whatever is newer there installs, and nothing is held back.
    parent.says("sudo DEBIAN_FRONTEND=noninteractive apt-get upgrade -qq >/dev/null")
    left = parent.says("apt-get --simulate upgrade")
    parent.says("sudo DEBIAN_FRONTEND=noninteractive apt-get install -qq nginx >/dev/null")

    assert "0 upgraded, 0 newly installed, 0 to remove and 0 not upgraded." in left
    assert parent.run("pgrep --exact nginx").returncode == 1
    image = ec2.create_image(InstanceId=parent.id, Name="with-nginx")["ImageId"]
    child = launched(image=image)
    assert child.says("dpkg-query --show --showformat '${db:Status-Status}' nginx") == "installed"
    assert not Path("/usr/sbin/nginx").exists()


def test_an_upstream_image_holds_what_its_publisher_put_there(sandbox: Sandbox, launched: Start) -> None:
    newer = sandbox.publish("debian-12-amd64-20261116-0000", run="echo 12.9 > /etc/debian_version")
    plain = sandbox.publish("debian-12-amd64-20261117-0000")

    assert launched(image=newer["us-east-1"]).says("cat /etc/debian_version") == "12.9"
    assert launched(image=plain["us-east-1"]).says("cat /etc/debian_version") != "12.9"
    assert Path("/etc/debian_version").read_text() != "12.9\n"


def test_an_upstream_image_whose_command_fails_is_not_published(sandbox: Sandbox) -> None:
    with pytest.raises(UserError, match=r"20261118.*failed \(no more room\)"):
        sandbox.publish("debian-12-amd64-20261118-0000", run="echo no more room >&2; false; echo not reached")
    assert sandbox.publish("debian-12-amd64-20261118-0000"), "the name is still free"


def test_users_are_unprivileged_where_sudo_is_installed(launched: Start, ec2: EC2Client) -> None:
    parent = launched()
    if parent.run("sudo apt-get update -qq && sudo apt-get install -qq sudo >/dev/null").returncode != 0:
        pytest.skip("apt reaches no archive")
    image = ec2.create_image(InstanceId=parent.id, Name="with-sudo")["ImageId"]

    child = launched(image=image)

    assert child.says("id -un; sudo id -un; touch mine; stat -c %U mine").split() == ["admin", "root", "admin"]
    assert child.run("touch /etc/not-mine").returncode == 1
    assert child.run("test $(id -un) = root", user="root").returncode == 0


def test_an_instance_lets_in_its_key_pairs_key_and_no_other(instance: Instance, tmp_path: Path) -> None:
    stranger = tmp_path / "stranger"
    stranger.write_bytes(asyncssh.generate_private_key("ssh-ed25519").export_private_key())
    stranger.chmod(0o600)

    refused = replace(instance, key=stranger).run("true")

    assert instance.run("true").returncode == 0
    assert refused.returncode == 255
    assert b"Permission denied" in refused.stderr


def test_an_imported_key_opens_an_instance_too(ec2: EC2Client, debian: str, instance: Instance) -> None:
    key = asyncssh.read_private_key(instance.key)
    ec2.import_key_pair(KeyName="imported", PublicKeyMaterial=key.export_public_key())
    started = ec2.run_instances(ImageId=debian, MinCount=1, MaxCount=1, KeyName="imported")["Instances"][0]
    described = ec2.describe_instances(InstanceIds=[started["InstanceId"]])
    address = described["Reservations"][0]["Instances"][0]["PublicIpAddress"]

    done = subprocess.run(
        ["ssh", *instance.ssh_options(), f"admin@{address}", "echo in"], capture_output=True, check=False
    )
    ec2.terminate_instances(InstanceIds=[started["InstanceId"]])

    assert done.stdout == b"in\n", done.stderr


def test_the_key_pairs_key_is_where_cloud_init_puts_it(instance: Instance) -> None:
    key = f"{asyncssh.read_private_key(instance.key).export_public_key().decode().strip()} {instance.key.name}"

    assert instance.says("cat ~/.ssh/authorized_keys") == key
    assert instance.says("stat -c '%a %U:%G' ~/.ssh ~/.ssh/authorized_keys").split("\n") == [
        "700 admin:admin",
        "600 admin:admin",
    ]
    roots = instance.says("sudo cat /root/.ssh/authorized_keys")
    assert roots.endswith(f" {key}")
    assert "Please login as the user" in roots


def test_a_key_that_was_removed_does_not_come_back_with_the_next_login(instance: Instance) -> None:
    instance.says("rm ~/.ssh/authorized_keys")

    assert instance.run("test -e ~/.ssh/authorized_keys").returncode == 1


def test_an_image_without_a_place_for_the_key_can_be_logged_in_to(launched: Start, ec2: EC2Client) -> None:
    parent = launched()
    parent.says("rm -r ~/.ssh && touch ~/.ssh")
    image = ec2.create_image(InstanceId=parent.id, Name="without-ssh-folder")["ImageId"]

    child = launched(image=image)

    assert child.says("cat ~/.ssh") == ""
    console = ec2.get_console_output(InstanceId=child.id)["Output"]
    assert "sandbox: admin has no authorized_keys: " in console


def test_what_is_written_inside_is_invisible_on_the_host(instance: Instance) -> None:
    instance.says("sudo touch /etc/written-inside && sudo rm /usr/bin/less", user="root")

    assert not Path("/etc/written-inside").exists()
    assert instance.run("test -e /usr/bin/less").returncode == 1
    assert all((root / "usr/bin/less").exists() for root in cache_folder().glob("debian-*-????????????"))


def test_the_hosts_people_and_work_are_not_inside(instance: Instance, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")

    assert instance.run(f"sudo cat {tmp_path}/secret").returncode != 0
    assert instance.says("sudo ls /root /mnt /srv", user="root").split() == ["/mnt:", "/root:", "/srv:"]


def test_the_processes_inside_tell_nothing_of_the_host(instance: Instance, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("of the host")

    told = instance.says("cat /proc/[0-9]*/environ | tr '\\0' '\\n'", user="root").splitlines()

    ours = {"HOME", "LANG", "LOGNAME", "OLDPWD", "PATH", "PWD", "SHELL", "SHLVL", "USER", "_"}
    assert {line.partition("=")[0] for line in told} <= ours
    assert instance.says("cat /proc/1/environ", user="root") == ""
    assert instance.run(f"ls /proc/[0-9]*/root{tmp_path}", user="root").returncode != 0
    mounts = instance.says("cut -d ' ' -f 2 /proc/1/mounts", user="root").splitlines()
    assert [one for one in mounts if one != "/" and one.partition("/i")[0]] == []


def test_a_service_is_left_alone_as_in_any_chroot(instance: Instance) -> None:
    assert instance.run("systemctl start ssh", user="root").returncode == 0
    assert instance.run("ischroot", user="root").returncode == 0


def test_nothing_that_the_host_has_or_gets_shows_inside(
    instance: Instance, launched: Start, planted: dict[str, Path]
) -> None:
    later = launched()

    for machine in (instance, later):
        packages = machine.says("dpkg-query --show --showformat '${Package}\\n'").splitlines()
        users = machine.says("cut -d: -f1 /etc/passwd").splitlines()
        assert "planted-on-the-host" not in packages
        assert "planted" not in users
        assert {"cloud-init", "openssh-server", "python3", "sudo", "systemd-sysv"} <= set(packages)
        for path in planted.values():
            assert machine.run(f"test -e {path}", user="root").returncode == 1, path
        assert machine.says("cat /etc/hostname /etc/machine-id") == "instance"


def test_a_boot_leaves_what_provisioners_wait_for(instance: Instance, launched: Start, ec2: EC2Client) -> None:
    assert instance.says("cloud-init status --wait").splitlines()[-1] == "status: done"
    assert instance.says("cat /var/lib/cloud/data/instance-id") == instance.id
    assert instance.run("test -s /var/lib/cloud/instance/boot-finished").returncode == 0

    image = ec2.create_image(InstanceId=instance.id, Name="booted-once")["ImageId"]
    child = launched(image=image)

    assert child.says("readlink /var/lib/cloud/instance") == f"/var/lib/cloud/instances/{child.id}"
    assert child.says("ls /var/lib/cloud/instances").split() == sorted([instance.id, child.id])


def test_an_image_without_cloud_init_has_none_of_its_traces(launched: Start, ec2: EC2Client) -> None:
    parent = launched()
    parent.says("sudo rm -r /usr/bin/cloud-init /var/lib/cloud /etc/cloud")

    child = launched(image=ec2.create_image(InstanceId=parent.id, Name="without-cloud-init")["ImageId"])

    assert child.run("test -e /var/lib/cloud || test -e /run/cloud-init").returncode == 1


@pytest.mark.parametrize(
    ("publisher", "user"),
    [
        ("debian-12-amd64-*", "admin"),
        ("ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-*", "ubuntu"),
        ("al2023-ami-2023.*-x86_64", "ec2-user"),
    ],
)
def test_the_login_user_of_an_image_has_the_key_from_boot_on(
    publisher: str, user: str, launched: Start, ec2: EC2Client
) -> None:
    image, *_ = ec2.describe_images(Filters=[{"Name": "name", "Values": [publisher]}])["Images"]
    parent = launched(image=image["ImageId"])  # nobody logs in
    ec2.stop_instances(InstanceIds=[parent.id])

    child = launched(image=ec2.create_image(InstanceId=parent.id, Name=f"untouched by {user}")["ImageId"])

    keys = child.says(f"sudo cat /home/{user}/.ssh/authorized_keys", user="root").splitlines()
    assert keys[0].endswith(parent.key.name)


@pytest.mark.parametrize("user", ["admin", "ubuntu", "ec2-user", "root"])
def test_any_user_a_template_names_can_log_in_and_install(instance: Instance, user: str) -> None:
    assert instance.says("echo $USER in $PWD; sudo id -u", user=user).splitlines()[-1] == "0"
    home = "/root" if user == "root" else f"/home/{user}"
    assert instance.says("pwd", user=user) == home


def test_a_session_has_an_environment_of_its_own(instance: Instance) -> None:
    variables = dict(line.split("=", 1) for line in instance.says("env").splitlines())

    assert {"HOME", "LANG", "LOGNAME", "PATH", "SHELL", "USER"} <= set(variables)
    assert not [name for name in variables if "PROXY" in name.upper() or name.startswith("AWS")]


@pytest.mark.parametrize("code", [0, 1, 7, 127])
def test_exit_codes_pass(instance: Instance, code: int) -> None:
    assert instance.run(f"exit {code}").returncode == code


async def _end(instance: Instance, command: str) -> asyncssh.SSHCompletedProcess:
    async with asyncssh.connect(
        instance.address, username="admin", client_keys=[str(instance.key)], known_hosts=None, config=[]
    ) as connection:
        return await connection.run(command)


def test_the_signal_that_ended_a_command_passes(instance: Instance) -> None:
    ended = asyncio.run(_end(instance, "kill -TERM $$"))

    assert ended.exit_signal is not None
    assert ended.exit_signal[0] == "TERM"


def test_input_output_and_errors_are_apart(instance: Instance) -> None:
    done = instance.run("cat; echo wrong >&2", given=b"right\n")

    assert (done.stdout, done.stderr) == (b"right\n", b"wrong\n")


def test_a_terminal_is_a_terminal(instance: Instance) -> None:
    assert b"/dev/pts/" in instance.run("tty", options=("-tt",)).stdout
    assert instance.run("tty").stdout == b"not a tty\n"


@pytest.mark.parametrize("protocol", ["-O", "-s"], ids=["scp", "sftp"])
def test_files_are_copied_in_and_out(instance: Instance, tmp_path: Path, protocol: str) -> None:
    sent, received = tmp_path / "sent", tmp_path / "received"
    sent.write_bytes(bytes(range(256)) * 1000)
    there = f"admin@{instance.address}:copied"

    for pair in ((str(sent), there), (there, str(received))):
        subprocess.run(["scp", protocol, *instance.ssh_options(), *pair], check=True)

    assert received.read_bytes() == sent.read_bytes()
    assert instance.says("stat -c %s copied") == str(sent.stat().st_size)


def test_a_link_inside_does_not_lead_sftp_out(instance: Instance, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("untouched")
    instance.says(f"mkdir -p {tmp_path} && ln -s {target} link", user="root")
    (tmp_path / "sent").write_text("from inside")

    subprocess.run(
        ["scp", "-s", *instance.ssh_options(), str(tmp_path / "sent"), f"root@{instance.address}:link"], check=True
    )

    assert target.read_text() == "untouched"
    assert instance.says(f"cat {target}", user="root") == "from inside"


def test_a_client_that_dies_takes_its_command_along(instance: Instance) -> None:
    command = "echo $$; exec sleep 1000"
    client = subprocess.Popen(
        ["ssh", *instance.ssh_options(), f"root@{instance.address}", command], stdout=subprocess.PIPE
    )
    with client:
        assert client.stdout is not None
        pid = client.stdout.readline().decode().strip()
        client.kill()

    # `tail` ends when the process does; the test hangs if it never does.
    instance.says(f"tail --pid={pid} -f /dev/null", user="root")


def test_killing_everything_inside_kills_nothing_outside(sandbox: Sandbox, instance: Instance) -> None:
    instance.run("kill -9 -1", user="root")

    assert sandbox.calls()


def test_an_image_carries_what_its_instance_wrote(launched: Start, ec2: EC2Client) -> None:
    parent = launched()
    parent.says("echo one | sudo tee /opt/carried && sudo rm -r /usr/share/doc && sudo mkdir /usr/share/doc")
    image = ec2.create_image(InstanceId=parent.id, Name="carries")["ImageId"]
    parent.says("echo two | sudo tee /opt/carried")

    child = launched(image=image)

    assert child.says("cat /opt/carried; ls /usr/share/doc") == "one"


def test_a_copy_in_another_region_carries_the_same(launched: Start, ec2: EC2Client, region: Client) -> None:
    parent = launched()
    parent.says("echo here | sudo tee /opt/copied")
    ec2.stop_instances(InstanceIds=[parent.id])
    image = ec2.create_image(InstanceId=parent.id, Name="copied")["ImageId"]
    there = region("eu-west-1")
    copied = there.copy_image(SourceImageId=image, SourceRegion="us-east-1", Name="copied")["ImageId"]
    ec2.deregister_image(ImageId=image)

    child = launched(image=copied, region="eu-west-1")

    assert child.says("cat /opt/copied") == "here"


def test_a_stopped_instance_comes_back_with_its_disk(launched: Start, ec2: EC2Client) -> None:
    instance = launched()
    instance.says("echo kept | sudo tee /opt/kept")
    ec2.stop_instances(InstanceIds=[instance.id])
    assert instance.run("true").returncode == 255
    ec2.create_image(InstanceId=instance.id, Name="of-a-stopped-one")

    ec2.start_instances(InstanceIds=[instance.id])

    described = ec2.describe_instances(InstanceIds=[instance.id])["Reservations"][0]["Instances"][0]
    again = replace(instance, address=described["PublicIpAddress"])
    assert again.says("cat /opt/kept") == "kept"


def test_two_instances_are_two_machines(launched: Start) -> None:
    first, second = launched(), launched()
    first.says("sudo touch /opt/first")

    assert first.address != second.address
    assert second.run("test -e /opt/first").returncode == 1


def test_layers_go_when_nothing_stands_on_them(launched: Start, ec2: EC2Client, sandbox: Sandbox) -> None:
    parent = launched()
    first = ec2.create_image(InstanceId=parent.id, Name="layered-1")["ImageId"]
    child = launched(image=first)
    second = ec2.create_image(InstanceId=child.id, Name="layered-2")["ImageId"]
    disks = Path(f"/proc/{sandbox.pid}/cwd/l")
    assert sandbox.layers(second)[: len(sandbox.layers(first))] == sandbox.layers(first)
    (own,) = set(sandbox.layers(second)) - set(sandbox.layers(first))
    shared = sandbox.layers(first)[-1]

    ec2.deregister_image(ImageId=first)
    assert (disks / shared).exists()
    ec2.terminate_instances(InstanceIds=[child.id])
    ec2.deregister_image(ImageId=second)

    assert not (disks / shared).exists()
    assert not (disks / own).exists()
