"""A workflow of GitHub Actions, run: every `run` of a job as it stands in the YAML, in order, in a bash as GitHub does.

What is GitHub's own is stood in for: the checkout, the values of `${{ … }}`, the files that carry variables
from step to step, and the service that mints tokens. Uploads do nothing. Everything else is what runs there.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from tests.actions_checkout import check_out

# "Workflow syntax for GitHub Actions", `jobs.<job_id>.steps[*].shell`: bash.
_SHELL = ("bash", "--noprofile", "--norc", "-eo", "pipefail")
_EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")


@dataclass
class Tokens:
    """GitHub's service that mints tokens: who asked, and for which audience."""

    url: str
    audiences: list[str] = field(default_factory=list)


class _Mint(BaseHTTPRequestHandler):
    def __init__(self, tokens: Tokens, *arguments: Any) -> None:
        self._tokens = tokens
        super().__init__(*arguments)

    def do_GET(self) -> None:
        asked = self.headers["Authorization"] == "bearer the job's own"
        self._tokens.audiences += parse_qs(urlsplit(self.path).query).get("audience", []) if asked else []
        body = json.dumps({"value": f"token-{len(self._tokens.audiences)}"}).encode()
        self.send_response(200 if asked else 401)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None: ...


@contextmanager
def minting() -> Iterator[Tokens]:
    """Mint tokens, on loopback."""
    tokens = Tokens("")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Mint, tokens)) as server:
        tokens.url = f"http://127.0.0.1:{server.server_port}/token?api-version=2.0"
        Thread(target=server.serve_forever, daemon=True).start()
        yield tokens
        server.shutdown()


@dataclass(frozen=True)
class Ended:
    """A job that ended: its checkout, what it printed, whether a step failed, and what its page shows."""

    checkout: Path
    output: str
    failed: bool
    summary: str


@dataclass(frozen=True)
class Machine:
    """A machine of GitHub's, new for one job. `values` are what its expressions come to, by their text."""

    folder: Path
    origin: Path
    environment: Mapping[str, str]
    values: Mapping[str, Any]

    def run(self, workflow: Path, job: str, *, revision: str, told: Mapping[str, str], event: Any) -> Ended:
        """Run a job's steps until one fails, then end what it left in the background, as GitHub does."""
        described = yaml.safe_load(workflow.read_text(encoding="utf-8"))
        assert described["defaults"] == {"run": {"shell": "bash"}}
        assert self._value(described["jobs"][job]["if"]), f"the job {job} does not run then"
        checkout, files = self.folder / "work", {name: self.folder / name for name in ("env", "path", "summary")}
        self.folder.mkdir(parents=True)
        (self.folder / "event.json").write_text(json.dumps(event), encoding="utf-8")
        for file in files.values():
            file.touch()
        given = {
            **self.environment,
            **{name: self._text(text) for name, text in described["env"].items()},
            "CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_JOB": job, "GITHUB_REPOSITORY": "acme/images",
            "GITHUB_RUN_ID": "1234", "GITHUB_RUN_ATTEMPT": "1", "GITHUB_SERVER_URL": "https://github.com",
            "GITHUB_EVENT_PATH": str(self.folder / "event.json"), "GITHUB_WORKSPACE": str(checkout),
            "GITHUB_ENV": str(files["env"]), "GITHUB_PATH": str(files["path"]),
            "GITHUB_STEP_SUMMARY": str(files["summary"]), "RUNNER_TEMP": str(self.folder),
            "HOME": str(self.folder), **told,
        }  # fmt: skip
        failed, output = False, self.folder / "output"
        with output.open("wb") as log:
            for step in described["jobs"][job]["steps"]:
                if "uses" in step and step["uses"].startswith("actions/checkout@"):
                    self._check_out(checkout, step["with"], revision=revision)
                if "run" not in step or not self._value(step.get("if", "true")):
                    continue
                added = {name: self._text(str(text)) for name, text in step.get("env", {}).items()}
                failed = self._ran(step["run"], checkout, {**self._so_far(given, files), **added}, log) != 0
                if failed:
                    break
        summary = files["summary"].read_text(encoding="utf-8")
        return Ended(checkout, output.read_text(encoding="utf-8", errors="replace"), failed, summary)

    def _ran(self, script: str, checkout: Path, environment: Mapping[str, str], log: Any) -> int:
        process = subprocess.Popen(
            [*_SHELL, "-c", script], cwd=checkout, env=dict(environment), stdin=subprocess.DEVNULL, stdout=log,
            stderr=log, start_new_session=True,
        )  # fmt: skip
        code = process.wait()
        with suppress(ProcessLookupError):  # what it left running
            os.killpg(process.pid, signal.SIGKILL)
        return code

    def _so_far(self, given: Mapping[str, str], files: Mapping[str, Path]) -> dict[str, str]:
        lines = files["env"].read_text(encoding="utf-8").splitlines()
        variables = {**given, **dict(line.split("=", 1) for line in lines)}
        folders = files["path"].read_text(encoding="utf-8").splitlines()
        return {**variables, "PATH": os.pathsep.join([*reversed(folders), variables["PATH"]])}

    def _check_out(self, checkout: Path, options: Mapping[str, Any], *, revision: str) -> None:
        assert options["persist-credentials"] is False
        assert options["fetch-depth"] == 0
        # A commit leaves HEAD detached; a branch is checked out as itself.
        named, ref = (self._text(options["ref"]), "") if "ref" in options else (revision, "refs/heads/main")
        check_out(str(self.origin), checkout, commit=named, ref=ref, environment=self.environment)

    def _text(self, text: str) -> str:
        return _EXPRESSION.sub(lambda match: str(self._value(match[1])), text)

    def _value(self, expression: str) -> Any:
        """What an expression comes to. One that the test does not give is an error."""
        if expression == "true":
            return True
        assert expression in self.values, f"nothing gives {expression} a value"
        return self.values[expression]
