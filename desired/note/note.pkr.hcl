variable "source_image" { type = string }

source "docker" "note" {
  image       = var.source_image # debian:12, by the digest that state/ has
  commit      = true
  run_command = ["-dit", "--network=none", "--entrypoint=/bin/sh", "--", "{{.Image}}"]
  changes = [
    "ENTRYPOINT [\"cat\", \"/etc/image-release\"]", # else it is the shell that Packer came in by
    "CMD []",                                       # else the words of the source's own come behind
  ]
}

build {
  sources = ["source.docker.note"]
  provisioner "shell" {
    inline = ["echo note, a container image > /etc/image-release"]
  }
}
