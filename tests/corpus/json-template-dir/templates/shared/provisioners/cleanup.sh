#!/bin/sh
set -eu
rm -rf /tmp/worker
