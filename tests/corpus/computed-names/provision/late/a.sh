#!/bin/sh
set -eu
echo late-a > /etc/late-a
