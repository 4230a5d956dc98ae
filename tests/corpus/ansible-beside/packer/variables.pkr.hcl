variable "aws_region" {
  type    = string
  default = "us-east-1"
}

variable "playbook_file_path" {
  type        = string
  default     = "../ansible/playbook.yml"
  description = "The relative path to the playbook"
}
