#!/bin/sh
set -eu
echo large > /etc/large
