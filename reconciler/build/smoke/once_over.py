"""The once-over: what holds for every image that was booted, whatever it is for. pytest-testinfra runs it over SSH.

What breaks an image, or lets somebody in, fails. What of the build merely stays in the image is a finding of hygiene.
A check that has nothing to look at skips, and says why. The failure's message is what people read in the pull request.
"""

from __future__ import annotations

import os
import posixpath
import re
import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import pytest
from testinfra.backend.base import CommandResult
from testinfra.host import Host

from reconciler.build.smoke.records import FINDING, Found
from reconciler.model.public_key import fingerprints
from reconciler.model.text import IN_BRACKETS, and_more, counted, decoded
from reconciler.ports.bench import STARTED

FREE_MEBIBYTES = 256
FREE_INODES_PERCENT = 2
CLOCK_SECONDS = 300
BOOT_SLACK_SECONDS = 60
"""A file may seem to be this much older than the boot that made it: time may be set right in between."""

_HISTORIES = (
    ".bash_history", ".zsh_history", ".zhistory", ".ash_history", ".sh_history", ".ksh_history",
    ".local/share/fish/fish_history",
)  # fmt: skip
# sshd_config(5): the default of AuthorizedKeysFile.
_AUTHORIZED_KEYS = (".ssh/authorized_keys", ".ssh/authorized_keys2")
_PATHS_AT_ONCE = 500  # 128 KiB is the most that Linux takes as one argument
_HOST_KEYS = "/etc/ssh/ssh_host_*_key"
_MOST_NAMED = 3
# What installs packages writes these, and says no more than the SBOM does.
_LOGS_OF_PACKAGES = (
    "apt/*", "dpkg.log*", "alternatives.log*", "bootstrap.log", "installer/*", "dnf*", "hawkey.log*", "yum.log*",
)  # fmt: skip
_PUBLIC_HALF = "ssh-keygen -y -P '' -f {file} 2>/dev/null || cat {file}.pub 2>/dev/null || true"


@dataclass(frozen=True)
class Account:
    """A line of the password file."""

    name: str
    uid: str
    home: str


Report = Callable[[Found], None]


@pytest.fixture
def report(record_property: Callable[[str, object], None]) -> Report:
    """Take note of a finding of hygiene."""
    return lambda found: record_property(FINDING, found)


@pytest.fixture(scope="module")
def root(host: Host) -> Iterator[Host]:
    """The instance, asked as root; skips where that can't be."""
    if says(host, "id -u") == "0":
        yield host
        return
    if host.run("sudo -n true").failed:
        pytest.skip("needs root, and sudo asks for a password or is not there")
    with host.sudo():
        yield host


@pytest.fixture(scope="module")
def accounts(host: Host) -> list[Account]:
    fields = [line.split(":") for line in lines_of(host, "getent passwd 2>/dev/null || cat /etc/passwd")]
    return [
        Account(one[0], one[2], one[5].rstrip("/") or "/") for one in fields if len(one) == 7 and one[5].startswith("/")
    ]


def test_first_boot_has_finished_without_error(host: Host) -> None:
    if host.run("command -v cloud-init").failed:
        pytest.skip("there is no cloud-init")
    # Installed and not enabled it leaves no trace in /run, and `status --wait` would wait for it for ever.
    if host.run("test -d /run/cloud-init").failed:
        pytest.skip("cloud-init did not run at this boot")
    done = host.run("cloud-init status --wait --long")
    printed = decoded(done.stdout_bytes)
    print(printed)
    # 2 is "done, with recoverable errors" (since 23.4): warnings and deprecations, for which the log is place enough.
    assert done.rc in {0, 2}, f"cloud-init ended with an error: {_reported(printed) or _last(done.stderr_bytes)}"


def test_what_it_runs_by_itself_starts(report: Report) -> None:
    became = os.environ["RECONCILER_OWN_START"]
    if not became:
        pytest.skip("it is booted whole, or declares nothing that it runs")
    if became != STARTED:
        report(
            Found(
                "own-start",
                f"what the image runs by itself {became}",
                "start it as it is, and see; what needs a command, settings or a network of its own can't start so",
            )
        )


