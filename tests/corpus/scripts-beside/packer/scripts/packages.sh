#!/bin/sh
set -eu
echo "packages of web" > /etc/web-packages
