locals {
  stamp = formatdate("YYYYMMDDhhmmss", timestamp())
}
source "amazon-ebs" "edge" {
  ami_name      = "edge-${local.stamp}"
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
source "amazon-ebs" "core" {
  ami_name      = "core-${local.stamp}"
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
  name    = "fleet"
  sources = ["source.amazon-ebs.edge", "source.amazon-ebs.core"]

  provisioner "shell" {
    execute_command = "sudo -S sh -c '{{ .Vars }} {{ .Path }}'"
    script = "scripts/default.sh"
    override = {
      edge = {
        script = "scripts/edge.sh"
      }
    }
  }

  dynamic "provisioner" {
    for_each = ["a", "b"]
    labels   = ["shell"]
    content {
      execute_command = "sudo -S sh -c '{{ .Vars }} {{ .Path }}'"
      inline = ["echo ${provisioner.value} > /etc/step-${provisioner.value}"]
    }
  }
}
