"""An account in moto, filled in its own process: thousands of AMIs with dates of their own, and who uses some of them.

`python -m tests.bench.account LISTING` serves it on a free port of loopback and prints its URL. A line on its standard
input has it tell, as JSON, how often each call was made since the line before.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

ACCOUNT = "123456789012"
ANYBODY = {
    "AWS_ACCESS_KEY_ID": "AKIABENCHBENCHBENCH0",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True)
class Account:
    """One that is being served."""

    url: str
    _process: subprocess.Popen[str]

    @property
    def environment(self) -> dict[str, str]:
        """What a client exports to reach it."""
        return {**ANYBODY, "AWS_ENDPOINT_URL": self.url}

    def calls(self) -> Mapping[str, int]:
        """How often each call was made since it was asked last, as in `ec2.DescribeImages`."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("the account was started without pipes")
        self._process.stdin.write("calls\n")
        self._process.stdin.flush()
        told: dict[str, int] = json.loads(self._process.stdout.readline())
        return told


@contextmanager
def serving(listing: Path) -> Iterator[Account]:
    """Serve an account with the AMIs of a listing: location, id, name, created and tags of each."""
    command = [sys.executable, "-m", "tests.bench.account", str(listing)]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip() if server.stdout is not None else ""
        if not url:
            raise RuntimeError(f"the account could not be served from {listing}")  # else botocore would ask AWS itself
        yield Account(url, server)
    finally:
        server.terminate()
        server.wait()


def _main(listing: Path) -> None:
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"  # read by moto when it is imported
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)  # a line for each call
    from moto.ec2.models import ec2_backends  # noqa: PLC0415  see above
    from moto.ec2.models.amis import Ami  # noqa: PLC0415  see above
    from moto.ec2.responses.amis import AmisResponse  # noqa: PLC0415  see above
    from moto.server import ThreadedMotoServer  # noqa: PLC0415  see above

    from reconciler.sandbox import images, recycle_bin, references  # noqa: PLC0415  see above
    from reconciler.sandbox.traffic import Traffic  # noqa: PLC0415  see above

    images._PAGE = 1_000_000
    AmisResponse.describe_images = images.describe_images  # type: ignore[method-assign, assignment]  # moto has no pages
    recycle_bin.register()
    references.register()
    traffic = Traffic()
    traffic.install()
    for one in json.loads(listing.read_text(encoding="utf-8")):
        backend = ec2_backends[ACCOUNT][one["location"]]
        backend.amis[one["id"]] = Ami(
            backend, one["id"], name=one["name"], description="", owner_id=ACCOUNT, public=False, architecture="x86_64",
            virtualization_type="hvm", hypervisor="xen", root_device_type="ebs", root_device_name="/dev/xvda",
            creation_date=datetime.fromisoformat(one["created"]), region_name=f"{one['location']}a",
        )  # fmt: skip
        backend.tags[one["id"]].update(one["tags"])
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()
    for _ in sys.stdin:
        told = {f"{call.service}.{call.action}": 0 for call in traffic.counts()}
        for call, number in traffic.counts().items():
            told[f"{call.service}.{call.action}"] += number
        traffic.forget_counts()
        sys.stdout.write(f"{json.dumps(told)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(Path(sys.argv[1]))
