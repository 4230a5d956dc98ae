#!/bin/sh
set -eu
cat "$NOTES" > /dev/null
