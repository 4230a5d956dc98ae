source "amazon-ebs" "site" {
  region        = "us-east-1"
  instance_type = "t3.micro"
  ssh_username  = "admin"
  ami_name      = "site {{isotime \"2006-01-02 030405\"}}"

  ssh_clear_authorized_keys = true

  source_ami_filter {
    filters     = { name = "debian-12-amd64-*" }
    owners      = ["136693071363"]
    most_recent = true
  }
}

build {
  sources = ["source.amazon-ebs.site"]

  provisioner "shell" {
    script = "roles/site/install.sh"
  }
}
