variable "copies" {
  type    = list(string)
  default = ["eu-west-1"]
}

data "amazon-ami" "debian" {
  filters = {
    name                = "debian-12-amd64-*"
    root-device-type    = "ebs"
    virtualization-type = "hvm"
  }
  most_recent = true
  owners      = ["136693071363"]
  region      = "us-east-1"
}

source "amazon-ebs" "store" {
  ami_name      = "store-${formatdate("YYYYMMDDhhmmss", timestamp())}"
  ami_regions   = var.copies
  instance_type = "t3.micro"
  region        = "us-east-1"
  source_ami    = data.amazon-ami.debian.id
  ssh_username  = "admin"
  tags = {
    Base = data.amazon-ami.debian.name
  }
}

build {
  sources = ["source.amazon-ebs.store"]
  provisioner "shell" {
    inline = ["echo store | sudo tee /etc/store"]
  }
}
