locals {
  stamp = formatdate("YYYYMMDDhhmmss", timestamp())
}
source "amazon-ebs" "search" {
  ami_name      = "search-${local.stamp}"
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
  sources = ["source.amazon-ebs.search"]

  provisioner "shell-local" {
    script = "${path.root}/stage.sh"
  }

  provisioner "shell" {
    inline = ["mkdir -p /tmp/search"]
  }

  provisioner "file" {
    source      = "${path.root}/../config/"
    destination = "/tmp/search/"
  }

  provisioner "shell" {
    inline = ["sudo mkdir -p /etc/search", "sudo cp -r /tmp/search/. /etc/search/ || true"]
  }
}
