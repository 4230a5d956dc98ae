"""What a sandbox is made of, in the order in which the parts stand on each other."""

from __future__ import annotations

import asyncio
import os
import secrets
from contextlib import ExitStack
from pathlib import Path

from reconciler.sandbox import (
    catalogue,
    ec2,
    groups,
    images,
    parameters,
    permissions,
    published,
    recycle_bin,
    references,
    refreshes,
    templates,
    usage_reports,
)
from reconciler.sandbox.addresses import Addresses
from reconciler.sandbox.control import Control
from reconciler.sandbox.endpoint import Endpoint
from reconciler.sandbox.instances import Instances, install_console
from reconciler.sandbox.proxy import Proxy
from reconciler.sandbox.ssh import SecureShell
from reconciler.sandbox.storage import Chain, Storage
from reconciler.sandbox.traffic import Traffic

_AS_LOGIN_USER = {
    "ANSIBLE_BECOME_ALLOW_SAME_USER": "true",
    "ANSIBLE_REMOTE_TMP": "/tmp/.ansible-$USER",  # noqa: S108 - in the instance, and no image keeps it
}
"""What makes a play work that Packer runs as root.

Unless a template names a `user`, Packer's provisioner tells Ansible that it logs in as whoever runs Packer, and logs in
as the image's user all the same. Of root Ansible believes that `~` is /root, where that user may not write, and that
root need not become root. It is the instance's shell that reads `$USER`.
"""


def assemble(directory: Path, system: Path, loop: asyncio.AbstractEventLoop, parts: ExitStack) -> dict[str, object]:
    """Start every part; return what a client needs to know. `parts` takes them apart again, last first."""
    addresses = Addresses()
    parts.callback(addresses.close)
    addresses.claim()
    storage = Storage(directory, system=system)
    parts.callback(storage.close)
    bases = {user: _base(storage, user) for user in {publisher.user for publisher in catalogue.PUBLISHERS}}
    instances = Instances(storage=storage, addresses=addresses, ssh=SecureShell(loop))
    parts.callback(instances.close)

    upstream = catalogue.Catalogue()
    catalogue.install_parameters(upstream)
    ec2.install(ec2.Ground(addresses, instances, storage, upstream, bases=bases))
    images.install()
    recycle_bin.install()
    usage_reports.install()
    references.install()
    parameters.install()
    templates.install()
    groups.install()
    refreshes.install()
    install_console()
    permissions.install()
    traffic = Traffic()
    traffic.install()

    token = secrets.token_urlsafe()
    proxy = Proxy(directory, token=token)
    proxy.start()
    parts.callback(proxy.stop)
    endpoint = Endpoint(token)
    endpoint.start()
    parts.callback(endpoint.stop)
    control = Control(
        token=token, catalogue=upstream, instances=instances, storage=storage, traffic=traffic, bases=bases
    )
    control.start()
    parts.callback(control.stop)
    return {
        "pid": os.getpid(),
        "environment": _environment(proxy),
        "endpoint": endpoint.url,
        "control": control.url,
        "token": token,
    }


def _base(storage: Storage, user: str) -> Chain:
    """What every image holds whose publisher has it log in as `user`."""
    name, layer = storage.new_layer()
    published.lay(layer, user=user)
    place = f"base/{user}"
    storage.keep_image(place, (name,))  # so that the layer outlives images that stand on it
    return storage.chain_of(place)


def _environment(proxy: Proxy) -> dict[str, str]:
    # Both spellings: Go asks for the large one first, Python for the small one, and either may be set already.
    through = {"HTTPS_PROXY": proxy.url, "NO_PROXY": "127.0.0.1,localhost"}
    return {
        **through,
        **{name.lower(): value for name, value in through.items()},
        **_AS_LOGIN_USER,
        "AWS_ACCESS_KEY_ID": "AKIASANDBOXSANDBOX00",
        "AWS_CA_BUNDLE": str(proxy.ca_bundle),
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        # Packer's waiters ask every second then, 40 times. AWS_MAX_ATTEMPTS, which would say how often, stays
        # unset: botocore reads the same variable as how often a failed call is tried again.
        "AWS_POLL_DELAY_SECONDS": "1",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
        "CHECKPOINT_DISABLE": "1",
        # For what Packer asks AWS without its SDK, and for curl, which a machine may have told of others.
        **dict.fromkeys(["SSL_CERT_FILE", "CURL_CA_BUNDLE"], str(proxy.authorities)),
    }
