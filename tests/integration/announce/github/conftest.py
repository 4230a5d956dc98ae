"""GitHub on loopback: it remembers what it is told, and refuses what GitHub's own description does not allow.

The description is that of npm's `@octokit/openapi`, held against every request by Prism. Both are installed, by the
versions and digests of tests/npm, into the user's cache.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from reconciler.announce.access import RetryPolicy
from reconciler.announce.github_api import GitHub
from reconciler.announce.pull_request import PullRequest
from tests.node import installed

PACKAGES = Path(__file__).parents[3] / "npm"
REPOSITORY = "acme/images"
US = "github-actions[bot]"
# The paths that are asked for. Prism reads all of GitHub's 1,000 in ten seconds of CPU, and these in two.
PATHS = re.compile(
    r"/repos/\{owner\}/\{repo\}(/(dispatches|statuses/\{sha\}|commits/\{ref\}/status|pulls|pulls/\{pull_number\}"
    r"|issues/\{issue_number\}/comments|issues/comments/\{comment_id\}))?"
)
LISTENING = re.compile(r"listening on http://127\.0\.0\.1:(\d+)")

Json = dict[str, Any]


@pytest.fixture(scope="package")
def packages() -> Path:
    """The folder with node_modules."""
    return installed(PACKAGES, trim=_without_other_editions)


def _without_other_editions(folder: Path) -> None:
    for other in (folder / "node_modules/@octokit/openapi/generated").glob("*.json"):
        if other.name != "api.github.com.json":
            other.unlink()  # 400 MB: other editions of GitHub


@pytest.fixture(scope="package")
def description(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GitHub's description of the paths that are asked for, with all that they refer to."""
    whole = json.loads((packages / "node_modules/@octokit/openapi/generated/api.github.com.json").read_bytes())
    paths = {path: item for path, item in whole["paths"].items() if PATHS.fullmatch(path)}
    components: dict[str, Json] = {}
    wanted = set(references(paths))
    while wanted:
        _, _, kind, name = wanted.pop().split("/")
        if name not in components.setdefault(kind, {}):
            components[kind][name] = whole["components"][kind][name]
            wanted |= set(references(components[kind][name]))
    file = tmp_path_factory.mktemp("github") / "description.json"
    file.write_text(json.dumps({"openapi": whole["openapi"], "info": whole["info"], "paths": paths}
                               | {"components": components}))  # fmt: skip
    return file


