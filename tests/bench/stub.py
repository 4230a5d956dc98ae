"""An EC2 that answers DescribeImages from pages rendered beforehand: moto would take most of the time at 10,000 images.

`python -m tests.bench.stub LISTING` serves what `write_listing` wrote, on a free port of loopback, and prints its URL.
"""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from reconciler.model.lockfile import Artifact
from tests.bench.fleet import Unborn

PAGE = 1000
_REGION = re.compile(r"Credential=[^/]+/\d+/(?P<region>[^/]+)/ec2/")  # the scope of a SigV4 signature


def write_listing(listing: Path, unborn: Sequence[Unborn]) -> Mapping[tuple[str, str], Artifact]:
    """Write down these AMIs for the stub, with ids made from their names, and return them."""
    made = {(one.region, one.name): _artifact(one) for one in unborn}
    facts = [{**made[one.region, one.name].model_dump(mode="json"), "tags": dict(one.tags)} for one in unborn]
    listing.write_text(json.dumps(facts), encoding="utf-8")
    return made


@contextmanager
def serving(listing: Path) -> Iterator[str]:
    """Serve a listing from a process of its own; gives its URL."""
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.stub", str(listing)], stdout=subprocess.PIPE, text=True
    )
    try:
        if server.stdout is None:
            raise RuntimeError("the stub was started without a pipe")
        url = server.stdout.readline().strip()
        if not url:
            raise RuntimeError(f"the stub could not serve {listing}")  # else botocore would ask AWS itself
        yield url
    finally:
        server.terminate()
        server.wait()


def _artifact(one: Unborn) -> Artifact:
    digits = hashlib.sha256(f"{one.region}/{one.name}".encode()).hexdigest()[:17]
    return Artifact(
        kind="ami",
        builder="amazon-ebs.image",
        location=one.region,
        id=f"ami-{digits}",
        name=one.name,
        parts=(f"snap-{digits}",),
    )


def _pages(facts: Sequence[Mapping[str, object]]) -> list[bytes]:
    batches = [facts[start : start + PAGE] for start in range(0, len(facts), PAGE)]
    return [_page(batch, following=place + 1 if place + 1 < len(batches) else 0) for place, batch in enumerate(batches)]


def _page(facts: Sequence[Mapping[str, object]], *, following: int) -> bytes:
    token = f"<nextToken>{following}</nextToken>" if following else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<DescribeImagesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>r</requestId>'
        f"<imagesSet>{''.join(map(_item, facts))}</imagesSet>{token}</DescribeImagesResponse>"
    ).encode()


def _item(fact: Mapping[str, object]) -> str:
    tags, snapshots = fact["tags"], fact["parts"]
    if not isinstance(tags, dict) or not isinstance(snapshots, list):
        raise TypeError("not a listing")
    tag_set = "".join(f"<item><key>{escape(k)}</key><value>{escape(v)}</value></item>" for k, v in tags.items())
    return (
        f"<item><imageId>{fact['id']}</imageId><imageLocation>123456789012/{fact['name']}</imageLocation>"
        "<imageState>available</imageState><imageOwnerId>123456789012</imageOwnerId><isPublic>false</isPublic>"
        "<architecture>x86_64</architecture><imageType>machine</imageType>"
        "<platformDetails>Linux/UNIX</platformDetails><usageOperation>RunInstances</usageOperation>"
        f"<creationDate>2026-11-01T06:06:40.000Z</creationDate><name>{fact['name']}</name>"
        "<rootDeviceType>ebs</rootDeviceType><rootDeviceName>/dev/xvda</rootDeviceName>"
        "<virtualizationType>hvm</virtualizationType><hypervisor>xen</hypervisor><enaSupport>true</enaSupport>"
        "<blockDeviceMapping><item><deviceName>/dev/xvda</deviceName><ebs>"
        f"<snapshotId>{snapshots[0]}</snapshotId><volumeSize>8</volumeSize><volumeType>gp3</volumeType>"
        "<deleteOnTermination>true</deleteOnTermination><encrypted>false</encrypted></ebs></item></blockDeviceMapping>"
        f"<tagSet>{tag_set}</tagSet></item>"
    )


def _main(listing: Path) -> None:
    by_region: dict[str, list[Mapping[str, object]]] = {}
    for fact in json.loads(listing.read_text(encoding="utf-8")):
        by_region.setdefault(fact["location"], []).append(fact)
    pages = {region: _pages(facts) for region, facts in by_region.items()}

    class Answers(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            asked = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            scope = _REGION.search(self.headers["Authorization"])
            page = int(asked.get("NextToken", ["0"])[0])
            body = pages[scope["region"]][page] if scope else b""
            self.send_response(200)
            self.send_header("Content-Type", "text/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name for it
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    server.serve_forever()


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
