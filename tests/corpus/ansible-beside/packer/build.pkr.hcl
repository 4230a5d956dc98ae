build {
  sources = ["source.amazon-ebs.builder"]

  provisioner "ansible" {
    playbook_file    = var.playbook_file_path
    user             = "admin"
    use_proxy        = false
    ansible_env_vars = ["ANSIBLE_HOST_KEY_CHECKING=False"]
    extra_arguments = [
      "-e", "aws_region=${var.aws_region}",
      "-e", "@../ansible/overrides.yml"
    ]
  }
}
