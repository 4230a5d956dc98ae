#!/bin/sh
set -eu
echo edge > /etc/edge
