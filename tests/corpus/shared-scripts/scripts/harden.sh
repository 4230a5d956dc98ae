#!/bin/sh
set -eu
chmod 0700 /root
