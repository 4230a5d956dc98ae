variable "source_disk" {
  type    = string
  default = ""
}

# Is given "kvm" where that works, else "tcg".
variable "accelerator" {
  type    = string
  default = ""
}

source "qemu" "appliance" {
  iso_url      = var.source_disk
  iso_checksum = "none" # what it is was checked before it was handed over
  disk_image   = true
  format       = "qcow2"
  headless     = true
  accelerator  = var.accelerator

  output_directory = "out"
  vm_name          = "appliance.qcow2"

  ssh_username = "debian"
  ssh_password = "thrown-away" # of seed/user-data
  ssh_timeout  = "15m"

  http_directory   = "${path.root}/seed"
  qemuargs         = [["-smbios", "type=1,serial=ds=nocloud-net;s=http://{{ .HTTPIP }}:{{ .HTTPPort }}/"]]

  shutdown_command = "sudo cloud-init clean --logs --seed && sudo truncate -s 0 /etc/machine-id && sudo shutdown -P now"
}

build {
  sources = ["source.qemu.appliance"]

  provisioner "shell" {
    inline = ["sudo apt-get update -q", "sudo apt-get install -q -y --no-install-recommends qemu-guest-agent"]
  }
}
