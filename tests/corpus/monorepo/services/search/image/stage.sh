#!/bin/sh -eu
ROOT="$(git rev-parse --show-toplevel 2>/dev/null || pwd)"
test -d "$ROOT/libs/ranking" || echo "no libs"
