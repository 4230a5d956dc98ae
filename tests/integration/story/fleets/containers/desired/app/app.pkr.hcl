variable "source_image" { type = string }
variable "repository" { type = string }

source "docker" "app" {
  image       = var.source_image
  commit      = true
  run_command = ["-d", "-i", "-t", "--network=host", "--entrypoint=/bin/sh", "--", "{{.Image}}"]
  changes     = ["ENTRYPOINT [\"/bin/true\"]", "CMD []"]
}

build {
  sources = ["source.docker.app"]
  provisioner "shell" {
    inline = ["cat /content > /app"]
  }
  post-processors {
    post-processor "docker-tag" {
      repository = var.repository
      tags       = ["latest"]
    }
    post-processor "docker-push" {}
  }
}
