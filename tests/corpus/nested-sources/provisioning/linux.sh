#!/bin/sh
set -eu
cp /tmp/key.pub /etc/agent.pub
