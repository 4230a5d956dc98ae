#!/bin/sh
# Leaves nothing behind that belongs to this one machine.
set -eu
apt-get clean
rm -rf /tmp/60-*.conf /var/lib/apt/lists/*
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
rm -f /root/.bash_history /home/*/.bash_history
[ ! -e /etc/machine-id ] || : > /etc/machine-id
