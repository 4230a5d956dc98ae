source "file" "base" {
  content = file("${path.root}/content.txt")
  target  = "base.img"
}

build {
  sources = ["source.file.base"]
}
