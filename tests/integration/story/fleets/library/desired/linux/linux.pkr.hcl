variable "vcenter" { type = string }
variable "password" {
  type      = string
  default   = env("VSPHERE_PASSWORD")
  sensitive = true
}
variable "image_name" { type = string }
variable "source_template" {
  type    = string
  default = ""
}

source "vsphere-clone" "linux" {
  vcenter_server      = var.vcenter
  username            = "packer@vsphere.local"
  password            = var.password
  insecure_connection = true
  datacenter          = "DC0"
  folder              = "templates"
  host                = "DC0_H0"
  datastore           = "LocalDS_0"
  template            = var.source_template
  vm_name             = var.image_name
  communicator        = "none"
  content_library_destination {
    library = "golden"
    ovf     = true
    destroy = true
  }
}

build {
  sources = ["source.vsphere-clone.linux"]
}
