"""What `validate` says of a template that works, and could be better kept."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence

from reconciler.desired.packer.builders import AMAZON_TYPES, Build
from reconciler.desired.packer.evaluate import CHECKOUT, Scope, evaluate
from reconciler.desired.packer.steps import Step
from reconciler.desired.packer.syntax import Body
from reconciler.desired.packer.value import as_text

_MAPPINGS = ("launch_block_device_mappings", "ami_block_device_mappings")


def notes_on_builds(builds: Sequence[Build], *, scope: Scope, declares_run_tags: bool) -> tuple[str, ...]:
    """One line for each thing that a builder of the amazon plugin leaves open."""
    amazon = [build for build in builds if build.builder.type in AMAZON_TYPES]
    found = list(dict.fromkeys(note for build in amazon for note in _notes_on(build, scope)))
    if amazon and not declares_run_tags:
        found.insert(
            0,
            "the template declares no variable run_tags: what a crashed build leaves behind can't be told from "
            "other people's instances",
        )
    return tuple(found)


def notes_on_outputs(steps: Sequence[Step], *, scope: Scope) -> Iterator[str]:
    """A note for each manifest in a folder that the commit does not have: Packer makes none, and fails at the end.

    What runs on this machine may make it, so nothing is said of a template that has such a step.
    """
    if any(step.type == "shell-local" for step in steps):
        return
    for step in steps:
        output = step.body.attributes.get("output") if step.type == "manifest" else None
        written = as_text(evaluate(output.expression, scope)) if output is not None else None
        folder = posixpath.dirname(written) if written else ""
        found = posixpath.normpath(posixpath.join(scope.path_cwd, folder)).removeprefix(f"{CHECKOUT}/")
        if folder and found[0] != "/" and not scope.files.hides(found) and not scope.files.below(found):
            yield (
                f"{step.block.place}: {step.type} writes to {found}/, and there is no such folder at this commit: the "
                "build fails at its end unless something makes it"
            )


def _notes_on(build: Build, scope: Scope) -> Iterator[str]:
    builder = build.builder
    if builder.type in ("amazon-ebs", "amazon-ebssurrogate", "amazon-instance") and not _requires_imdsv2(
        build.body, scope
    ):
        yield (
            f"{builder.name}: the build instance does not require IMDSv2 "
            '(metadata_options { http_endpoint = "enabled", http_tokens = "required" }; from Packer 1.7.0 on)'
        )
    if builder.type in ("amazon-ebs", "amazon-ebssurrogate", "amazon-chroot") and not _encrypts(build.body, scope):
        yield f"{builder.name}: the image is encrypted only where the account does so by default (encrypt_boot = true)"


def _requires_imdsv2(body: Body, scope: Scope) -> bool:
    return any(_holds(block.body, "http_tokens", "required", scope) for block in body.of_type("metadata_options"))


def _encrypts(body: Body, scope: Scope) -> bool:
    bodies = [body, *(block.body for block in body.of_type(*_MAPPINGS))]
    return any(_holds(one, name, "true", scope) for one in bodies for name in ("encrypt_boot", "encrypted"))


def _holds(body: Body, name: str, wanted: str, scope: Scope) -> bool:
    """Whether an attribute has a value, or one that can't be known: that is no reason to complain."""
    attribute = body.attributes.get(name)
    if attribute is None:
        return False
    text = as_text(evaluate(attribute.expression, scope))
    return text is None or text.lower() == wanted
