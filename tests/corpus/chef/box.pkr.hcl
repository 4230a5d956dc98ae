locals {
  stamp = formatdate("YYYYMMDDhhmmss", timestamp())
}
source "amazon-ebs" "box" {
  ami_name      = "box-${local.stamp}"
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
  sources = ["source.amazon-ebs.box"]
  provisioner "chef-solo" {
    cookbook_paths    = ["cookbooks", "site-cookbooks"]
    roles_path        = "chef/roles"
    data_bags_path    = "chef/data_bags"
    run_list          = ["recipe[box]"]
  }
}
