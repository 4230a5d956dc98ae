#!/bin/sh
# Names the build, and leaves nothing behind that belongs to this one machine.
set -eu
echo "base $BUILD_ID" > /etc/image-release
apt-get clean
rm -rf /tmp/ansible /var/lib/apt/lists/*
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
rm -f /root/.bash_history /home/*/.bash_history
[ ! -e /etc/machine-id ] || : > /etc/machine-id
