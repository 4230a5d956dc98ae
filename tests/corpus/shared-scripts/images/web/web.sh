#!/bin/sh
set -eu
echo "$ROLE" > /etc/role
