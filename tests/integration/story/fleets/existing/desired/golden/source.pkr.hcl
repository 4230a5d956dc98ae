variable "size" {
  type    = string
  default = "t3.micro"
}

locals {
  stamp = formatdate("YYYYMMDDhhmmss", timestamp())
}

source "amazon-ebs" "golden" {
  region        = "us-east-1"
  instance_type = var.size
  ssh_username  = "admin"
  ami_name      = "golden-${local.stamp}"

  ssh_clear_authorized_keys = true

  source_ami_filter {
    filters = {
      name                = "debian-12-amd64-*"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    owners      = ["136693071363"]
    most_recent = true
  }

  tags = { Name = "golden" }
}
