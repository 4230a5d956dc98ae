# Prints what is inside this machine. Arguments: how many seconds to wait for a locked package database.
#
# POSIX sh, with what coreutils, findutils, grep and sed or busybox bring; nothing is installed and nothing is changed.
# Each section is a line `section NAME STATUS LENGTH LENGTH`, then so many bytes of the command's stdout and stderr.
# Lengths, because file names hold whatever they like. It ends with `end`: without that line it was cut off.

patience=${1:-0}
# /usr/sbin is not in everybody's PATH, and messages and sort orders must not depend on the machine's language.
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
LC_ALL=C
export PATH LC_ALL
umask 077

section() {
    name=$1
    shift
    "$@" </dev/null >"$work/out" 2>"$work/err"
    status=$?
    echo "section $name $status $(($(wc -c <"$work/out"))) $(($(wc -c <"$work/err")))"
    cat "$work/out" "$work/err"
}

# Who holds a write lock on one of these files; fails where nobody does. /proc/locks names files by device and inode,
# but not by the device that stat tells of a file on btrfs or an overlay. So the holder must have that file open, too.
holder() {
    for file; do
        inode=$(stat -c %i "$file" 2>/dev/null) || continue
        for process in $(sed -n "s/^[0-9]*: [A-Z]* *[A-Z]* *WRITE *\([0-9]*\) [0-9a-f:]*:$inode .*/\1/p" /proc/locks); do
            ls -ln "/proc/$process/fd" 2>/dev/null | grep -q -e "-> $file\$" || continue
            echo "process $process ($(cat "/proc/$process/comm")) holds $file"
            return 0
        done
    done
    return 1
}

# Runs a command for at most so many seconds, where `timeout` is there: rpm waits for ever for a lock that a crash left,
# and one section that takes too long must not cost all the others.
limited() {
    if timeout 1 true 2>/dev/null; then
        timeout "$@"
        code=$?
        case $code in 124 | 143) echo "$2 took longer than $1 seconds" >&2 ;; esac
        return "$code"
    fi
    shift
    "$@"
}

# A machine that has just booted may be updating itself; a list taken meanwhile is of no moment that ever was.
unlocked() {
    waited=0
    while who=$(holder "$@"); do
        if [ "$waited" -ge "$patience" ]; then
            echo "the package database is locked: $who" >&2
            return 75 # EX_TEMPFAIL of sysexits.h
        fi
        sleep 1
        waited=$((waited + 1))
    done
}

os_release() {
    cat /etc/os-release 2>/dev/null || cat /usr/lib/os-release
}

deb() {
    unlocked /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock &&
        # shellcheck disable=SC2016 # dpkg-query's own variables
        limited 30 dpkg-query --show --showformat='${Status}\t${Package}\t${Version}\t${Architecture}\t${source:Package}\n'
}

rpms() {
    unlocked /var/lib/rpm/.rpm.lock /usr/lib/sysimage/rpm/.rpm.lock &&
        limited 30 rpm --query --all --queryformat \
            '%{NAME}\t%|EPOCH?{%{EPOCH}:}|%{VERSION}-%{RELEASE}\t%{ARCH}\t%{SOURCERPM}\n'
}

apks() {
    # Its database is text, a paragraph a package; F, R and Z lines, of which there is one a file, are left out.
    unlocked /lib/apk/db/lock /usr/lib/apk/db/lock && grep -E '^([PVAo]:.*)?$' "$1"
}

units() {
    # --root=/: as the files say, whether systemd runs or not; what generators made for this boot alone is not in it.
    limited 30 systemctl --root=/ list-unit-files --full --no-legend --no-pager
}

names() {
    for file; do
        [ -e "$file" ] && echo "${file##*/}"
    done
    return 0
}

sockets() {
    # One `ls` for all: thousands of `readlink` would take seconds. Processes that end meanwhile are no failure.
    ls -ln /proc/[0-9]*/fd 2>/dev/null | grep -E '^/proc/|socket:'
    return 0
}

processes() {
    grep -H '' /proc/[0-9]*/comm 2>/dev/null
    return 0
}

suid() {
    # A volume made of a snapshot is slow where nobody has read it yet.
    limited 120 find / -xdev -type f -perm -4000 -print0
}

main() {
    work=$(mktemp -d) || exit
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM

    # What a login shell prints of its own comes before this line.
    printf '\nreconciler-inventory 1\n'
    section uid id -u
    section os os_release
    section kernel uname -r
    [ -s /var/lib/dpkg/status ] && section deb deb
    for database in Packages Packages.db rpmdb.sqlite; do
        if [ -s "/var/lib/rpm/$database" ] || [ -s "/usr/lib/sysimage/rpm/$database" ]; then
            section rpm rpms
            break
        fi
    done
    for database in /lib/apk/db/installed /usr/lib/apk/db/installed; do
        if [ -s "$database" ]; then
            section apk apks "$database"
            break
        fi
    done
    [ -n "$(command -v systemctl)" ] && section units units
    [ -d /etc/rc2.d ] || [ -d /etc/rc3.d ] && section rc names /etc/rc[S2345].d/S*
    [ -d /etc/runlevels ] && section openrc names /etc/runlevels/*/*
    for table in tcp tcp6 udp udp6; do
        [ -e "/proc/net/$table" ] && section "$table" cat "/proc/net/$table"
    done
    section sockets sockets
    section processes processes
    section pid-namespace readlink /proc/self/ns/pid
    section users cat /etc/passwd
    section suid suid
    echo end
}

# All of it is read before any of it runs: sh takes its script from stdin, which a command could else eat.
main
exit 0
