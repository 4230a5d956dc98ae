"""Whom a login becomes inside an instance.

An AMI has one user that its maker chose (`admin`, `ubuntu`, `ec2-user`), created by cloud-init at boot, with the right
to sudo and with the public key of the instance's key pair. Here whoever logs in with that key under another name gets
such a user too: a template may be rehearsed on an image that is not the one it will be built on.
"""

from __future__ import annotations

import subprocess
import threading
from dataclasses import dataclass

from reconciler.sandbox.machine import Machine

_ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_USER_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"

# cloud-init's `disable_root_opts`, shortened: root's file has the key too, and only tells whom to log in as.
_TELLS_WHOM = """no-port-forwarding,command="echo 'Please login as the user \\"{name}\\".';exit 142" """
_PATIENCE_SECONDS = 60
# Arguments: a user and its home, which one that a package made has not yet.
_MAKE_READY = """
if [ ! -e "$2" ]; then
  mkdir -p -- "$2"
  chown "$1:" -- "$2"
fi
[ "$1" != root ] && [ -d /etc/sudoers.d ] || exit 0
umask 0227
grant=/etc/sudoers.d/90-cloud-init-users
line="$1 ALL=(ALL) NOPASSWD:ALL"
grep --quiet --line-regexp --fixed-strings --regexp="$line" "$grant" 2>/dev/null || printf '%s\\n' "$line" >>"$grant"
"""
# Arguments: a user, its home and a line, for each file.
_AUTHORIZE = """
umask 077
while [ $# -gt 0 ]; do
  mkdir -p "$2/.ssh"
  cd "$2/.ssh"
  grep --quiet --line-regexp --fixed-strings --regexp="$3" authorized_keys 2>/dev/null ||
    printf '%s\\n' "$3" >>authorized_keys
  chown "$1:" . authorized_keys
  shift 3
done
"""


@dataclass(frozen=True)
class Login:
    """A user of an instance, as a session needs it."""

    name: str
    uid: int
    gid: int
    home: str
    shell: str

    def environment(self) -> dict[str, str]:
        """What a session starts with; nothing of the sandbox's own environment is in it."""
        return {
            "HOME": self.home,
            "LANG": "C.UTF-8",
            "LOGNAME": self.name,
            "PATH": _USER_PATH if self.uid else _ROOT_PATH,
            "SHELL": self.shell,
            "USER": self.name,
        }


class Logins:
    """The logins of one machine."""

    def __init__(self, machine: Machine, *, public_key: bytes | None) -> None:
        """`public_key` is a line as it stands in `authorized_keys`, of the key pair that the machine has."""
        self._machine = machine
        self.public_key = public_key
        self._lock = threading.Lock()
        self._ready: set[str] = set()

    def find(self, name: str) -> Login | None:
        """Return the user, or None when the instance has none of that name."""
        for line in self._machine.read("/etc/passwd").splitlines():
            fields = line.split(":")
            if fields[0] == name and len(fields) == 7:
                uid, gid = int(fields[2]), int(fields[3])
                return Login(name=name, uid=uid, gid=gid, home=fields[5], shell=fields[6] or "/bin/sh")
        return None

    def become(self, name: str) -> Login:
        """Return the user, made ready as cloud-init does: it exists, has a home, may sudo, and has the key."""
        with self._lock:
            login = self.find(name)
            if login is None:
                self._run("useradd", "--create-home", "--user-group", "--shell", "/bin/bash", "--", name)
                login = self.find(name)
            if login is None:
                raise OSError(f"useradd made no user {name}")
            if name not in self._ready:
                self._ready.add(name)
                self._make_ready(login)
        return login

    def _make_ready(self, login: Login) -> None:
        self._tell_if_it_fails(f"{login.name} is not made ready", _MAKE_READY, login.name, login.home)
        if self.public_key is None:
            return
        key = self.public_key.decode()
        files = [login.name, login.home, key]
        if login.name != "root":
            files += ["root", "/root", _TELLS_WHOM.format(name=login.name) + key]
        self._tell_if_it_fails(f"{login.name} has no authorized_keys", _AUTHORIZE, *files)

    def _tell_if_it_fails(self, what: str, script: str, *arguments: str) -> None:
        """Run a script inside, as a path of the instance's may come to lead anywhere, and what it reads may never end.

        An image may have no place for what it writes. The login works by the key pair all the same.
        """
        try:
            done = self._run("/bin/sh", "-ec", script, "sh", *arguments, check=False)
        except subprocess.TimeoutExpired:
            self._machine.say(f"sandbox: {what}: that took more than {_PATIENCE_SECONDS} seconds")
            return
        if done.returncode != 0:
            self._machine.say(f"sandbox: {what}: {done.stderr.decode(errors='replace').strip()}")

    def _run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        command = self._machine.command(arguments)
        return subprocess.run(
            command, cwd="/", env={"PATH": _ROOT_PATH}, stdin=subprocess.DEVNULL, check=check, capture_output=True,
            timeout=_PATIENCE_SECONDS,
        )  # fmt: skip
