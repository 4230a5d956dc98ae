"""Templates that know nothing of a sandbox build in it, with the real Packer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest

from reconciler.sandbox.handle import Sandbox

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from tests.integration.sandbox.conftest import Start

pytestmark = [
    pytest.mark.sandbox,
    pytest.mark.packer,
]

HCL = """
source "amazon-ebs" "web" {
  region        = "us-east-1"
  instance_type = "t3.micro"
  ami_name      = "NAME"
  ssh_username  = "admin"
  ssh_interface = "private_ip"
  source_ami_filter {
    filters     = { name = "debian-12-amd64-*", root-device-type = "ebs", virtualization-type = "hvm" }
    owners      = ["136693071363"]
    most_recent = true
  }
  tags = { Name = "a, b" }
}

build {
  sources = ["source.amazon-ebs.web"]
  provisioner "file" {
    source      = "page.html"
    destination = "/tmp/page.html"
  }
  provisioner "shell" {
    inline = ["sudo mkdir -p /srv/www", "sudo mv /tmp/page.html /srv/www/"]
  }
}
"""

JSON = {
    "builders": [
        {
            "type": "amazon-ebs",
            "region": "us-east-1",
            "instance_type": "t3.micro",
            "ami_name": "NAME",
            "ssh_username": "ubuntu",
            "source_ami_filter": {
                "filters": {"name": "ubuntu/images/*ubuntu-noble-24.04-amd64-server-*"},
                "owners": ["099720109477"],
                "most_recent": True,
            },
        }
    ],
    "provisioners": [
        {"type": "file", "source": "page.html", "destination": "/home/ubuntu/page.html"},
        {"type": "shell", "inline": ["sudo mkdir -p /srv/www", "sudo mv ~/page.html /srv/www/"]},
    ],
}


@pytest.fixture
def workplace(tmp_path: Path) -> Path:
    (tmp_path / "page.html").write_text("it works")
    (tmp_path / "hcl.pkr.hcl").write_text(HCL.replace("NAME", tmp_path.name))
    (tmp_path / "json.json").write_text(json.dumps(JSON).replace("NAME", tmp_path.name))
    return tmp_path


@pytest.mark.parametrize("file", ["hcl.pkr.hcl", "json.json"])
def test_an_unmodified_template_builds_an_image_that_boots(
    sandbox: Sandbox, ec2: EC2Client, launched: Start, workplace: Path, file: str
) -> None:
    built = subprocess.run(
        ["packer", "build", "-color=false", file],
        cwd=workplace,
        env={**os.environ, **sandbox.environment, "PACKER_CACHE_DIR": str(workplace / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert built.returncode == 0, built.stdout + built.stderr
    (image,) = ec2.describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": [workplace.name]}])["Images"]
    booted = launched(image=image["ImageId"])
    assert booted.says("cat /srv/www/page.html") == "it works"
    # Up to the plugin 1.7 Packer's own is called "Packer Builder", and later nothing.
    left = [i for r in ec2.describe_instances()["Reservations"] for i in r["Instances"] if i["InstanceId"] != booted.id]
    assert {i["State"]["Name"] for i in left} == {"terminated"}


ANSIBLE = """
  provisioner "ansible" {
    playbook_file = "site.yml"
  }
"""

PLAY = """
- hosts: all
  become: true
  tasks:
    - copy: {dest: /etc/motd, content: "welcome\\n"}
    - shell: whoami > /etc/written-by
      async: 60
      poll: 1
    - shell: echo $HOME > ~/whose-home
      become: false
    - apt: {name: acl, update_cache: true}
    - shell: whoami > /var/tmp/written-by
      become_user: games
"""

# Packer 1.6.6 plays an SSH server for Ansible whose host key is ssh-rsa, which OpenSSH takes only where it is told to.
SETTINGS = """
[ssh_connection]
ssh_args = -o HostKeyAlgorithms=+ssh-rsa -o PubkeyAcceptedAlgorithms=+ssh-rsa
"""


def test_a_play_changes_what_is_roots_though_its_template_names_no_user(
    sandbox: Sandbox, ec2: EC2Client, launched: Start, workplace: Path
) -> None:
    template = workplace / "hcl.pkr.hcl"
    template.write_text(template.read_text().removesuffix("}\n") + ANSIBLE + "}\n")
    (workplace / "site.yml").write_text(PLAY)
    (workplace / "ansible.cfg").write_text(SETTINGS)

    with TemporaryDirectory() as sockets:  # of OpenSSH, which takes no path that is as long as a test's
        built = subprocess.run(
            ["packer", "build", "-color=false", template.name],
            cwd=workplace,
            env={
                **os.environ,
                **sandbox.environment,
                "PACKER_CACHE_DIR": str(workplace / "cache"),
                "PATH": os.pathsep.join((os.environ["PATH"], str(Path(sys.executable).parent))),
                "ANSIBLE_SSH_CONTROL_PATH_DIR": sockets,
            },
            capture_output=True,
            text=True,
            check=False,
        )

    assert built.returncode == 0, built.stdout + built.stderr
    (image,) = ec2.describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": [workplace.name]}])["Images"]
    booted = launched(image=image["ImageId"])
    told = booted.says("cat /etc/motd /etc/written-by /var/tmp/written-by ~/whose-home; ls -d ~/.ansible || true")
    assert told.split() == ["welcome", "root", "games", "/home/admin"]


SURROGATE = """
source "amazon-ebssurrogate" "web" {
  region                  = "us-east-1"
  instance_type           = "t3.micro"
  ami_name                = "NAME"
  ami_virtualization_type = "hvm"
  ssh_username            = "admin"
  source_ami_filter {
    filters     = { name = "debian-12-amd64-*" }
    owners      = ["136693071363"]
    most_recent = true
  }
  launch_block_device_mappings {
    device_name           = "/dev/xvdf"
    volume_size           = 8
    delete_on_termination = true
  }
  ami_root_device {
    source_device_name    = "/dev/xvdf"
    device_name           = "/dev/xvda"
    volume_size           = 8
    delete_on_termination = true
  }
}

build {
  sources = ["source.amazon-ebssurrogate.web"]
}
"""


def test_an_image_registered_from_a_volume_is_for_the_machine_it_was_made_on(
    sandbox: Sandbox, ec2: EC2Client, launched: Start, tmp_path: Path
) -> None:
    (tmp_path / "surrogate.pkr.hcl").write_text(SURROGATE.replace("NAME", tmp_path.name))

    built = subprocess.run(
        ["packer", "build", "-color=false", "surrogate.pkr.hcl"],
        cwd=tmp_path,
        env={**os.environ, **sandbox.environment, "PACKER_CACHE_DIR": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert built.returncode == 0, built.stdout + built.stderr
    (image,) = ec2.describe_images(Owners=["self"], Filters=[{"Name": "name", "Values": [tmp_path.name]}])["Images"]
    assert (image["Architecture"], image["VirtualizationType"]) == ("x86_64", "hvm")
    assert launched(image=image["ImageId"]).says("id -un") == "admin"
