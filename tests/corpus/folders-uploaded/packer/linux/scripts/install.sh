#!/bin/sh
set -eu
sudo cp /tmp/conf/stack.conf /etc/stack.conf
