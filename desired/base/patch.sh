#!/bin/sh
# Brings every package up to date, and in what the policy sets up.
set -eu
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
apt-get upgrade -q -y
apt-get install -q -y --no-install-recommends ca-certificates openssh-server unattended-upgrades
