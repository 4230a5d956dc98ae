source "amazon-ebs" "base" {
  ami_name      = "${var.name_prefix}-base-${var.agent_version}"
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
build {
  sources = [
    "source.amazon-ebs.base",
    "source.amazon-ebs.gpu",
    "source.amazon-ebs.arm"
  ]

  provisioner "file" {
    source      = "files/agent.conf"
    destination = "/tmp/agent.conf"
  }

  provisioner "shell" {
    inline_shebang = "/bin/sh -ex"
    inline = [
      "sudo mv /tmp/agent.conf /etc/agent.conf",
      "sudo chown root:root /etc/agent.conf"
    ]
  }

  provisioner "file" {
    sources = [
      "scripts/gpu/driver.sh",
      "scripts/gpu/driver.service"
    ]
    destination = "/tmp/"
    only        = ["amazon-ebs.gpu"]
  }

  provisioner "shell" {
    environment_vars = ["KIND=${source.name}", "AGENT=${var.agent_version}"]
    script           = "scripts/agent.sh"
  }

  provisioner "shell" {
    except = ["amazon-ebs.base"]
    script = "scripts/variant.sh"
  }
}
