#!/bin/sh
set -eu
echo late-b > /etc/late-b
