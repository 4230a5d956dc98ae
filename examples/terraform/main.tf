# What the lockfiles of a fleet say: for each image and channel, which artifact to use in which location.
#
# It reads files of this commit and nothing else: a plan changes when a commit changes them, and never in between.
# It needs no provider. docs/using-images.md shows how to call it.

terraform {
  required_version = ">= 1.3"
}

variable "state" {
  description = "The folder `state/` of the fleet, as this module's caller finds it."
  type        = string
}

locals {
  locks = {
    for file in fileset(var.state, "*.lock.json") :
    trimsuffix(file, ".lock.json") => jsondecode(file("${var.state}/${file}"))
  }

  # Of a channel that points to nothing, and of an image without a build, there is an empty map: the types stay.
  channels = {
    for channel in ["candidate", "stable"] : channel => {
      for image, lock in local.locks : image => {
        build = try(lock.channels[channel], null)
        artifacts = merge({}, [
          for build in try(lock.builds, []) : {
            for artifact in try(build.artifacts, []) : artifact.location => artifact.id
          } if build.id == try(lock.channels[channel], null)
        ]...)
      }
    }
  }
}

output "stable" {
  description = "By image: the id of what `stable` points to, by location."
  value       = tomap({ for image, one in local.channels.stable : image => tomap(one.artifacts) })
}

output "candidate" {
  description = "The same of `candidate`."
  value       = tomap({ for image, one in local.channels.candidate : image => tomap(one.artifacts) })
}

output "builds" {
  description = "By channel and image: the id of the build, and null where the channel points to nothing."
  value = {
    for channel, images in local.channels : channel => tomap({ for image, one in images : image => one.build })
  }
}
