#!/bin/sh
# Names the build, and leaves nothing behind that belongs to this one machine. Images on top of this one do the same.
set -eu
echo "base $BUILD_ID" > /etc/image-release
rm -rf /tmp/ansible
cat > /usr/local/sbin/tidy-image <<'END'
#!/bin/sh
# Removes what the machine that an image was built on leaves in it; the smoke test looks for the same.
set -eu
apt-get clean
rm -rf /var/lib/apt/lists/*
rm -f /etc/ssh/ssh_host_*_key /etc/ssh/ssh_host_*_key.pub
rm -f /root/.bash_history /home/*/.bash_history
! command -v cloud-init > /dev/null || cloud-init clean --logs
rm -rf /var/log/journal/*
find /var/log -type f -exec truncate --size=0 {} +
[ ! -e /etc/machine-id ] || : > /etc/machine-id
END
chmod 755 /usr/local/sbin/tidy-image
tidy-image
