#!/bin/sh
set -eu
echo app > /etc/app
