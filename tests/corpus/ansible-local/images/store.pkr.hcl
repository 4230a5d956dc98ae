locals {
  stamp = formatdate("YYYYMMDDhhmmss", timestamp())
}
source "amazon-ebs" "store" {
  ami_name      = "store-${local.stamp}"
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
  sources = ["source.amazon-ebs.store"]
  provisioner "shell" {
    script = "images/scripts/bootstrap-ansible.sh"
  }
  provisioner "ansible-local" {
    playbook_file  = "provision/site.yml"
    playbook_dir   = "provision"
    role_paths     = ["roles/store", "roles/common"]
    group_vars     = "provision/group_vars"
    inventory_file = "provision/hosts"
  }
}
