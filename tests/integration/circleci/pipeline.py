"""A CircleCI config, run: every `run` of a job as it stands in the YAML, in order, in a bash as CircleCI starts it.

What is CircleCI's own is stood in for: `checkout` (git clone), the programs `circleci` and `circleci-agent`, and the
values of `<< … >>`. Caches, keys and uploads do nothing. Everything else is what runs there. A name with a slash is an
orb's: of one that stands in the config, or of one that the config refers to and that is given.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

# CircleCI's default, for Linux (configuration reference, "Default shell options").
_SHELL = ("bash", "-eo", "pipefail", "-c")
_VALUE = re.compile(r"(?<!\\)<<\s*([\w.-]+)\s*>>")
# What CircleCI does by itself, and what has no part in whether a command works.
_WITHOUT_COMMAND = {"restore_cache", "save_cache", "add_ssh_keys", "store_test_results", "store_artifacts"}

_Scope = Mapping[str, Any]
"""Where names are looked up: a config, or an orb."""

_CIRCLECI = """\
#!/bin/sh
# As in a job: each call gives another token, for the audience that was asked for.
[ "$1 $2 $3 $4" = "run oidc get --claims" ] || { echo "no such call: circleci $*" >&2; exit 1; }
echo "$5" >> "$STUBS/claims"
echo "token-$(wc -l < "$STUBS/claims")"
"""
_AGENT = """\
#!/bin/sh
[ "$*" = "step halt" ] || { echo "no such call: circleci-agent $*" >&2; exit 1; }
touch "$STUBS/halted"
"""


@dataclass(frozen=True)
class Step:
    """One step of a job, with every `<< … >>` filled in. `command` is None for what is no `run`."""

    kind: str
    command: str | None = None
    background: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Pipeline:
    """A parsed config. `values` are what CircleCI knows of the pipeline: `pipeline.trigger_source` and so on.

    `published` are the orbs that the config refers to, by the whole reference.
    """

    config: Mapping[str, Any]
    values: Mapping[str, str]
    published: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path, values: Mapping[str, str] | None = None) -> Pipeline:
        return cls(yaml.safe_load(path.read_text()), values or {})

    def environment(self, job: str, **arguments: Any) -> dict[str, str]:
        """The variables that the job's `environment` sets."""
        definition, _ = self._definition("jobs", job, self.config)
        filled = _filled(definition.get("environment", {}), self._known(definition, arguments))
        return {name: str(value) for name, value in filled.items()}

    def container(self, job: str, **arguments: Any) -> str:
        """The image that the job runs in, a container's or a machine's, by its parameter `executor`."""
        definition, scope = self._definition("jobs", job, self.config)
        assert definition["executor"] == "<< parameters.executor >>"
        # What the invocation names is looked up where that is written: in the config.
        asked = arguments.get("executor") or _defaults(definition)["executor"]
        described = {"name": asked} if isinstance(asked, str) else dict(asked)
        within = self.config if "executor" in arguments else scope
        executor, _ = self._definition("executors", described.pop("name"), within)
        machine = executor["docker"][0] if "docker" in executor else executor["machine"]
        filled: str = _filled(machine["image"], self._known(executor, described))
        return filled

    def steps(self, job: str, **arguments: Any) -> list[Step]:
        """The job's steps, the project's and the orbs' own commands put in their place."""
        definition, scope = self._definition("jobs", job, self.config)
        return list(self._expanded(definition["steps"], self._known(definition, arguments), scope))

    def jobs(self) -> dict[str, list[dict[str, Any]]]:
        """Every invocation in every workflow, by the invoked job."""
        found: dict[str, list[dict[str, Any]]] = {}
        for workflow in self.config["workflows"].values():
            for one in workflow["jobs"]:
                name, options = (one, {}) if isinstance(one, str) else next(iter(one.items()))
                found.setdefault(name, []).append(options)
        return found

    def _definition(self, kind: str, name: str, scope: _Scope) -> tuple[Mapping[str, Any], _Scope]:
        """What a name stands for, and where the names in it are looked up: in the config, or in the orb that has it."""
        orb, slash, local = name.rpartition("/")
        if slash:
            referred = scope["orbs"][orb]
            scope = self.published[referred] if isinstance(referred, str) else referred
        return scope[kind][local], scope

    def _known(self, definition: Mapping[str, Any], arguments: Mapping[str, Any]) -> dict[str, str]:
        declared = _defaults(definition)
        assert arguments.keys() <= declared.keys(), f"not declared: {arguments.keys() - declared.keys()}"
        declared |= arguments
        missing = [name for name, value in declared.items() if value is None]
        assert not missing, f"without a value: {missing}"
        return {**self.values, **{f"parameters.{name}": str(value) for name, value in declared.items()}}

    def _expanded(self, steps: list[Any], known: Mapping[str, str], scope: _Scope) -> Iterator[Step]:
        for step in steps:
            kind, body = (step, {}) if isinstance(step, str) else next(iter(step.items()))
            if "/" in kind or kind in scope.get("commands", {}):
                command, within = self._definition("commands", kind, scope)
                yield from self._expanded(command["steps"], self._known(command, _filled(body, known)), within)
            elif kind == "run":
                body = {"command": body} if isinstance(body, str) else body
                filled = _filled(body, known)
                yield Step(kind, filled["command"], bool(body.get("background")), filled.get("environment", {}))
            else:
                assert kind == "checkout" or kind in _WITHOUT_COMMAND, f"the tests do not know the step {kind}"
                yield Step(kind)


