#!/bin/sh
set -eu
sudo sh /tmp/chroot.sh
