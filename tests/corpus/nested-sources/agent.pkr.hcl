source "amazon-ebs" "base" {
  ami_name      = "agent-{{timestamp}}"
  instance_type = "t3.micro"
  region        = "us-east-1"
  source_ami_filter {
    filters = {
      name = "debian-12-amd64-*"
    }
    owners      = ["136693071363"]
    most_recent = true
  }
}

source "docker" "base" {
  image  = "debian:12"
  commit = true
}

build {
  source "docker.base" {
    name = "linux"
  }

  source "amazon-ebs.base" {
    name         = "linux"
    ssh_username = "admin"
  }

  provisioner "shell" {
    only   = ["docker.linux"]
    script = "./provisioning/docker.sh"
  }

  provisioner "file" {
    source      = "./provisioning/key.pub"
    destination = "/tmp/key.pub"
  }

  provisioner "shell" {
    execute_command = "{{ .Vars }} sudo -E sh '{{ .Path }}'"
    script          = "./provisioning/linux.sh"
  }

  post-processor "docker-tag" {
    only       = ["docker.linux"]
    repository = "example/agent"
  }
}