@dataclass(frozen=True)
class Finished:
    """A job that ended: what it printed, whether a step failed, whether `circleci-agent step halt` ended it."""

    checkout: Path
    home: Path
    output: str
    failed: bool
    halted: bool
    claims: tuple[str, ...]
    steps: tuple[str, ...]
    """The kinds of the steps that were begun: `checkout`, `run`, `add_ssh_keys` …"""


@dataclass
class Runner:
    """A CI machine, new for each job: a home folder, a checkout, and CircleCI's own programs on the PATH."""

    folder: Path
    origin: Path
    environment: Mapping[str, str]

    def run(
        self,
        steps: list[Step],
        *,
        branch: str = "main",
        revision: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Finished:
        """Run a job's steps until one fails or halts the job, then end what runs in the background."""
        home, stubs = self.folder / "home", self.folder / "stubs"
        for folder in (home, stubs):
            folder.mkdir(parents=True)
        for name, text in (("circleci", _CIRCLECI), ("circleci-agent", _AGENT)):
            (stubs / name).write_text(text)
            (stubs / name).chmod(0o755)
        given = {
            **self.environment,
            "BASH_ENV": str(self.folder / "bash_env"),
            "CIRCLECI": "true",
            "CIRCLE_BRANCH": branch,
            "CIRCLE_BUILD_NUM": "42",
            "CIRCLE_BUILD_URL": "https://circleci.com/gh/acme/images/42",
            "CIRCLE_ORGANIZATION_ID": "9b0c1f6e-0000-4000-8000-000000000001",
            "CIRCLE_PROJECT_REPONAME": "images",
            "CIRCLE_PROJECT_USERNAME": "acme",
            "CIRCLE_REPOSITORY_URL": str(self.origin),
            "HOME": str(home),
            "PATH": f"{stubs}:{self.environment['PATH']}",
            "STUBS": str(stubs),
            **(environment or {}),
        }
        (self.folder / "bash_env").touch()
        return self._run(steps, branch=branch, revision=revision, environment=given)

    def _run(self, steps: list[Step], *, branch: str, revision: str | None, environment: dict[str, str]) -> Finished:
        checkout, halted = self.folder / "project", self.folder / "stubs" / "halted"
        log, failed, begun = self.folder / "output", False, list[str]()
        background: list[subprocess.Popen[bytes]] = []
        checkout.mkdir()
        with log.open("wb") as output:
            for step in steps:
                begun.append(step.kind)
                if step.kind == "checkout":
                    self._check_out(checkout, branch=branch, revision=revision)
                if step.command is None:
                    continue
                process = subprocess.Popen(
                    [*_SHELL, step.command],
                    cwd=checkout,
                    env={**environment, **step.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
                if step.background:
                    background.append(process)
                    continue
                failed = process.wait() != 0
                if failed or halted.exists():
                    break
            for process in background:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        claims = self.folder / "stubs" / "claims"
        return Finished(
            checkout=checkout,
            home=self.folder / "home",
            output=log.read_text(),
            failed=failed,
            halted=halted.exists(),
            claims=tuple(claims.read_text().splitlines()) if claims.exists() else (),
            steps=tuple(begun),
        )

    def _check_out(self, checkout: Path, *, branch: str, revision: str | None) -> None:
        # What no branch holds is there as a pull request's: all of a repository's refs are fetched, as CircleCI may do.
        for arguments in (
            ["clone", "--quiet", "--no-checkout", str(self.origin), str(checkout)],
            ["-C", str(checkout), "fetch", "--quiet", "origin", "+refs/pull/*:refs/remotes/pull/*"],
            ["-C", str(checkout), "checkout", "--quiet", "-B", branch, revision or f"origin/{branch}"],
        ):
            subprocess.run(["git", *arguments], env=dict(self.environment), check=True)


def _defaults(definition: Mapping[str, Any]) -> dict[str, Any]:
    return {name: parameter.get("default") for name, parameter in definition.get("parameters", {}).items()}


def _filled(value: Any, known: Mapping[str, str]) -> Any:
    """A value with every `<< … >>` in it replaced. One that nobody knows is an error, as it is for CircleCI."""
    if isinstance(value, Mapping):
        return {key: _filled(one, known) for key, one in value.items()}
    if not isinstance(value, str):
        return value

    def known_value(match: re.Match[str]) -> str:
        assert match[1] in known, f"nothing gives << {match[1]} >> a value"
        return known[match[1]]

    return _VALUE.sub(known_value, value).replace("\\<<", "<<")
