"""Port 22 of a block of addresses, led past an SSH server of the host that has it on every address.

Only the port of a destination is rewritten (`dnat to :PORT`), so the listener of each address still gets what was
meant for it; REDIRECT would send everything to 127.0.0.1. The rules are the sandbox's own, bear the block's name,
see only what this machine sends to the block, and outlive a sandbox that was killed until the next one starts.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence

from reconciler.model.errors import UserError

_INSTALL = "install nftables, with which the sandbox leads connections past it: apt-get install nftables"
_ALLOW = "in a container: start it with --privileged, or with --cap-add NET_ADMIN"
_MOVE = "or stop it (`ss -ltnp 'sport = :22'` names it), or give it its own address with ListenAddress in sshd_config"

# In one transaction, and whether or not there was one: `delete` alone fails on a table that is not there.
_NFT_REMOVE = """
add table ip {name}
delete table ip {name}
"""
_NFT_INSTALL = (
    _NFT_REMOVE
    + """
table ip {name} {{
  chain output {{
    type nat hook output priority -100; policy accept;
    ip daddr {network} tcp dport 22 dnat to :{port}
  }}
}}
"""
)


class _Refused(Exception):
    """A tool is missing, or the kernel does not let it."""


def install(block: int, *, port: int) -> None:
    """Lead port 22 of every address of a block to `port` of the same address.

    Raises:
        UserError: neither nft nor iptables can do it here.
    """
    refusals = []
    for way in (_nft_install, _iptables_install):
        try:
            way(block, port)
        except _Refused as refused:
            refusals.append(str(refused))
        else:
            return
    installed = any(shutil.which(name) for name in ("nft", "iptables"))
    raise UserError(
        f"an SSH server has port 22 on all addresses, and there is no way past it: {'; '.join(refusals)}",
        hint=(_ALLOW if installed else _INSTALL, _MOVE),
    )


def remove(block: int) -> None:
    """Remove a block's rules, whoever made them. None there is no error."""
    if block in _nft_blocks():
        _run(["nft", "-f", "-"], given=_NFT_REMOVE.format(name=_table(block)))
    if block in _iptables_blocks():
        _iptables_remove(block)


def blocks() -> set[int]:
    """The blocks that have rules now."""
    return _nft_blocks() | _iptables_blocks()


def network(block: int) -> str:
    """The addresses of a block."""
    return f"127.77.{block}.0/24"


# nft.


def _table(block: int) -> str:
    return f"reconciler_127_77_{block}"


def _nft_install(block: int, port: int) -> None:
    script = _NFT_INSTALL.format(name=_table(block), network=network(block), port=port)
    _run(["nft", "-f", "-"], given=script)


def _nft_blocks() -> set[int]:
    try:
        listed = _run(["nft", "list", "tables", "ip"])
    except _Refused:
        return set()
    return {int(number) for number in re.findall(r"^table ip reconciler_127_77_(\d+)$", listed, re.MULTILINE)}


# iptables. Its table is shared with everybody else's rules, so ours have a chain of their own.


def _chain(block: int) -> str:
    return f"RECONCILER-127.77.{block}"


def _jump(block: int) -> list[str]:
    return ["OUTPUT", "-d", network(block), "-p", "tcp", "--dport", "22", "-j", _chain(block)]


def _iptables_install(block: int, port: int) -> None:
    if block in _iptables_blocks():
        _iptables_remove(block)
    _iptables("-N", _chain(block))
    _iptables("-A", _chain(block), "-p", "tcp", "-j", "DNAT", "--to-destination", f":{port}")
    # First of all, as a rule before it might catch all of 127.0.0.0/8.
    _iptables("-I", *_jump(block))


def _iptables_remove(block: int) -> None:
    if " ".join(["-A", "OUTPUT", "-d", network(block)]) in _iptables("-S", "OUTPUT"):
        _iptables("-D", *_jump(block))
    _iptables("-F", _chain(block))
    _iptables("-X", _chain(block))


def _iptables_blocks() -> set[int]:
    try:
        listed = _iptables("-S")
    except _Refused:
        return set()
    return {int(number) for number in re.findall(r"^-N RECONCILER-127\.77\.(\d+)$", listed, re.MULTILINE)}


def _iptables(*arguments: str) -> str:
    # -w: another program may hold the lock on the rules for a moment.
    return _run(["iptables", "-w", "-t", "nat", *arguments])


def _run(command: Sequence[str], *, given: str = "") -> str:
    name = command[0]
    if shutil.which(name) is None:
        raise _Refused(f"{name} is not installed")
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise _Refused(f"{name} says {said[0].strip()!r}")
    return done.stdout
