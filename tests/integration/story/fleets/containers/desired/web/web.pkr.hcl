variable "source_image" { type = string }

source "docker" "web" {
  image       = var.source_image
  commit      = true
  run_command = ["-d", "-i", "-t", "--network=host", "--entrypoint=/bin/sh", "--", "{{.Image}}"]
  changes     = ["ENTRYPOINT [\"/bin/true\"]", "CMD []"]
}

build {
  sources = ["source.docker.web"]
  provisioner "file" {
    source      = "content.txt"
    destination = "/content"
  }
}
