#!/bin/sh
set -eu
echo small > /etc/small
