"""What a plan reads of a registry of container images: against the same requests, and no more of them."""

from __future__ import annotations

import hashlib
import json
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from reconciler.model.declaration import Settings
from reconciler.model.lockfile import Artifact
from reconciler.ports.registry import Opening
from reconciler.registries.oci.client import MANIFEST
from reconciler.registries.oci.dialect import OCI
from reconciler.registries.oci.kept_marks import KeptMarks
from reconciler.registries.oci.marks import Marks, tag_of, write_marks
from reconciler.registries.oci.reference import Reference
from reconciler.registries.oci.registry import OciRegistry, client_of
from reconciler.registries.oci.transport import PARALLEL
from tests import containers
from tests.bench import bare, fleet
from tests.bench.far import away
from tests.bench.measure import Command, cost_of, interleaved
from tests.bench.rows import Row, at_most, told

IMAGES = 1000
ROUNDS = 5
_OPENING = Opening(fleet.FLEET, Settings())
_DEBIAN = f"sha256:{'d' * 64}"
_PAGES = -(-2 * IMAGES // 1000)
_AWAY = 50
"""Milliseconds: a registry that is a network away. On loopback the starts of both processes would be most of it."""


def registry_rows(folder: Path, environment: Mapping[str, str]) -> Iterator[Row]:
    """1,000 images in one repository, each with its marks, in docker-registry on loopback: read, and planned."""
    what = f"{IMAGES:,} container images"
    if shutil.which("docker-registry") is None:
        yield told(f"{what}: observed", "not measured: there is no docker-registry")
        return
    folder.mkdir()
    with containers.registry(folder) as near, away(near, milliseconds=_AWAY) as far:
        at = Reference(far.host, "acme/images")
        digests: list[str] = []
        root = fleet.make(
            folder / "fleet", images=IMAGES, publish=partial(_put, Reference(near, at.path), digests), sort=_sort(at)
        )
        tags = [tag_of(digest) for digest in digests]
        yield _observing(what, Reference(near, at.path), tags, kept=folder / "marks")
        (folder / "tags").write_text("\n".join(tags))
        asking = (sys.executable, str(Path(bare.__file__)), _base(at), str(_PAGES), str(folder / "tags"))
        environment = {**environment, "XDG_CACHE_HOME": str(folder / "cache")}
        plan = Command((sys.executable, "-m", "reconciler", "plan", "--detailed-exitcode"), root, environment)
        cost = interleaved({"floor": Command(asking, root, environment), "plan": plan}, rounds=ROUNDS)
        before = far.asked()
        cost_of(plan)
        asked = far.asked() - before
    what = f"no-op plan, {what} in a registry {_AWAY} ms away"
    yield at_most(
        f"{what}: wall", measured=cost["plan"].wall, against=cost["floor"].wall, target=1.3, floor="bare requests"
    )
    most = IMAGES + _PAGES
    yield Row(f"{what}: requests", f"{asked:,}", f"{_PAGES} pages of tags", "", f"≤ {most:,}", asked <= most)


def _observing(what: str, at: Reference, tags: Sequence[str], *, kept: Path) -> Row:
    took: dict[str, list[float]] = {"observed": [], "bare": []}
    for _ in range(ROUNDS):
        took["bare"].append(_seconds(lambda: bare.ask(_base(at), pages=_PAGES, tags=tags)))
        took["observed"].append(_seconds(lambda: _observed(at, kept)))
    observed, floor = (statistics.median(took[name]) for name in ("observed", "bare"))
    return at_most(
        f"{what}: observed, a request each", measured=observed, against=floor, target=1.3, floor="bare requests"
    )


def _base(at: Reference) -> str:
    return f"{at.endpoint}/v2/{at.path}"


def _observed(at: Reference, kept: Path) -> None:
    registry = OciRegistry(client_of(_OPENING), fleet=fleet.FLEET, kept=KeptMarks(kept))
    seen = registry.observe([at.repository])
    assert (len(seen.artifacts), seen.unreadable) == (IMAGES, {})


def _put(at: Reference, digests: list[str], unborn: Sequence[fleet.Unborn]) -> Mapping[tuple[str, str], Artifact]:
    """Put images there, each with its marks. Their digests are added to `digests`."""
    client = client_of(_OPENING)
    config = b"{}"
    client.put_blob(at, config)

    def put(one: fleet.Unborn) -> Artifact:
        told_of = {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": _digest(config), "size": 2}
        image = {
            "schemaVersion": 2, "mediaType": MANIFEST, "config": told_of, "layers": [],
            "annotations": {"name": one.name},
        }  # fmt: skip
        body = json.dumps(image).encode()
        client.put_manifest(at.by(one.name), body, MANIFEST)
        marks = Marks(_digest(body), one.name, "2026-11-01T06:10:00Z", one.tags)
        write_marks(client, at, marks, subject={"mediaType": MANIFEST, "digest": marks.id, "size": len(body)})
        return Artifact(kind=OCI.name, builder=f"docker.{one.name}", location=one.region, id=marks.id, name=one.name)

    first = put(unborn[0])
    with ThreadPoolExecutor(PARALLEL) as pool:
        made = [first, *pool.map(put, unborn[1:])]
    digests += [one.id for one in made]
    return {(one.location, one.name or ""): one for one in made}


def _sort(at: Reference) -> fleet.Sort:
    settings = f"""\
fleet: {fleet.FLEET}
defaults:
  locations: [{at.repository}]
  refresh: {{ max_age: 7d }}
  tags: {{ CostCenter: platform }}
"""
    return fleet.Sort(
        settings, _FILES, (at.repository,), lambda _: OCI.pin("docker.io/library/debian", _DEBIAN, name="debian:12")
    )


def _digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _seconds(run: Callable[[], object]) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


_FILES = {
    "image.yaml": """\
description: The service @name@, on Debian 12
labels: { team: platform, number: "@number@" }
source: { oci: "debian:12" }
""",
    "setup.sh": fleet.SETUP,
    "template.pkr.hcl": """\
# How @name@ is built. Variables without a default are given by the reconciler.
variable "source_image" {
  type = string
}

locals {
  service = "@name@"
  port    = 8000 + @number@
}

source "docker" "@name@" {
  image  = var.source_image
  commit = true
}

build {
  sources = ["source.docker.@name@"]

  provisioner "shell" {
    environment_vars = ["SERVICE=${local.service}", "PORT=${local.port}"]
    script           = "${path.root}/setup.sh"
  }
}
""",
}
