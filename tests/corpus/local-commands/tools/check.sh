#!/bin/sh
set -eu
. ./tools/lib.sh
check "$1"