def test_no_systemd_unit_has_failed(host: Host) -> None:
    if host.run("test -d /run/systemd/system").failed:  # sd_booted(3)
        pytest.skip("systemd does not run")
    # Units that have not started yet have not failed yet. Before systemd 240 there is no --wait.
    host.run("systemctl is-system-running --wait")
    units = [line.split()[0] for line in lines_of(host, "systemctl list-units --failed --plain --no-legend")]
    for unit in units:
        print(decoded(_sh(host, f"systemctl status --no-pager --lines=20 -- {_word(unit)}").stdout_bytes))
    assert not units, f"failed: {_listed(units)}"


def test_the_root_filesystem_is_writable(root: Host) -> None:
    done = _sh(root, "file=$(mktemp /.once-over-XXXXXX) && rm $file")
    assert done.rc == 0, f"the root filesystem is not writable: {_last(done.stderr_bytes)}"


def test_the_root_filesystem_has_free_space(host: Host) -> None:
    free_kibibytes = int(_row(says(host, "df -P -k /"))[3])
    free = free_kibibytes // 1024
    assert free >= FREE_MEBIBYTES, f"{free} MiB are free on the root filesystem; {FREE_MEBIBYTES} are asked for"
    inodes = host.run("df -P -i /")
    row = _row(decoded(inodes.stdout_bytes)) if inodes.rc == 0 else []
    if len(row) > 3 and row[1].isdigit() and row[3].isdigit() and int(row[1]) > 0:  # btrfs counts none
        percent = 100 * int(row[3]) // int(row[1])
        assert percent >= FREE_INODES_PERCENT, f"{percent} % of the root filesystem's inodes are free"


def test_only_the_key_of_this_test_may_log_in(root: Host, accounts: list[Account], report: Report) -> None:
    own = fingerprints(os.environ["RECONCILER_PUBLIC_KEY"])
    packers = set(os.environ["RECONCILER_PACKER_KEYS"].split())
    stays: dict[str, set[str]] = {}
    left = []
    for path in _with_content(root, _authorized_keys_files(root, accounts)):
        for line in _lines_of(root, path):
            keys = fingerprints(line)
            if line.startswith("#") or keys == own:
                continue
            if keys and keys <= packers:
                stays.setdefault(path, set()).update(keys)
            else:
                left.append(f"{path} ({_label(line.split()[-1])})")
    if stays:
        report(
            Found(
                "packer-key",
                f"Packer's temporary key stays in {_named(stays)}",
                "add `ssh_clear_authorized_keys = true` to the source in the template",
                keys=sorted(set().union(*stays.values())),
            )
        )
    assert not left, (
        f"{counted(len(left), 'authorized key')} left in the image: {_listed(left)}"
        f" ({_about_packers(left, known=bool(packers))})"
    )


def test_the_host_keys_are_of_this_boot(root: Host, report: Report) -> None:
    answered = os.environ["RECONCILER_HOST_KEY"]
    files = _host_key_files(root)
    public = {word for file in files for word in says(root, _PUBLIC_HALF.format(file=_word(file))).split()}
    if answered not in public:
        pytest.skip("the host key that answered is not one of the image's: its sshd is not what we talk to")
    oldest = _booted(root) - BOOT_SLACK_SECONDS
    old = [file for file in files if int(says(root, f"stat -c %Y {_word(file)}")) < oldest]
    if old:
        report(
            Found(
                "host-keys",
                f"host keys of the build are the same on every instance: {_named(old)}",
                "remove /etc/ssh/ssh_host_* at the end of the build, and make new ones at boot",
            )
        )


def test_no_shell_history_is_left(root: Host, accounts: list[Account], report: Report) -> None:
    homes = {account.home for account in accounts}
    left = _with_content(root, {posixpath.join(home, name) for home in homes for name in _HISTORIES})
    if left:
        report(Found("shell-history", f"shell histories stay: {_named(left)}", "remove them at the end of the build"))


