#!/bin/sh
set -eu
echo base > /etc/base
