# Variables that the reconciler fills in where a template declares them (docs/templates.md). Their defaults are for a
# plain `packer build`: it finds the source by itself, and names the image after the time.
variable "source_ami" {
  type    = string
  default = ""
}

variable "image_name" {
  type    = string
  default = "base-{{timestamp}}"
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

source "amazon-ebs" "base" {
  region        = var.region
  instance_type = var.instance_type
  ssh_username  = "admin"

  source_ami = var.source_ami
  # Where that is empty Packer takes the newest of these; the pin is always one of them, too.
  source_ami_filter {
    filters     = { name = "debian-12-amd64-*" }
    owners      = ["136693071363"]
    most_recent = true
  }

  ami_name        = var.image_name
  ami_description = "Debian 12, patched, with the policy converged"

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
  sources = ["source.amazon-ebs.base"]

  provisioner "shell" {
    execute_command = "chmod +x {{ .Path }}; sudo env {{ .Vars }} {{ .Path }}"
    script          = "${path.root}/patch.sh"
  }

  # Ansible runs where Packer runs: the image gets the policy, and nothing of Ansible (docs/policy.md).
  provisioner "ansible" {
    playbook_file    = "${path.root}/policy/playbook.yml"
    ansible_env_vars = ["ANSIBLE_CONFIG=${path.root}/policy/ansible.cfg"]
    user             = "admin" # or it is the user here, and where that is root Ansible sees no need for sudo
  }

  provisioner "shell" {
    environment_vars = ["BUILD_ID=${var.build_id}"]
    execute_command  = "chmod +x {{ .Path }}; sudo env {{ .Vars }} {{ .Path }}"
    script           = "${path.root}/tidy.sh"
  }
}
