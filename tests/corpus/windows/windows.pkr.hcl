locals {
  stamp = formatdate("YYYYMMDDhhmmss", timestamp())
}
source "amazon-ebs" "windows" {
  ami_name       = "windows-${local.stamp}"
  communicator   = "winrm"
  instance_type  = "t3.large"
  region         = "us-east-1"
  user_data_file = "bootstrap/winrm.ps1"
  winrm_username = "Administrator"
  winrm_insecure = true
  winrm_use_ssl  = true
  source_ami_filter {
    filters = {
      name = "Windows_Server-2022-English-Full-Base-*"
    }
    owners      = ["amazon"]
    most_recent = true
  }
}

build {
  sources = ["source.amazon-ebs.windows"]

  provisioner "file" {
    source      = "${path.root}/configs/sshd_config"
    destination = "C:\\ProgramData\\ssh\\sshd_config"
  }

  provisioner "powershell" {
    elevated_user     = "SYSTEM"
    elevated_password = ""
    scripts = [
      "${path.root}/installers/choco.ps1",
      "${path.root}/installers/tools.ps1",
    ]
  }

  provisioner "windows-restart" {}
}
