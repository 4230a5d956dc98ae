"""As much of GitHub as a pull request needs, on loopback: statuses, one pull request, its comments.

What GitHub itself would refuse is tested beside the client (tests/integration/announce/github).
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = dict[str, Any]
LOGIN = "images-bot"


@dataclass
class GitHub:
    """What was posted, and how it answers. `refuses` maps a word in the path to a status."""

    url: str = ""
    repository: str = "acme/images"
    statuses: list[Json] = field(default_factory=list)
    comments: list[Json] = field(default_factory=list)
    edits: int = 0
    refuses: dict[str, int] = field(default_factory=dict)

    def latest(self) -> dict[str, tuple[str, str]]:
        """State and description by context."""
        return {one["context"]: (one["state"], one["description"]) for one in self.statuses}

    def answer(self, method: str, path: str, body: Json) -> tuple[int, Any]:
        """The status and the body of an answer."""
        for word, status in self.refuses.items():
            if word in path:
                return status, {"message": "Resource not accessible by integration"}
        rest = path.partition("?")[0].removeprefix(f"/repos/{self.repository}")
        for way, respond in self._ways.items():
            found = re.fullmatch(way, f"{method} {rest}")
            if found is not None:
                return respond(found[1] if found.groups() else "", body)
        return 404, {"message": f"{method} {path} is not stood in for"}

    @property
    def _ways(self) -> dict[str, Callable[[str, Json], tuple[int, Any]]]:
        repository = {"url": self._base, "owner": {"login": "acme"}, "full_name": self.repository}
        return {
            "POST /graphql": lambda _, __: (200, {"data": {"viewer": {"login": LOGIN}}}),
            "GET ": lambda _, __: (200, repository),
            "GET /commits/[0-9a-f]+/status": lambda _, __: (200, {"statuses": self.statuses[::-1]}),
            "POST /statuses/[0-9a-f]+": self._post_status,
            "GET /pulls/([0-9]+)": self._pull,
            "GET /issues/[0-9]+/comments": lambda _, __: (200, self.comments),
            "POST /issues/([0-9]+)/comments": self._post_comment,
            "PATCH /issues/comments/([0-9]+)": self._edit_comment,
        }

    @property
    def _base(self) -> str:
        return f"{self.url}/repos/{self.repository}"

    def _post_status(self, _: str, body: Json) -> tuple[int, Any]:
        self.statuses.append({"target_url": None, **body})
        return 201, {}

    def _pull(self, number: str, _: Json) -> tuple[int, Any]:
        urls = {"url": f"{self._base}/pulls/{number}", "issue_url": f"{self._base}/issues/{number}"}
        return 200, {**urls, "number": int(number)}

    def _post_comment(self, _: str, body: Json) -> tuple[int, Any]:
        number = len(self.comments) + 1
        made = {"id": number, "url": f"{self._base}/issues/comments/{number}", "user": {"login": LOGIN}, **body}
        self.comments.append(made)
        return 201, made

    def _edit_comment(self, number: str, body: Json) -> tuple[int, Any]:
        self.edits += 1
        self.comments[int(number) - 1].update(body)
        return 200, self.comments[int(number) - 1]


@contextmanager
def serving() -> Iterator[GitHub]:
    """GitHub, until the block ends."""
    hub = GitHub()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
            status, said = hub.answer(self.command, self.path, body)
            content = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_PATCH = do_POST  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
