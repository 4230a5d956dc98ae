locals {
  stamp = formatdate("YYYYMMDDhhmmss", timestamp())
}
source "amazon-ebs" "stack" {
  ami_name      = "stack-${local.stamp}"
  instance_type = "t3.micro"
  region        = "us-east-1"
  ssh_username  = "admin"

  source_ami_filter {
    filters = {
      name                = "debian-12-amd64-*"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    owners      = ["136693071363"]
    most_recent = true
  }
}
build {
  sources = ["source.amazon-ebs.stack"]

  provisioner "file" {
    destination = "/tmp"
    source      = "conf"
  }

  provisioner "shell" {
    inline = ["mkdir -p /tmp/plugins"]
  }

  provisioner "file" {
    destination = "/tmp/plugins"
    source      = "../../plugins"
  }

  provisioner "shell" {
    script = "scripts/install.sh"
  }
}
