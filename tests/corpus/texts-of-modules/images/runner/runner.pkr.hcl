variable "region" {
  type    = string
  default = "us-east-1"
}

variable "commands" {
  type    = list(string)
  default = []
}
locals {
  stamp = formatdate("YYYYMMDDhhmmss", timestamp())
}
source "amazon-ebs" "runner" {
  ami_name      = "runner-${local.stamp}"
  instance_type = "t3.micro"
  region        = var.region
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
  name    = "runner"
  sources = ["source.amazon-ebs.runner"]

  provisioner "file" {
    content = templatefile("../install.sh", {
      install = templatefile("../../modules/runner/templates/install.sh", {
        location = ""
      })
    })
    destination = "/tmp/install.sh"
  }

  provisioner "shell" {
    inline = concat([
      "chmod +x /tmp/install.sh",
      "sudo RUNNER=2.3 /tmp/install.sh",
    ], var.commands)
  }
}
