source "amazon-ebs" "arm" {
  ami_name      = "${var.name_prefix}-arm-${var.agent_version}"
  instance_type = "t4g.micro"
  region        = var.region
  ssh_username  = "admin"

  source_ami_filter {
    filters = {
      name                = "debian-12-arm64-*"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    owners      = ["136693071363"]
    most_recent = true
  }
}
