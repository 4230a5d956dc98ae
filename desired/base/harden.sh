#!/bin/sh
# Applies the baseline: no passwords over ssh, kernel settings, automatic security updates.
set -eu
install -D -m 0644 /tmp/60-hardening.conf /etc/sysctl.d/60-hardening.conf
install -D -m 0644 /tmp/60-sshd.conf /etc/ssh/sshd_config.d/60-baseline.conf
cat > /etc/apt/apt.conf.d/20auto-upgrades <<'CONF'
APT::Periodic::Update-Package-Lists "1";
APT::Periodic::Unattended-Upgrade "1";
CONF
chmod 0644 /etc/apt/apt.conf.d/20auto-upgrades
echo "base $BUILD_ID" > /etc/image-release