def test_the_machine_id_is_of_this_boot(root: Host, report: Report) -> None:
    if root.run("test -d /run/systemd/system").failed:  # sd_booted(3)
        pytest.skip("systemd does not run")
    # machine-id(5): where it is empty or missing in an image, it is made at the first boot.
    written = says(root, "stat -c %Y /etc/machine-id 2>/dev/null || true")
    if written and int(written) < _booted(root) - BOOT_SLACK_SECONDS:
        report(
            Found(
                "machine-id",
                "/etc/machine-id is that of the build, the same on every instance",
                "empty it at the end of the build: `: > /etc/machine-id`",
            )
        )


def test_no_data_of_cloud_init_is_left(root: Host, report: Report) -> None:
    if root.run("test -d /run/cloud-init").failed:
        pytest.skip("cloud-init did not run at this boot")
    now = says(root, "readlink -f /var/lib/cloud/instance || true")
    left = [path for path in lines_of(root, "ls -1d /var/lib/cloud/instances/* 2>/dev/null || true") if path != now]
    if now and left:
        report(
            Found(
                "cloud-init",
                f"what cloud-init kept of the build instance stays, its user data too: {_named(left)}",
                "run `cloud-init clean --logs` at the end of the build",
            )
        )


def test_no_log_of_the_build_is_left(root: Host, report: Report) -> None:
    if root.run("test -d /run/systemd/system").failed:
        pytest.skip("systemd does not run")
    oldest = _booted(root) - BOOT_SLACK_SECONDS
    passed_over = " ".join(f"! -path {shlex.quote(f'/var/log/{pattern}')}" for pattern in _LOGS_OF_PACKAGES)
    find = f"find /var/log -type f -size +0 ! -newermt @{oldest:.0f} {passed_over} 2>/dev/null || true"
    boots = says(root, "journalctl --merge --list-boots --no-pager 2>/dev/null || true")
    before = len(re.findall(r"^\s*-[0-9]+ ", boots, re.MULTILINE))
    journal = [f"the journal of {counted(before, 'earlier boot')}"] if before else []
    if left := [*journal, *lines_of(root, find)]:
        report(
            Found(
                "logs",
                f"logs of the build stay: {_named(left)}",
                # Vacuuming is not enough: what is logged from then until the machine stops would be found.
                "at the end of the build remove /var/log/journal/* and empty the files: `truncate -s 0`",
            )
        )


def test_the_clock_is_right(host: Host) -> None:
    before = time.time()
    there = int(says(host, "date -u +%s"))
    off = round(there - (before + time.time()) / 2)
    assert abs(off) <= CLOCK_SECONDS, f"the clock is {abs(off)} s {'ahead' if off > 0 else 'behind'}"


def _about_packers(left: Iterable[str], *, known: bool) -> str:
    """What to say of keys that may be, or may be taken for, the one that Packer logged in with."""
    if known and any("(packer_" in one for one in left):
        return "that name is Packer's, but it is not the key that EC2 made for this build"
    return "Packer removes its own with ssh_clear_authorized_keys = true"


def says(host: Host, script: str) -> str:
    """What a script for the POSIX shell prints, whatever shell the user has.

    What is not UTF-8, as a name in the password file may be, is kept as lone surrogates (PEP 383). testinfra would
    decode it strictly, and reject an image for a byte.
    """
    done = _sh(host, script)
    assert done.rc == 0, f"exit code {done.rc} of `{script}`: {_last(done.stderr_bytes)}"
    return str(done.stdout_bytes, "utf-8", "surrogateescape").strip()


def lines_of(host: Host, script: str) -> list[str]:
    """The lines that a script prints. A name may hold what `str.splitlines` takes for an end of line."""
    return [line for line in says(host, script).split("\n") if line]


def _sh(host: Host, script: str) -> CommandResult:
    return host.run("sh -c %s", script)


def _word(text: str) -> str:
    """A text as one word of a script, in ASCII: testinfra has no way to send other bytes than it can decode."""
    if text.isascii():
        return shlex.quote(text)
    written = text.replace("\\", r"\\").replace("%", "%%").encode(errors="surrogateescape")
    octal = "".join(chr(byte) if byte < 0x80 else f"\\{byte:03o}" for byte in written)
    return f'"$(printf {shlex.quote(octal)})"'