def references(node: object) -> Iterator[str]:
    """Every `$ref` below a node."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "$ref" and isinstance(value, str):
                yield value
            else:
                yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


@pytest.fixture(scope="package")
def prism(packages: Path, description: Path) -> Iterator[int]:
    """The port on which requests are held against the description."""
    command = ["node", str(packages / "node_modules/@stoplight/prism-cli/dist/index.js"), "mock", str(description)]
    environment = {"PATH": os.environ["PATH"], "NO_COLOR": "1"}
    with subprocess.Popen(
        # Not with --errors, by which GitHub's examples are held against GitHub's description too, and fail.
        [*command, "--host", "127.0.0.1", "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        said = ""
        for line in process.stdout:
            said += line
            if found := LISTENING.search(line):
                break
        else:
            raise AssertionError(said)
        # It writes of every request, and would stop when the pipe is full.
        drain = threading.Thread(target=lambda: [None for _ in process.stdout or ()])
        drain.start()
        yield int(found[1])
        process.terminate()
        drain.join()


class Forge:
    """A repository on GitHub. What people do to it is done to its fields."""

    def __init__(self, prism: int) -> None:
        self.requests: list[str] = []
        self.violations: list[str] = []
        self.statuses: dict[str, list[Json]] = {}
        self.comments: dict[int, Json] = {}
        self.pulls: dict[int, Json] = {}
        self.dispatched: list[Json] = []
        self.faster: Json | None = None
        """A pull request that somebody opens just before we do."""
        self._prism = prism
        self._numbers = count(1)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def written(self) -> list[str]:
        """The requests that changed something."""
        return [one for one in self.requests if not one.startswith("GET") and not one.endswith("/graphql")]

    def open_pull(self, head: str = "topic", base: str = "main", *, state: str = "open", title: str = "t") -> int:
        number = next(self._numbers)
        path = f"{self.url}/repos/{REPOSITORY}"
        self.pulls[number] = {
            "url": f"{path}/pulls/{number}", "issue_url": f"{path}/issues/{number}", "number": number,
            "html_url": f"https://github.com/{REPOSITORY}/pull/{number}", "state": state, "title": title, "body": None,
            "head": {"ref": head, "label": f"acme:{head}"}, "base": {"ref": base},
        }  # fmt: skip
        return number

    def write_comment(self, number: int, body: str, *, author: str = US) -> int:
        comment = next(self._numbers)
        url = f"{self.url}/repos/{REPOSITORY}/issues/comments/{comment}"
        self.comments[comment] = {
            "id": comment, "url": url, "body": body, "user": {"login": author, "url": f"{self.url}/users/{author}"},
            "issue_url": f"{self.url}/repos/{REPOSITORY}/issues/{number}",
        }  # fmt: skip
        return comment

    def bodies(self) -> list[str]:
        """The comments' texts, oldest first."""
        return [comment["body"] for comment in self.comments.values()]

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> tuple[int, object]:
        self.requests.append(f"{method} {urlsplit(target).path}")
        said = json.loads(body) if body else {}
        if target == "/graphql":
            return 200, {"data": {"viewer": {"login": US}}}
        if refused := self._broken_rule(method, target, headers, body):
            self.violations.append(f"{method} {target}: {refused}")
            return 422, {"message": refused}
        path = urlsplit(target).path.removeprefix(f"/repos/{REPOSITORY}")
        query = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        for pattern, reply in self._routes.items():
            verb, _, rest = pattern.partition(" ")
            if verb == method and (match := re.fullmatch(rest, path)):
                return reply(self, *match.groups(), said=said, query=query)
        return 404, {"message": "Not Found"}

    def _broken_rule(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> str:
        """What GitHub's description has against a request; empty for one that it allows."""
        with contextlib.closing(HTTPConnection("127.0.0.1", self._prism, timeout=60)) as connection:
            # PyGithub's Accept names media types that the description leaves out.
            passed = {name: value for name, value in headers.items() if name.lower() not in ("host", "accept")}
            connection.request(method, target, body or None, passed)
            answer = connection.getresponse()
            text = answer.read().decode()
            return "" if answer.status < 400 else f"{answer.status} {text} {answer.headers.get('sl-violations')}"

    def _repository(self, **_: object) -> tuple[int, object]:
        url = f"{self.url}/repos/{REPOSITORY}"
        return 200, {"url": url, "full_name": REPOSITORY, "owner": {"login": "acme", "url": f"{self.url}/users/acme"}}

    def _combined(self, sha: str, *, query: Json, **_: object) -> tuple[int, object]:
        latest = list({status["context"]: status for status in self.statuses.get(sha, [])}.values())
        start = (int(query["page"]) - 1) * int(query["per_page"])
        return 200, {"statuses": latest[start : start + int(query["per_page"])]}

    def _status(self, sha: str, *, said: Json, **_: object) -> tuple[int, object]:
        self.statuses.setdefault(sha, []).append({"target_url": None, "description": None, **said})
        return 201, said

    def _dispatch(self, *, said: Json, **_: object) -> tuple[int, object]:
        self.dispatched.append(said)
        return 204, None

    def _pulls(self, *, query: Json, **_: object) -> tuple[int, object]:
        return 200, [
            pull
            for pull in self.pulls.values()
            if pull["state"] == query["state"]
            and pull["head"]["label"] == query["head"]
            and query.get("base") in (None, pull["base"]["ref"])
        ]

    def _new_pull(self, *, said: Json, **_: object) -> tuple[int, object]:
        if self.faster is not None:
            number = self.open_pull(said["head"], said["base"])
            self.pulls[number] |= self.faster
            reason = f"A pull request already exists for acme:{said['head']}."
            return 422, {"message": "Validation Failed", "errors": [{"code": "custom", "message": reason}]}
        number = self.open_pull(said["head"], said["base"], title=said["title"])
        self.pulls[number]["body"] = said["body"]
        return 201, self.pulls[number]

    def _pull(self, number: str, **_: object) -> tuple[int, object]:
        pull = self.pulls.get(int(number))
        return (200, pull) if pull else (404, {"message": "Not Found"})

    def _edit_pull(self, number: str, *, said: Json, **_: object) -> tuple[int, object]:
        self.pulls[int(number)] |= said
        return 200, self.pulls[int(number)]

    def _comments(self, number: str, **_: object) -> tuple[int, object]:
        issue = f"{self.url}/repos/{REPOSITORY}/issues/{number}"
        return 200, [comment for comment in self.comments.values() if comment["issue_url"] == issue]

    def _new_comment(self, number: str, *, said: Json, **_: object) -> tuple[int, object]:
        return 201, self.comments[self.write_comment(int(number), said["body"])]

    def _edit_comment(self, comment: str, *, said: Json, **_: object) -> tuple[int, object]:
        self.comments[int(comment)] |= said
        return 200, self.comments[int(comment)]

    def _delete_comment(self, comment: str, **_: object) -> tuple[int, object]:
        del self.comments[int(comment)]
        return 204, None

    _routes: ClassVar[dict[str, Callable[..., tuple[int, object]]]] = {
        "GET ": _repository,
        "GET /commits/([^/]+)/status": _combined,
        "POST /statuses/([^/]+)": _status,
        "POST /dispatches": _dispatch,
        "GET /pulls": _pulls,
        "POST /pulls": _new_pull,
        r"GET /pulls/(\d+)": _pull,
        r"PATCH /pulls/(\d+)": _edit_pull,
        r"GET /issues/(\d+)/comments": _comments,
        r"POST /issues/(\d+)/comments": _new_comment,
        r"PATCH /issues/comments/(\d+)": _edit_comment,
        r"DELETE /issues/comments/(\d+)": _delete_comment,
    }


def handler(forge: Forge) -> type[BaseHTTPRequestHandler]:
    """What carries requests to a forge."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, said = forge.answer(self.command, self.path, dict(self.headers.items()), body)
            reply = b"" if said is None else json.dumps(said).encode()
            self.send_response(status)
            if status != 204:
                self.send_header("Content-Type", "application/json; charset=utf-8")
                self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        do_POST = do_PATCH = do_DELETE = do_GET  # noqa: N815 - http.server's names

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's signature
            """Say nothing."""

    return Handler


@pytest.fixture
def forge(prism: int) -> Iterator[Forge]:
    """GitHub; a request that breaks its description fails the test."""
    opened = Forge(prism)
    yield opened
    opened.close()
    assert opened.violations == []


@pytest.fixture
def github(forge: Forge) -> GitHub:
    environment = {"GITHUB_TOKEN": "ghs_token", "GITHUB_API_URL": forge.url}
    return GitHub(environment, policy=RetryPolicy(base=0), seconds_between_writes=0)


@pytest.fixture
def pull_request(github: GitHub) -> PullRequest:
    return PullRequest(REPOSITORY, github)
