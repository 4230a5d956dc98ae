locals {
  stamp = formatdate("YYYYMMDDhhmmss", timestamp())
}
source "amazon-ebs" "web" {
  ami_name      = "shop-web-${local.stamp}"
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
  sources = ["source.amazon-ebs.web"]
  provisioner "shell" {
    execute_command = "sudo -S sh -c '{{ .Vars }} {{ .Path }}'"
    script = "../../scripts/common.sh"
  }
  provisioner "shell" {
    execute_command = "sudo -S sh -c '{{ .Vars }} {{ .Path }}'"
    environment_vars = ["ROLE=web"]
    scripts = ["../../scripts/harden.sh", "./web.sh"]
  }
}
