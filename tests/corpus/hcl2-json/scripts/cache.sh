#!/bin/sh
set -eu
echo cache | sudo tee /etc/cache
