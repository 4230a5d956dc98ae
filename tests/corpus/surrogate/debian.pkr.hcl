locals {
  stamp = formatdate("YYYYMMDDhhmmss", timestamp())
}
source "amazon-ebssurrogate" "debian" {
  ami_name                = "debian-zfs-${local.stamp}"
  ami_virtualization_type = "hvm"
  instance_type           = "t3.micro"
  region                  = "us-east-1"
  ssh_username            = "admin"
  launch_block_device_mappings {
    device_name           = "/dev/xvdf"
    volume_size           = 8
    volume_type           = "gp2"
    delete_on_termination = true
  }
  ami_root_device {
    source_device_name    = "/dev/xvdf"
    device_name           = "/dev/xvda"
    volume_size           = 8
    volume_type           = "gp2"
    delete_on_termination = true
  }
  source_ami_filter {
    filters = {
      name = "debian-12-amd64-*"
    }
    owners      = ["136693071363"]
    most_recent = true
  }
}

build {
  sources = ["source.amazon-ebssurrogate.debian"]
  provisioner "file" {
    source      = "scripts/chroot.sh"
    destination = "/tmp/chroot.sh"
  }
  provisioner "shell" {
    script = "scripts/surrogate.sh"
  }
}
