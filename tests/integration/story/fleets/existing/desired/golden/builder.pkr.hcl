build {
  sources = ["source.amazon-ebs.golden"]

  provisioner "file" {
    source      = "motd"
    destination = "/tmp/motd"
  }

  provisioner "shell" {
    inline = ["sudo mv /tmp/motd /etc/motd"]
  }
}
