"""The floor: the same requests to a container registry as a no-op plan makes, by bare `requests`, and nothing else.

python bare.py URL PAGES FILE, whose lines are the tags of which each manifest is read.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter

_ACCEPT = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
_AT_ONCE = 16


def ask(base: str, *, pages: int, tags: Sequence[str]) -> int:
    """List the tags of a repository, and read the manifest of each that is given, many at once. Returns the bytes."""
    with requests.Session() as session, ThreadPoolExecutor(_AT_ONCE) as pool:
        session.mount("http://", HTTPAdapter(pool_maxsize=_AT_ONCE))

        def get(path: str) -> int:
            answer = session.get(f"{base}/{path}", headers=_ACCEPT, timeout=60)
            answer.raise_for_status()
            return len(answer.content)

        listed = sum(get("tags/list?n=1000") for _ in range(pages))
        return listed + sum(pool.map(get, [f"manifests/{tag}" for tag in tags]))


if __name__ == "__main__":
    sys.stdout.write(f"{ask(sys.argv[1], pages=int(sys.argv[2]), tags=Path(sys.argv[3]).read_text().split())} bytes\n")
