variable "flavour" {
  type    = string
  default = "small"
}
locals {
  stamp   = formatdate("YYYYMMDDhhmmss", timestamp())
  root    = "${path.root}/provision"
  first   = ["${local.root}/base.sh"]
  scripts = concat(local.first, [format("%s/%s.sh", local.root, var.flavour)])
  motd    = file("${path.root}/texts/motd")
}
source "amazon-ebs" "computed" {
  ami_name      = "computed-${local.stamp}"
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
  sources = ["source.amazon-ebs.computed"]

  provisioner "shell" {
    execute_command = "sudo -S sh -c '{{ .Vars }} {{ .Path }}'"
    scripts = local.scripts
  }

  provisioner "shell" {
    execute_command = "sudo -S sh -c '{{ .Vars }} {{ .Path }}'"
    scripts = [for name in fileset(path.root, "provision/late/*.sh") : "${path.root}/${name}"]
  }

  provisioner "file" {
    content     = local.motd
    destination = "/tmp/motd"
  }
}
