"""The sandbox's own levers, over HTTP on loopback: publish images, disturb calls, instances and refreshes, ask IAM."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from http.server import BaseHTTPRequestHandler
from typing import Any

from reconciler.model.errors import UserError
from reconciler.sandbox import ec2, permissions, recycle_bin, refreshes
from reconciler.sandbox.catalogue import Catalogue, Publisher
from reconciler.sandbox.endpoint import POLL_SECONDS, Door, is_from_a_program, is_same
from reconciler.sandbox.instances import Instances
from reconciler.sandbox.storage import Chain, Storage
from reconciler.sandbox.traffic import Fault, Traffic

Lever = Callable[[dict[str, Any]], object]

_MOST_ASKED = 1 << 20
"""Bytes of a request."""


class Control(Door):
    """Answers `POST /<lever>` with JSON in and out, to whoever bears the token. 400 carries a UserError's text."""

    def __init__(
        self,
        *,
        token: str,
        catalogue: Catalogue,
        instances: Instances,
        storage: Storage,
        traffic: Traffic,
        bases: Mapping[str, Chain],
    ) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.token = token
        self._bases = bases
        self._catalogue = catalogue
        self._instances = instances
        self._traffic = traffic
        self.levers: dict[str, Lever] = {
            "/publish": self._publish,
            "/inject": self._inject,
            "/heal": lambda _: traffic.heal(),
            "/calls": self._calls,
            "/forget-calls": lambda _: traffic.forget_counts(),
            "/kill": self._kill,
            "/change-host-key": self._change_host_key,
            "/fail-refresh": self._fail_refresh,
            "/lapse": self._lapse,
            "/iam": lambda asked: permissions.enforce(enforced=asked["enforced"]),
            "/layers": lambda asked: storage.chain_of(asked["image"]),
        }
        self._thread = threading.Thread(target=self.serve_forever, args=(POLL_SECONDS,), daemon=True)

    @property
    def url(self) -> str:
        """Where the levers are."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        """Serve from a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop serving."""
        self.shutdown()
        self.server_close()

    def _publish(self, asked: dict[str, Any]) -> object:
        created = datetime.fromisoformat(asked["creation_date"]) if asked.get("creation_date") else None
        name, command = asked["name"], asked.get("run")

        def prepare(publisher: Publisher) -> Chain | None:
            base = self._bases[publisher.user]
            return self._instances.prepare(name, base=base, command=command) if command else None

        with self._traffic.turn():
            image = self._catalogue.publish(name, created=created, prepare=prepare)
        return {region: image.id_in(region) for region in asked["regions"]}

    def _inject(self, asked: dict[str, Any]) -> None:
        self._traffic.inject(Fault(**asked))

    def _kill(self, asked: dict[str, Any]) -> None:
        with self._traffic.turn():
            ec2.kill(asked["instance"])

    def _change_host_key(self, asked: dict[str, Any]) -> None:
        with self._traffic.turn():
            self._instances.change_host_key(asked["instance"])

    def _fail_refresh(self, asked: dict[str, Any]) -> None:
        with self._traffic.turn():
            refreshes.fail(asked["group"])

    def _lapse(self, asked: dict[str, Any]) -> None:
        with self._traffic.turn():
            refreshes.lapse(asked["seconds"])
            recycle_bin.lapse(asked["seconds"])

    def _calls(self, _: dict[str, Any]) -> object:
        return [[asdict(call), count] for call, count in self._traffic.counts().items()]


class _Handler(BaseHTTPRequestHandler):
    server: Control

    def do_POST(self) -> None:
        port, offered = self.server.server_address[1], self.headers.get("Authorization", "")
        if not is_same(offered, f"Bearer {self.server.token}") or not is_from_a_program(self.headers, port):
            self._answer(403, {"what": "the sandbox does not answer this", "hint": []})
            return
        length = self.headers.get("Content-Length", "0")
        if not (length.isascii() and length.isdigit() and int(length) <= _MOST_ASKED):
            self._answer(413, {"what": f"a lever is asked for in {_MOST_ASKED} bytes at most", "hint": []})
            return
        asked = json.loads(self.rfile.read(int(length)) or b"{}")
        lever = self.server.levers.get(self.path)
        if lever is None:
            self._answer(404, {"what": f"no such lever: {self.path}", "hint": []})
            return
        try:
            self._answer(200, lever(asked))
        except UserError as error:
            self._answer(400, {"what": error.what, "hint": list(error.hint)})

    def log_message(self, *_: object) -> None:
        """Nothing to say: the caller has the answer."""

    def _answer(self, status: int, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
