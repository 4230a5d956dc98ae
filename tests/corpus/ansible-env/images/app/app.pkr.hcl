locals {
  stamp = formatdate("YYYYMMDDhhmmss", timestamp())
}
source "amazon-ebs" "app" {
  ami_name      = "app-${local.stamp}"
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
  sources = ["source.amazon-ebs.app"]
  provisioner "ansible" {
    playbook_file = "./playbook.yml"
    user          = "admin"
    use_proxy     = false
    ansible_env_vars = [
      "ANSIBLE_ROLES_PATH=../../ansible/roles",
      "ANSIBLE_FORCE_COLOR=1",
    ]
    extra_arguments = ["--extra-vars", "@../../ansible/vars/common.yml"]
  }
}
