variable "environment" {
  type = string
}

variable "region" {
  type = string
}

variable "extra_script" {
  type = string
}
source "amazon-ebs" "bastion" {
  ami_name      = "bastion-${var.environment}-{{timestamp}}"
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
  sources = ["source.amazon-ebs.bastion"]
  provisioner "shell" {
    execute_command = "sudo -S sh -c '{{ .Vars }} {{ .Path }}'"
    script = var.extra_script
  }
}
