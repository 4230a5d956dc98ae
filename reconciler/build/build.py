"""Builds images with Packer, one process an image."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace

from reconciler.build import judge
from reconciler.build.judge import absent, unusable
from reconciler.build.outcome import Outcome, OutputLog
from reconciler.build.output import new_log
from reconciler.build.packer.binary import Binary, build_command
from reconciler.build.packer.cache import locked, program_digest
from reconciler.build.packer.diagnosis import diagnostics, unknown
from reconciler.build.packer.fit import perhaps_newer, refusals, survey
from reconciler.build.packer.plugins import (
    Plugin,
    init_command,
    init_failed,
    installed_plugins,
    lacking,
    missing,
    plugin_folder,
    used_plugins,
    with_plugins,
    without_mistakes,
)
from reconciler.build.process import GRACE, Clock, Command, Exit, follow
from reconciler.build.secrets import Redactor, redactor, secret_values
from reconciler.build.workplace import (
    PrivateFiles,
    Workplace,
    given_variables,
    name_in_template,
    private_files,
    workplace,
    write_var_file,
)
from reconciler.model.errors import ReconcilerError
from reconciler.model.events import Listener, Started, Step
from reconciler.model.fleet import Image, Template
from reconciler.model.lockfile import PackerVersions
from reconciler.ports.builder import BuildFailed, BuildRequest, BuildResult
from reconciler.registries import dialect_of

_INSTALL_SECONDS = 600.0
"""After so long a plugin host is taken to be down. The largest plugin has 30 MB."""


@dataclass(frozen=True)
class Packer:
    """The `Builder` that runs the real Packer.

    `clock` is monotonic, in seconds; `grace` is the time in seconds that Packer has to clean up (see `process.GRACE`).
    """

    binary: Binary
    grace: float = GRACE
    clock: Clock = time.monotonic

    def build(self, request: BuildRequest, *, listener: Listener, cancelled: threading.Event) -> BuildResult:
        """Build one image; see `Builder.build`. Of what Packer printed only the redacted log is left."""
        image, dialect = request.image, dialect_of(request.image.kind.name)
        for refused in refusals(self.binary, image.template):
            raise refused
        place = workplace(request)
        place = replace(place, environment=with_plugins(self.binary, place.environment))
        variables = given_variables(request)
        redact = redactor(secret_values(image, place.environment, var_files=place.var_files, export=request.root))
        if cancelled.is_set():
            raise BuildFailed("build was cancelled before it began", cause="cancelled", seconds=0, log=request.log)
        with private_files(request) as private:
            plugins = self._plugins(request, place, private=private, redact=redact, cancelled=cancelled)
            write_var_file(private.variables, variables)
            listener(Started(image.name, request.build_id, request.estimate_seconds, str(request.log)))
            ended, outcome = self._run(
                request, place, private=private, redact=redact, listener=listener, cancelled=cancelled
            )
        if not judge.built(outcome):
            if lacks := without_mistakes(self.binary, unknown(outcome.errors), image.template, plugins):
                raise missing(self.binary, lacks, place.environment, where=image.template.place)
            raise self._failure(request, ended, outcome)
        sources = set(outcome.sources.values())
        made = tuple(
            replace(
                one,
                builder=name_in_template(one.builder, image.template),
                files=tuple(str(place.folder / file) for file in one.files),
            )
            for one in outcome.artifacts
        )
        return BuildResult(
            artifacts=tuple(artifact for one in made for artifact in dialect.artifacts(one)),
            seconds=int(ended.seconds),
            packer=self._versions(used_plugins(self.binary, image.template, plugins)),
            log=request.log,
            source=sources.pop() if len(sources) == 1 else None,
            made=made,
        )

    def refused(self, images: Iterable[Image], environment: Mapping[str, str]) -> dict[str, ReconcilerError]:
        """The images that this Packer is sure not to build here, by name, and why. Asked before anything is started.

        A plugin that a template requires may still be fetched, and is no reason.
        """
        images = tuple(images)
        found = survey(self.binary, images, environment)
        readable = [image for image in images if image.name not in found.refused]
        return {
            **unusable(readable),
            **{name: one.error() for one in absent(readable, environment) for name in one.images},
            **{image: errors[0] for image, errors in found.refused.items()},
            **found.lacking,
        }

    def _refuse_without_plugins(
        self, template: Template, installed: Iterable[Plugin], environment: Mapping[str, str]
    ) -> None:
        """Raise Transient for a component whose plugin is not there, and that `packer init` will not fetch."""
        lacks = replace(lacking(self.binary, template, installed), requirements=())
        if lacks:
            raise missing(self.binary, lacks, environment, where=template.place)

    def _versions(self, plugins: Mapping[str, Plugin]) -> PackerVersions:
        programs = {"packer": self.binary.path, **{name: plugin.path for name, plugin in plugins.items()}}
        digests = {name: found for name, path in programs.items() if (found := program_digest(path)) is not None}
        versions = {name: plugin.version for name, plugin in plugins.items()}
        return PackerVersions(version=self.binary.version_text, plugins=versions, digests=digests)

    def _failure(self, request: BuildRequest, ended: Exit, outcome: Outcome) -> BuildFailed:
        """Why there is no image, and whether a later Packer may see it otherwise."""
        error = judge.of_the_machine(judge.failure(request, ended, outcome), request.image)
        later = perhaps_newer(self.binary, request.image, outcome.errors)
        error.hint = (*error.hint, *later)
        error.version, error.may_be_too_old = self.binary.version_text, bool(later)
        return error

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
        with new_log(request.log) as log:
            output_log = OutputLog(
                log,
                redact,
                version=self.binary.version,
                dialect=dialect_of(request.image.kind.name),
                on_step=on_step,
                on_key_pair=request.on_key_pair,
            )
            ended = follow(
                Command(arguments, place.folder, place.environment),
                output_log.feed,
                stdout=private.stdout,
                stderr=private.stderr,
                timeout=request.timeout,
                cancelled=cancelled,
                grace=self.grace,
                clock=self.clock,
            )
            with private.stderr.open("rb") as stderr:
                return ended, output_log.close(ended.code, stderr=stderr)

    def _plugins(
        self,
        request: BuildRequest,
        place: Workplace,
        *,
        private: PrivateFiles,
        redact: Redactor,
        cancelled: threading.Event,
    ) -> tuple[Plugin, ...]:
        """The plugins that are installed, once the template's own are. Raises Transient where one can't be had."""
        template = request.image.template
        if template.plugins:
            self._install_plugins(request, place, private=private, redact=redact, cancelled=cancelled)
        installed = installed_plugins(self.binary, place.environment)
        self._refuse_without_plugins(template, installed, place.environment)
        return installed

    def _install_plugins(
        self,
        request: BuildRequest,
        place: Workplace,
        *,
        private: PrivateFiles,
        redact: Redactor,
        cancelled: threading.Event,
    ) -> None:
        folder = plugin_folder(self.binary, place.environment)
        printed: list[bytes] = []
        # Two `packer init` at once write the same plugin file.
        with locked(folder, cancelled=cancelled) if folder is not None else nullcontext():
            ended = follow(
                Command(init_command(self.binary, place.template), place.folder, place.environment),
                printed.append,
                stdout=private.init_stdout,
                stderr=private.init_stderr,
                timeout=min(request.timeout, _INSTALL_SECONDS),
                cancelled=cancelled,
                grace=self.grace,
                clock=self.clock,
            )
        if ended.cancelled or cancelled.is_set():
            seconds = int(ended.seconds)
            raise BuildFailed(
                "build was cancelled before it began", cause="cancelled", seconds=seconds, log=request.log
            )
        if ended.code != 0:
            printed.append(private.init_stderr.read_bytes())
            output = redact(b"".join(printed).decode(errors="replace"))
            if ended.code > 0 and any(one.framed for one in diagnostics(output)):
                # It is the template that Packer refuses; it did not come to its plugins.
                raise self._failure(request, ended, Outcome(ended.code, errors=(output,)))
            raise init_failed(self.binary, request.image.template, output, place.environment, code=ended.code)
