variable "vcenter" { type = string }
variable "password" {
  type      = string
  default   = env("VSPHERE_PASSWORD")
  sensitive = true
}
variable "key" { type = string }
variable "image_name" { type = string }
variable "source_template" {
  type    = string
  default = ""
}

source "vsphere-clone" "linux" {
  vcenter_server       = var.vcenter
  username             = "packer@vsphere.local"
  password             = var.password
  insecure_connection  = true
  datacenter           = "DC0"
  folder               = "templates"
  host                 = "DC0_H0"
  datastore            = "LocalDS_0"
  template             = var.source_template
  vm_name              = var.image_name
  ssh_username         = "admin"
  ssh_private_key_file = var.key
  create_snapshot      = true
  convert_to_template  = true
}

build {
  sources = ["source.vsphere-clone.linux"]

  provisioner "shell" {
    inline = [
      "echo made by packer | sudo tee /etc/made-by",
      "sudo rm -f /root/.ssh/authorized_keys ~/.ssh/authorized_keys",
    ]
  }
}
