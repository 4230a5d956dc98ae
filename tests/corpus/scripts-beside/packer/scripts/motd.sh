#!/bin/sh
set -eu
echo "Managed by images" > /etc/motd
