source "file" "other" {
  content = "beside an AMI"
  target  = "other.img"
}

source "null" "nothing" {
  communicator = "none"
}

build {
  sources = ["source.file.other", "source.null.nothing"]
}
