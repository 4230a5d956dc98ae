variable "source_disk" {
  type    = string
  default = ""
}

source "file" "app" {
  content = "app on ${file(var.source_disk)}"
  target  = "app.img"
}

build {
  sources = ["source.file.app"]
}
