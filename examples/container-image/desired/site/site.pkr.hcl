variable "source_image" { type = string }

source "docker" "site" {
  image  = var.source_image # debian:12, by the digest that state/ has
  commit = true
  changes = [
    "EXPOSE 80",
    "ENTRYPOINT [\"nginx\", \"-g\", \"daemon off;\"]", # else it is the shell that Packer came in by
    "CMD []",                                         # else debian:12's `bash` is an argument of nginx
  ]
}

build {
  sources = ["source.docker.site"]

  provisioner "shell" {
    inline = [
      "apt-get update",
      "DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends nginx-light",
      "rm -rf /var/lib/apt/lists/*",
    ]
  }
  provisioner "file" {
    source      = "${path.root}/index.html"
    destination = "/var/www/html/index.html"
  }
}
