"""One running instance: its disk, its processes, and whom a login becomes inside it."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.sandbox import kernel
from reconciler.sandbox.answer import SECONDS, TooLong, answer

# One running instance: its disk mounted, and processes of its own that end with it.
#
# The instance has its own mount, process, hostname and IPC namespaces. So `kill`, `pkill` and `reboot` inside it reach
# nothing on the host, no mount leads to the host's files, and stopping it ends everything it ever started. The network
# is the host's: apt needs it. Nor does /proc tell of the host: every process starts with an environment of ours, and
# process 1 has an empty folder as its root, in which the instance's disk is mounted. Not that disk, as then it would
# not be a chroot to systemctl, which would try to start what it now leaves alone.

HOST_ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
"""For finding nsenter and the like on the host. Whatever starts in an instance starts with it, and root can read it."""

_DISK = "i"
"""Where the instance's disk is mounted in the root of its mount table."""

# Process 1 of the instance. It ends, with the instance, when our end of its stdin closes, even if we were killed; the
# kernel collects orphans where nobody listens for SIGCHLD. The host's root is mounted nowhere that the instance could
# reach, where a mere chroot is left by another one. In Python, and not a shell's, as no program is there from there on.
_INIT = """
import ctypes, os, signal, socket, sys
libc = ctypes.CDLL(None, use_errno=True)

def call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        sys.exit(f"{name}: {os.strerror(ctypes.get_errno())}")

def mount(source, target, kind=None, flags=0, options=None):
    call("mount", source, target, kind, ctypes.c_ulong(flags), options)

READ_ONLY, REMOUNT, BIND, RECURSIVE, DETACH = 0x1, 0x20, 0x1000, 0x4000, 0x2
os.chdir(sys.argv[1])
mount(b"proc", b"proc", b"proc")
mount(b"proc/sys", b"proc/sys", None, BIND)
mount(None, b"proc/sys", None, REMOUNT | BIND | READ_ONLY)
empty = b"/tmp"
mount(b"sandbox", empty, b"tmpfs", 0, b"mode=0755")
disk = os.path.join(empty, sys.argv[2].encode())
os.mkdir(disk)
mount(b".", disk, None, BIND | RECURSIVE)
mount(None, empty, None, REMOUNT | READ_ONLY)
os.chdir(empty)
call("pivot_root", b".", b".")
call("umount2", b".", DETACH)
os.chdir("/")
socket.sethostname("instance")
# systemctl sees by the root of process 1 whether it is in a chroot, and who may do less may not look.
header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
call("capget", header, sets)
for number in map(int, sys.argv[3].split(",")):
    for each in range(3):
        sets[number // 32 * 3 + each] &= ~(1 << number % 32)
call("capset", header, sets)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
os.write(1, b"up\\n")
while os.read(0, 4096):
    pass
"""

# What no process of an instance may do, by capabilities(7): reach past it to the host's clock, its kernel's modules,
# its network and its power button; and, which whoever enters an instance needs until he is inside, mount, make device
# nodes, open files by their handles, look into others' processes, and go by the kernel's own doors.
_KEPT_FROM_INSTANCES = {"net_admin": 12, "sys_module": 16, "sys_rawio": 17, "sys_boot": 22, "sys_time": 25}
_KEPT_INSIDE = {
    "dac_read_search": 2, "sys_ptrace": 19, "sys_admin": 21, "mknod": 27, "audit_control": 30, "mac_override": 32,
    "mac_admin": 33, "syslog": 34, "audit_read": 37, "perfmon": 38, "bpf": 39,
}  # fmt: skip

_DEVICES = {
    "full": (1, 7),
    "null": (1, 3),
    "ptmx": (5, 2),
    "random": (1, 8),
    "tty": (5, 0),
    "urandom": (1, 9),
    "zero": (1, 5),
}
_CONSOLE_BYTES = 64 * 1024  # what EC2 keeps
_MOST_READ = 1024 * 1024
_LINKS = {"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"}


