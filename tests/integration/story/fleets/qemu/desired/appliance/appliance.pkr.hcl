variable "source_disk" { default = "" }
variable "accelerator" { default = "" }

source "qemu" "appliance" {
  iso_url          = var.source_disk
  iso_checksum     = "none"
  disk_image       = true
  skip_resize_disk = true
  skip_compaction  = true
  format           = "qcow2"
  accelerator      = var.accelerator
  headless         = true
  memory           = 1024
  cpus             = 2
  boot_wait        = "-1s"
  disable_vnc      = true
  output_directory = "out"
  vm_name          = "appliance.qcow2"

  ssh_username = "debian"
  ssh_password = "thrown-away" # of seed/user-data
  ssh_timeout  = "10m"

  # Both doors are on loopback alone: by itself Packer forwards from every address.
  http_directory    = "${path.root}/seed"
  http_bind_address = "127.0.0.1"
  qemuargs = [
    ["-smbios", "type=1,serial=ds=nocloud-net;s=http://{{ .HTTPIP }}:{{ .HTTPPort }}/"],
    ["-netdev", "user,id=user.0,hostfwd=tcp:127.0.0.1:{{ .SSHHostPort }}-:22"],
  ]
  shutdown_command = "sudo cloud-init clean --logs --seed && sudo truncate -s 0 /etc/machine-id && sudo shutdown -P now"
}

build {
  sources = ["source.qemu.appliance"]

  provisioner "shell" {
    script = "${path.root}/setup.sh"
  }
}
