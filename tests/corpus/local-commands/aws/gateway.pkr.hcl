locals {
  stamp = formatdate("YYYYMMDDhhmmss", timestamp())
}
source "amazon-ebs" "gateway" {
  ami_name      = "gateway-${local.stamp}"
  instance_type = "t3.micro"
  region        = "us-east-1"
  ssh_username  = "admin"
  user_data_file = "aws/user-data.sh"
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
  sources = ["source.amazon-ebs.gateway"]

  provisioner "shell-local" {
    inline = ["(cd config && tar cf - routes | wc -c > /dev/null)", "./tools/check.sh config/limits.conf"]
  }

  provisioner "file" {
    source      = "config/limits.conf"
    destination = "/tmp/limits.conf"
  }

  provisioner "shell" {
    inline = ["sudo mv /tmp/limits.conf /etc/limits.conf"]
  }

  post-processor "shell-local" {
    environment_vars = ["NOTES=docs/notes.txt"]
    script           = "tools/announce.sh"
  }
}
