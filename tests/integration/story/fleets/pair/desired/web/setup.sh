#!/bin/sh -e
echo "web found: $(cat /etc/foundation)"
