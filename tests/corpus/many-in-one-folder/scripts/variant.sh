#!/bin/sh
set -eu
echo variant | sudo tee /etc/variant
