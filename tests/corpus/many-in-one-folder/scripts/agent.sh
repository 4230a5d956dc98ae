#!/bin/sh
set -eu
echo "$KIND $AGENT" | sudo tee /etc/agent-release
