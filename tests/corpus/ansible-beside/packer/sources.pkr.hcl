source "amazon-ebs" "builder" {
  ami_name      = "hardened-{{timestamp}}"
  instance_type = "t3.micro"
  region        = var.aws_region
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
