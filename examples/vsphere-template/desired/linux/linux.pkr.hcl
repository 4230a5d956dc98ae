packer {
  required_plugins {
    vsphere = {
      source  = "github.com/hashicorp/vsphere"
      version = "~> 1.4"
    }
  }
}

variable "source_template" {
  type    = string
  default = ""
}

variable "image_name" {
  type    = string
  default = "linux"
}

variable "vsphere_user" {
  type    = string
  default = env("VSPHERE_USER")
}

variable "vsphere_password" {
  type      = string
  sensitive = true
  default   = env("VSPHERE_PASSWORD")
}

variable "key" { # whose public half is in the template that is cloned, for the user debian
  type    = string
  default = env("BUILD_KEY_FILE")
}

source "vsphere-clone" "linux" {
  vcenter_server = "vcenter.example.org"
  username       = var.vsphere_user
  password       = var.vsphere_password

  datacenter = "DC0"
  cluster    = "cluster-1"
  datastore  = "images"
  folder     = "templates"

  template = var.source_template
  vm_name  = var.image_name
  network  = "build"

  ssh_username         = "debian"
  ssh_private_key_file = var.key

  create_snapshot     = true # tests clone it without copying its disks
  convert_to_template = true
}

build {
  sources = ["source.vsphere-clone.linux"]

  provisioner "shell" {
    inline = [
      "sudo cloud-init status --wait",
      "sudo apt-get update -q",
      "sudo apt-get upgrade -q -y",
      "sudo apt-get install -q -y --no-install-recommends open-vm-tools",
      "sudo cloud-init clean --logs",
      "sudo truncate -s 0 /etc/machine-id",
      "sudo rm -f /etc/ssh/ssh_host_* /root/.ssh/authorized_keys ~/.ssh/authorized_keys ~/.bash_history",
    ]
  }
}
