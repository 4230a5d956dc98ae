# Variables that the reconciler fills in where a template declares them (docs/templates.md). Their defaults are for a
# plain `packer build`: it finds the source by itself, and names the image after the time.
variable "source_ami" {
  type    = string
  default = ""
}

variable "image_name" {
  type    = string
  default = "web-{{timestamp}}"
}

variable "build_id" {
  type    = string
  default = "by hand"
}

variable "run_tags" {
  type    = map(string)
  default = {}
}

variable "image_tags" {
  type    = map(string)
  default = {}
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "instance_type" {
  type    = string
  default = "t3.small"
}

source "amazon-ebs" "web" {
  region        = var.region
  instance_type = var.instance_type
  ssh_username  = "admin"

  source_ami = var.source_ami
  # Where that is empty Packer takes the newest of these; the pin is always one of them, too.
  source_ami_filter {
    filters     = { name = "base-*" }
    owners      = ["self"]
    most_recent = true
  }

  ami_name        = var.image_name
  ami_description = "nginx on the base image"

  # Everything that Packer makes carries our tags from its first second: what a crash leaves behind is recognized.
  run_tags        = var.run_tags
  run_volume_tags = var.run_tags
  tags            = var.image_tags
  snapshot_tags   = var.image_tags

  launch_block_device_mappings {
    device_name           = "/dev/xvda"
    volume_size           = 8
    volume_type           = "gp2"
    encrypted             = true
    delete_on_termination = true
  }

  ssh_clear_authorized_keys = true
}

build {
  sources = ["source.amazon-ebs.web"]

  provisioner "file" {
    source      = "${path.root}/nginx.conf"
    destination = "/tmp/nginx.conf"
  }

  provisioner "shell" {
    environment_vars = ["BUILD_ID=${var.build_id}"]
    execute_command  = "chmod +x {{ .Path }}; sudo env {{ .Vars }} {{ .Path }}"
    script           = "${path.root}/setup.sh"
  }
}
