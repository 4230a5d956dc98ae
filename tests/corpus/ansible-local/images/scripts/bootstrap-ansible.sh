#!/bin/sh
set -eu
sudo apt-get update
sudo apt-get install -y ansible
