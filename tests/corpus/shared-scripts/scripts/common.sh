#!/bin/sh
set -eu
echo common > /etc/common
