"""What an inventory costs the controller: from what an instance printed to an SBOM, and from two SBOMs to a difference.

The remote commands are not in it: they take as long as the instance needs.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator

from reconciler.build.inventory.take import parse
from reconciler.plan.difference import difference
from reconciler.state.sbom import read_sbom, render_sbom
from tests.bench.rows import Row, below

_PACKAGES = 3000
_ROUNDS = 5
_IMAGE, _OLD, _NEW = "web", "20261122T101530Z-1a2b3c4", "20261129T101530Z-5d6e7f8"


def inventory_rows() -> Iterator[Row]:
    """An image of 3,000 packages, of which its next build upgrades every tenth."""
    old, new = printed(upgraded=0), printed(upgraded=_PACKAGES // 10)
    # The first time, since a run writes each image's SBOM once: importing the CycloneDX library is in it.
    yield below(
        f"inventory and SBOM of {_PACKAGES:,} packages",
        measured=_seconds(lambda: render_sbom(_IMAGE, _OLD, parse(old))),
        target=1,
        unit="s",
    )
    was, now = render_sbom(_IMAGE, _OLD, parse(old)), render_sbom(_IMAGE, _NEW, parse(new))
    taken = [_seconds(lambda: difference(read_sbom(was), read_sbom(now))) for _ in range(_ROUNDS)]
    yield below(
        f"difference of two SBOMs of {_PACKAGES:,} packages",
        measured=statistics.median(taken) * 1000,
        target=100,
        unit="ms",
    )


def printed(*, upgraded: int) -> bytes:
    """What the script prints on a Debian with so many packages, the first of them upgraded."""
    debs = "".join(
        f"install ok installed\tlibrary-{number}-dev\t1:2.{number}.1+dfsg-3u{2 if number < upgraded else 1}\tamd64"
        f"\tsource-{number // 3}\n"
        for number in range(_PACKAGES)
    )
    sections = {
        "uid": "0\n",
        "os": 'ID=debian\nVERSION_ID="12"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
        "kernel": "6.1.0-25-cloud-amd64\n",
        "deb": debs,
        "units": "".join(f"unit-{number}.service enabled enabled\n" for number in range(300)),
        "tcp": "head\n   0: 00000000:0016 00000000:0000 0A 0:0 0:0 0 0 0 501 1\n",
        "sockets": "/proc/7/fd:\nlrwx------ 1 0 0 64 Nov 22 10:00 3 -> socket:[501]\n",
        "processes": "/proc/7/comm:sshd\n",
        "pid-namespace": "pid:[4026531836]\n",
        "users": "root:x:0:0:root:/root:/bin/bash\n",
        "suid": "/usr/bin/su\0/usr/bin/sudo\0",
    }
    framed = "".join(f"section {name} 0 {len(content)} 0\n{content}" for name, content in sections.items())
    return f"\nreconciler-inventory 1\n{framed}end\n".encode()


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun
