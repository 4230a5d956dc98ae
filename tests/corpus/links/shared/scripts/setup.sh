#!/bin/sh
set -eu
echo front > /etc/front