class Machine:
    """A started instance."""

    def __init__(self, root: Path) -> None:
        """Start the instance whose disk is mounted on `root`."""
        self.root = root
        _furnish(root)
        self._init = subprocess.Popen(
            [
                *("unshare", "--mount", "--pid", "--uts", "--ipc", "--fork", "--kill-child"),
                *(sys.executable, "-I", "-S", "-c", _INIT, str(root), _DISK),
                ",".join(map(str, (_KEPT_FROM_INSTANCES | _KEPT_INSIDE).values())),
            ],
            env={},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        if self._init.stdout is None or self._init.stderr is None:  # both were asked for
            raise AssertionError
        if self._init.stdout.readline() != b"up\n":
            reason = self._init.stderr.read().decode(errors="replace").strip()
            kernel.unmount(root)
            raise OSError(f"an instance did not start: {reason}")
        children = Path(f"/proc/{self._init.pid}/task/{self._init.pid}/children").read_text()
        self._pid = int(children.split()[0])
        self._watch = os.pidfd_open(self._pid)
        # No terminal of the host but a file, so that what is written there can be asked for. Held open, as a path of
        # the instance's may come to lead anywhere.
        self._said = b""
        self._console = os.open(root / "dev/console", os.O_RDWR | os.O_APPEND | os.O_CREAT, mode=0o600)

    def command(self, arguments: Sequence[str], *, uid: int = 0, gid: int = 0) -> list[str]:
        """Return the arguments that run `arguments` inside the instance, from its root folder."""
        who = ["--clear-groups"] if uid == 0 else ["--reuid", str(uid), "--regid", str(gid), "--init-groups"]
        return [
            *("setpriv", "--bounding-set", _without(_KEPT_FROM_INSTANCES), "--"),
            *("nsenter", "--target", str(self._pid), "--mount", "--pid", "--uts", "--ipc"),
            *(f"--root=/proc/{self._pid}/root/{_DISK}", f"--wd=/proc/{self._pid}/root/{_DISK}", "--"),
            *("setpriv", *who, "--inh-caps", "-all", "--bounding-set", _without(_KEPT_INSIDE), "--"),
            *arguments,
        ]

    def read(self, path: str) -> str:
        """The beginning of a file of the instance, whose root may have laid anything there.

        No link is followed, and nothing waited for.

        Raises OSError where there is no such file.
        """
        *folders, name = [part for part in os.path.normpath(f"/{path}").split("/") if part]
        with contextlib.ExitStack() as opened:

            def enter(name: str, flags: int, *, below: int | None) -> int:
                descriptor = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | flags, dir_fd=below)
                opened.callback(os.close, descriptor)
                return descriptor

            at = enter(str(self.root), os.O_DIRECTORY, below=None)
            for folder in folders:
                at = enter(folder, os.O_DIRECTORY, below=at)
            file = enter(name, 0, below=at)
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise OSError(errno.EINVAL, "it is no file", path)
            return os.pread(file, _MOST_READ, 0).decode(errors="replace")

    def say(self, line: str) -> None:
        """Write a line to the console."""
        # Apart, as `echo … > /dev/console` inside truncates what is a file there.
        self._said += f"{line}\n".encode()

    def console(self) -> bytes:
        """What was said, and the last 64 KB that the instance wrote itself."""
        written = os.fstat(self._console).st_size
        return self._said + os.pread(self._console, _CONSOLE_BYTES, max(0, written - _CONSOLE_BYTES))

    def stop(self) -> None:
        """End every process of the instance and unmount its disk."""
        # Process 1 is gone only when every other process of its namespace is: then nobody writes to the disk.
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._watch, signal.SIGKILL)
        os.close(self._watch)
        os.close(self._console)
        self._init.communicate()
        kernel.unmount(self.root)


def _without(capabilities: Iterable[str]) -> str:
    return ",".join(f"-{name}" for name in capabilities)


def _furnish(root: Path) -> None:
    """Mount what a kernel and an init would have mounted."""
    for folder in ("proc", "sys", "dev", "run", "tmp"):
        if (root / folder).is_symlink():  # of the image's: it would lead to a folder of the host
            (root / folder).unlink()
        (root / folder).mkdir(exist_ok=True)
    kernel.mount("tmpfs", root / "run", kind="tmpfs", options="mode=0755")
    kernel.mount("tmpfs", root / "tmp", kind="tmpfs", options="mode=1777")
    (root / "run/lock").mkdir(mode=0o777)
    kernel.mount("/sys", root / "sys", flags=kernel.MS_BIND)
    kernel.mount(None, root / "sys", flags=kernel.MS_REMOUNT | kernel.MS_BIND | kernel.MS_RDONLY)
    dev = root / "dev"
    kernel.mount("tmpfs", dev, kind="tmpfs", options="mode=0755")
    for name, numbers in _DEVICES.items():
        os.mknod(dev / name, stat.S_IFCHR | 0o666, os.makedev(*numbers))
        (dev / name).chmod(0o666)
    for name, target in _LINKS.items():
        (dev / name).symlink_to(target)
    (dev / "shm").mkdir(mode=0o1777)
    (dev / "pts").mkdir()
    # The host's terminals: a session's terminal is opened by the SSH server, and must be found under its name.
    kernel.mount("/dev/pts", dev / "pts", flags=kernel.MS_BIND)


# Whom a login becomes inside an instance.
#
# An AMI has one user that its maker chose (`admin`, `ubuntu`, `ec2-user`), created by cloud-init at boot, with the
# right to sudo and with the public key of the instance's key pair. Here whoever logs in with that key under another
# name gets such a user too: a template may be rehearsed on an image that is not the one it will be built on.

_ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_USER_PATH = "/usr/local/bin:/usr/bin:/bin:/usr/local/games:/usr/games"

# cloud-init's `disable_root_opts`, shortened: root's file has the key too, and only tells whom to log in as.
_NUMBER = re.compile(r"[0-9]{1,10}")
_TELLS_WHOM = """no-port-forwarding,command="echo 'Please login as the user \\"{name}\\".';exit 142" """
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
            if fields[0] == name and len(fields) == 7 and all(map(_NUMBER.fullmatch, fields[2:4])):
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
            self._machine.say(f"sandbox: {what}: that took more than {SECONDS:.0f} seconds")
            return
        except TooLong as error:
            self._machine.say(f"sandbox: {what}: {error}")
            return
        if done.returncode != 0:
            self._machine.say(f"sandbox: {what}: {done.stderr.decode(errors='replace').strip()}")

    def _run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
        command = self._machine.command(arguments)
        done = answer(command, environment={"PATH": _ROOT_PATH})
        if check:
            done.check_returncode()
        return done