def _listed(names: Iterable[str]) -> str:
    return decoded(", ".join(names).encode(errors="surrogateescape"))


def _named(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    ordered = list(names)
    return _listed(ordered[:_MOST_NAMED]) + and_more(len(ordered) - _MOST_NAMED, IN_BRACKETS)


def _with_content(host: Host, paths: Iterable[str]) -> list[str]:
    """Those that are files with something in them. Asked many at once: there are hundreds, and each is a round trip."""
    ordered, found = sorted(paths), []
    for begin in range(0, len(ordered), _PATHS_AT_ONCE):
        names = " ".join(map(_word, ordered[begin : begin + _PATHS_AT_ONCE]))
        script = f'for file in {names}; do [ ! -f "$file" ] || [ ! -s "$file" ] || printf "%s\\n" "$file"; done'
        found += lines_of(host, script)
    return found


def _lines_of(host: Host, path: str) -> list[str]:
    done = _sh(host, f"cat {_word(path)}")
    text = done.stdout_bytes.decode(errors="surrogateescape")
    return [line.strip() for line in text.split("\n") if line.strip()] if done.rc == 0 else []


def _authorized_keys_files(root: Host, accounts: Iterable[Account]) -> set[str]:
    """Every file that sshd would look for keys in, for each account."""
    patterns = {*_AUTHORIZED_KEYS, *_sshd_setting(root, "authorizedkeysfile")} - {"none"}
    return {
        posixpath.join(account.home, _expanded(pattern, account))  # an absolute pattern stays as it is
        for account in accounts
        for pattern in patterns
    }


def _host_key_files(root: Host) -> list[str]:
    """Every host key that is there: at the usual place, and where sshd's settings say."""
    found = lines_of(root, f"ls -1 {_HOST_KEYS} 2>/dev/null || true")
    return _with_content(root, {*found, *_sshd_setting(root, "hostkey")})


def _sshd_setting(root: Host, name: str) -> list[str]:
    """The values of a setting in effect; none where sshd can't say (it wants a host key for that)."""
    printed = lines_of(root, "PATH=$PATH:/usr/sbin:/usr/local/sbin sshd -T 2>/dev/null || true")
    lines = [line.split() for line in printed]
    return [value for words in lines if words[:1] == [name] for value in words[1:]]


def _expanded(pattern: str, account: Account) -> str:
    """The tokens of AuthorizedKeysFile (sshd_config(5))."""
    values = {"%u": account.name, "%U": account.uid, "%h": account.home, "%%": "%"}
    for token, value in values.items():
        pattern = pattern.replace(token, value)
    return pattern


def _booted(host: Host) -> float:
    """When process 1 was started, in seconds since 1970: in a container the kernel's boot is somebody else's."""
    btime = next(line.split()[1] for line in lines_of(host, "cat /proc/stat") if line.startswith("btime "))
    # proc_pid_stat(5): starttime is field 22; the second field, in parentheses, may hold blanks.
    ticks = says(host, "cat /proc/1/stat").rpartition(")")[2].split()[19]
    per_second = says(host, "getconf CLK_TCK 2>/dev/null || echo 100")
    return int(btime) + int(ticks) / int(per_second)


def _label(word: str) -> str:
    """A key's comment; of one without a comment, the end of the key."""
    return word if len(word) <= 60 else f"…{word[-12:]}"


def _row(table: str) -> list[str]:
    return table.strip().splitlines()[-1].split()


def _last(printed: bytes) -> str:
    return next((line for line in reversed(decoded(printed).splitlines()) if line.strip()), "nothing says why")


def _reported(status: str) -> str:
    """The lines of `cloud-init status --long` that tell of errors: `detail:` before 23.4, `errors:` since."""
    lines = [line.strip() for line in status.splitlines() if line.strip()]
    told = [
        index for index, line in enumerate(lines) if line.startswith(("detail:", "errors:")) and line != "errors: []"
    ]
    return " ".join(lines[told[-1] :][:4]) if told else ""
