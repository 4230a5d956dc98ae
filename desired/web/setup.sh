#!/bin/sh
# Installs nginx with our site on the base image.
set -eu
export DEBIAN_FRONTEND=noninteractive
grep -q '^base ' /etc/image-release || { echo "this is not built on the base image" >&2; exit 1; }
apt-get update -q
apt-get install -q -y --no-install-recommends nginx-light
install -m 0644 /tmp/nginx.conf /etc/nginx/sites-available/default
nginx -t
echo "web $BUILD_ID" >> /etc/image-release
cat /etc/image-release
rm -rf /tmp/nginx.conf
/usr/local/sbin/tidy-image # of the base image
