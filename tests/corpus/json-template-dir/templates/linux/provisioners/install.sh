#!/bin/sh
set -eu
echo "$AGENT_VERSION" | sudo tee /etc/agent-version
