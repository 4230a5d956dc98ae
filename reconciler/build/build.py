"""Builds images with Packer, one process an image."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

from reconciler.build import judge
from reconciler.build.digests import program_digest
from reconciler.build.failure import BuildFailed
from reconciler.build.inputs import given_variables, write_var_file
from reconciler.build.journal import Journal
from reconciler.build.outcome import Outcome
from reconciler.build.packer import Binary, build_command
from reconciler.build.plugins import init_command, init_failed, installed_plugins, needs_init
from reconciler.build.process import GRACE, Clock, Command, Exit, follow
from reconciler.build.protocol import BuildRequest, BuildResult
from reconciler.build.redact import Redactor, redactor
from reconciler.build.sensitive import secret_values
from reconciler.build.workplace import PrivateFiles, Workplace, private_files, workplace
from reconciler.model.events import Listener, Started, Step
from reconciler.model.fleet import Image
from reconciler.model.lockfile import PackerVersions


@dataclass(frozen=True)
class Packer:
    """The `Builder` that runs the real Packer.

    `clock` is monotonic, in seconds; `grace` is the time in seconds that Packer has to clean up (see `process.GRACE`).
    """

    binary: Binary
    grace: float = GRACE
    clock: Clock = time.monotonic
    # Two `packer init` at once write the same plugin file.
    _installing: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def build(self, request: BuildRequest, *, listener: Listener, cancelled: threading.Event) -> BuildResult:
        """Build one image; see `Builder.build`. Of what Packer printed only the redacted log is left."""
        image = request.image
        to_install = needs_init(self.binary, image.template)
        place = workplace(request)
        variables = given_variables(request)
        redact = redactor(secret_values(image, place.environment, var_files=place.var_files, export=request.export))
        if cancelled.is_set():
            raise BuildFailed("build was cancelled before it began", cause="cancelled", seconds=0, log=request.log)
        with private_files(request) as private:
            if to_install:
                self._install_plugins(request, place, private=private, redact=redact, cancelled=cancelled)
            write_var_file(private.variables, variables)
            listener(Started(image.name, request.build_id, request.estimate_seconds, str(request.log)))
            ended, outcome = self._run(
                request, place, private=private, redact=redact, listener=listener, cancelled=cancelled
            )
        if not judge.built(outcome):
            raise judge.failure(request, ended, outcome)
        sources = set(outcome.sources.values())
        return BuildResult(
            artifacts=tuple(produced.as_artifact() for produced in outcome.artifacts),
            seconds=int(ended.seconds),
            packer=self._versions(image, place),
            log=request.log,
            source_ami=sources.pop() if len(sources) == 1 else None,
        )

    def _versions(self, image: Image, place: Workplace) -> PackerVersions:
        plugins = installed_plugins(self.binary, image.template, place.environment)
        programs = {"packer": self.binary.path, **{name: plugin.path for name, plugin in plugins.items()}}
        digests = {name: found for name, path in programs.items() if (found := program_digest(path)) is not None}
        versions = {name: plugin.version for name, plugin in plugins.items()}
        return PackerVersions(version=self.binary.version_text, plugins=versions, digests=digests)

    def _run(
        self,
        request: BuildRequest,
        place: Workplace,
        *,
        private: PrivateFiles,
        redact: Redactor,
        listener: Listener,
        cancelled: threading.Event,
    ) -> tuple[Exit, Outcome]:
        several = len(request.image.template.builders) > 1

        def on_step(build: str, what: str) -> None:
            listener(Step(request.image.name, f"{build}: {what}" if several else what))

        arguments = build_command(
            self.binary,
            place.template,
            var_files=[*map(str, place.var_files), str(private.variables)],
            only=request.image.declaration.packer.only,
        )
        request.log.parent.mkdir(parents=True, exist_ok=True)
        with request.log.open("w", encoding="utf-8", errors="backslashreplace") as log:
            journal = Journal(
                log, redact, version=self.binary.version, on_step=on_step, on_key_pair=request.on_key_pair
            )
            ended = follow(
                Command(arguments, place.folder, place.environment),
                journal.feed,
                stdout=private.stdout,
                stderr=private.stderr,
                timeout=request.timeout,
                cancelled=cancelled,
                grace=self.grace,
                clock=self.clock,
            )
            with private.stderr.open("rb") as stderr:
                return ended, journal.close(ended.code, stderr=stderr)

    def _install_plugins(
        self,
        request: BuildRequest,
        place: Workplace,
        *,
        private: PrivateFiles,
        redact: Redactor,
        cancelled: threading.Event,
    ) -> None:
        printed: list[bytes] = []
        with self._installing:
            ended = follow(
                Command(init_command(self.binary, place.template), place.folder, place.environment),
                printed.append,
                stdout=private.init_stdout,
                stderr=private.init_stderr,
                timeout=request.timeout,
                cancelled=cancelled,
                grace=self.grace,
                clock=self.clock,
            )
        if ended.cancelled:
            seconds = int(ended.seconds)
            raise BuildFailed(
                "build was cancelled before it began", cause="cancelled", seconds=seconds, log=request.log
            )
        if ended.code != 0:
            printed.append(private.init_stderr.read_bytes())
            output = redact(b"".join(printed).decode(errors="replace"))
            raise init_failed(output, code=ended.code, where=request.image.template.place)
