variable "source_ami" { type = string }
variable "image_name" { type = string }
variable "run_tags" { type = map(string) }
variable "image_tags" { type = map(string) }

# A named pipe on this machine: the build waits there until somebody opens its other end. Empty: it does not wait.
variable "gate" {
  type    = string
  default = ""
}

source "amazon-ebs" "base" {
  region        = "us-east-1"
  instance_type = "t3.micro"
  ssh_username  = "admin"
  source_ami    = var.source_ami
  ami_name      = var.image_name
  run_tags      = var.run_tags
  tags          = var.image_tags

  ssh_clear_authorized_keys = true
}

build {
  sources = ["source.amazon-ebs.base"]

  provisioner "shell" {
    script = "${path.root}/setup.sh"
  }

  provisioner "shell-local" {
    inline = ["test -z '${var.gate}' || cat '${var.gate}'"]
  }
}
