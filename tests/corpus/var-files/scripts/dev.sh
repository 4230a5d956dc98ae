#!/bin/sh
set -eu
echo dev > /etc/environment-name
