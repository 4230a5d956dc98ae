#!/bin/sh
set -eu
echo default > /etc/default
