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
        for line in (self._machine.root / "etc/passwd").read_text(errors="replace").splitlines():
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
        # A user that a package made has no home yet.
        if not (self._machine.root / login.home.lstrip("/")).exists():
            self._run("mkdir", "--parents", "--", login.home)
            self._run("chown", f"{login.name}:", "--", login.home)
        sudoers = self._machine.root / "etc/sudoers.d"
        if login.name != "root" and sudoers.is_dir():
            grant = sudoers / "90-cloud-init-users"
            line = f"{login.name} ALL=(ALL) NOPASSWD:ALL\n"
            granted = grant.read_text() if grant.exists() else ""
            if line not in granted:
                grant.write_text(granted + line)
                grant.chmod(0o440)
        if self.public_key is not None:
            self._authorize(login, self.public_key.decode())

    def _authorize(self, login: Login, key: str) -> None:
        files = [login.name, login.home, key]
        if login.name != "root":
            files += ["root", "/root", _TELLS_WHOM.format(name=login.name) + key]
        # Inside, as a path of the instance's may come to lead anywhere.
        done = self._run("/bin/sh", "-ec", _AUTHORIZE, "sh", *files, check=False)
        if done.returncode != 0:
            # An image may have no place for it. The login works by the key pair all the same.
            reason = done.stderr.decode(errors="replace").strip()
            self._machine.say(f"sandbox: {login.name} has no authorized_keys: {reason}")

    def _run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        command = self._machine.command(arguments)
        return subprocess.run(command, cwd="/", env={"PATH": _ROOT_PATH}, check=check, capture_output=True)
