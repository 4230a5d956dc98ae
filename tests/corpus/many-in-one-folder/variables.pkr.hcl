variable "region" {
  type    = string
  default = "us-west-2"
}

variable "agent_version" {
  type = string
}

variable "name_prefix" {
  type    = string
  default = "ecs"
}
