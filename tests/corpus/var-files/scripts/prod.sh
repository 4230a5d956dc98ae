#!/bin/sh
set -eu
echo prod > /etc/environment-name
