"""What a plan reads of a registry of container images: against the same requests, and no more of them."""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from requests.adapters import HTTPAdapter

from reconciler.model.declaration import AwsSettings
from reconciler.ports.registry import Opening
from reconciler.registries.oci.client import MANIFEST
from reconciler.registries.oci.exchange import PARALLEL
from reconciler.registries.oci.marks import Marks, tag_of, write_marks
from reconciler.registries.oci.reference import Reference
from reconciler.registries.oci.registry import OciRegistry, open_registry
from tests import containers
from tests.bench.rows import Row, at_most, told

IMAGES = 1000
ROUNDS = 5
FLEET = "acme/images"
_ACCEPT = {"Accept": MANIFEST}


def registry_rows(folder: Path) -> Iterator[Row]:
    """1,000 images in one repository, each with its marks, in docker-registry on loopback."""
    what = f"{IMAGES:,} container images"
    if shutil.which("docker-registry") is None:
        yield told(f"{what}: observed", "not measured: there is no docker-registry")
        return
    folder.mkdir()
    with containers.registry(folder) as host:
        at = Reference(host, "acme/web")
        digests = _filled(at)
        took: dict[str, list[float]] = {"observed": [], "bare": []}
        for _ in range(ROUNDS):
            took["bare"].append(_seconds(lambda: _bare(at, digests)))
            took["observed"].append(_seconds(lambda: _observed(at)))
    observed, bare = (statistics.median(took[name]) for name in ("observed", "bare"))
    yield at_most(
        f"{what}: observed, a request each", measured=observed, against=bare, target=1.3, floor="bare requests"
    )


def _ours() -> OciRegistry:
    found = open_registry(Opening(FLEET, AwsSettings()))
    assert isinstance(found, OciRegistry)
    return found


def _observed(at: Reference) -> None:
    seen = _ours().observe([at.repository])
    assert (len(seen.artifacts), seen.unreadable) == (IMAGES, {})


def _bare(at: Reference, digests: list[str]) -> None:
    """The same requests, by the same library and as many at once, of which nothing is made."""
    base = f"{at.endpoint}/v2/{at.path}"
    with requests.Session() as session, ThreadPoolExecutor(PARALLEL) as pool:
        session.mount("http://", HTTPAdapter(pool_maxsize=PARALLEL))

        def get(path: str) -> bytes:
            return session.get(f"{base}/{path}", headers=_ACCEPT, timeout=60).content

        pages = -(-2 * IMAGES // 1000)
        assert all(get("tags/list?n=1000") for _ in range(pages))
        assert all(pool.map(get, [f"manifests/{tag_of(digest)}" for digest in digests]))


def _filled(at: Reference) -> list[str]:
    """Put the images there; their digests."""
    client = _ours()._client
    config = b"{}"
    client.put_blob(at, config)

    def put(number: int) -> str:
        told_of = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": _digest(config), "size": 2}
        image = {
            "schemaVersion": 2, "mediaType": MANIFEST, "config": told_of, "layers": [],
            "annotations": {"number": str(number)},
        }  # fmt: skip
        body, name = json.dumps(image).encode(), f"web-20261122T101530Z-{number:07x}"
        client.put_manifest(at.by(name), body, MANIFEST)
        tags = {"reconciler:fleet": FLEET, "reconciler:image": f"web{number}", "reconciler:key": _digest(body)}
        marks = Marks(_digest(body), name, "2026-11-22T10:15:30Z", tags)
        write_marks(client, at, marks, subject={"mediaType": MANIFEST, "digest": marks.id, "size": len(body)})
        return marks.id

    first = put(0)
    with ThreadPoolExecutor(PARALLEL) as pool:
        return [first, *pool.map(put, range(1, IMAGES))]


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _seconds(run: Callable[[], None]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun
