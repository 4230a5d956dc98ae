variable "source_disk" {
  type    = string
  default = ""
}

variable "password" {
  type      = string
  sensitive = true
  default   = "thrown-away" # cloud-init locks it again when the disk boots as somebody else's machine
}

source "qemu" "appliance" {
  iso_url      = var.source_disk
  iso_checksum = "none" # what it is was checked before it was handed over
  disk_image   = true
  format       = "qcow2"
  headless     = true
  accelerator  = "kvm" # "tcg" where there is none

  output_directory = "out"
  vm_name          = "appliance.qcow2"

  ssh_username = "debian"
  ssh_password = var.password
  ssh_timeout  = "15m"

  http_content = {
    "/meta-data" = "instance-id: build\n"
    "/user-data" = "#cloud-config\nssh_pwauth: true\nchpasswd: {expire: false}\npassword: ${var.password}\n"
  }
  qemuargs = [["-smbios", "type=1,serial=ds=nocloud-net;s=http://{{ .HTTPIP }}:{{ .HTTPPort }}/"]]

  shutdown_command = "sudo cloud-init clean --logs --seed && sudo truncate -s 0 /etc/machine-id && sudo shutdown -P now"
}

build {
  sources = ["source.qemu.appliance"]

  provisioner "shell" {
    inline = ["sudo apt-get update -q", "sudo apt-get install -q -y --no-install-recommends qemu-guest-agent"]
  }
}
