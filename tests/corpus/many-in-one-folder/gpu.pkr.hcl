source "amazon-ebs" "gpu" {
  ami_name      = "${var.name_prefix}-gpu-${var.agent_version}"
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
