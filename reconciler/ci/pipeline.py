"""A plan as a CircleCI pipeline: a job for each image that has something to do, in the order of the graph.

The jobs are invocations of one job that the project's own config has (`reconcile`), or an orb in it
(`reconciler/reconcile`), so that the machine, contexts and credentials are written down once. The result is the config
of a continuation: `POST /api/v2/pipeline/continue`.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.model.declaration import IMAGE_NAME_PATTERN
from reconciler.model.errors import UserError
from reconciler.model.plan import Plan, PlannedImage, PlanOptions

PARAMETER = "arguments"
"""The job's parameter that takes what stands behind `reconciler reconcile`."""
_NOTHING = "nothing-to-do"
_WORKFLOW = "images"


def continuation(
    config: Mapping[str, Any], plan: Plan, *, job: str, contexts: Sequence[str] = (), folder: str = ""
) -> dict[str, Any]:
    """The config with one workflow in place of its own: `job` for each image of the plan that a run would look at.

    That is every image with an action, and every one that is invalid or could not be read: its job says so, in red.
    Where there is none, one job of the type `no-op` stands for them, as CircleCI refuses a workflow without jobs.

    Args:
        config: The project's config, parsed. Its `setup` is left out: a continuation cannot be continued.
        plan: The plan. Images whose names are invalid are left out (see `without_job`).
        job: The name of the job to invoke: the config's own, or with a slash an orb's.
        contexts: The CircleCI contexts that each of the jobs gets.
        folder: That of a fleet below the repository's root, where each job works.

    Raises:
        UserError: the config has no such job, or the job does not take the parameter `arguments`.
    """
    _check_job(config, job)
    jobs = dict(_mapping(config.get("jobs")))
    named = {image.image: image for image in plan.images if _is_due(image) and _is_safe(image)}
    invocations: list[Any] = [
        {
            job: _invocation(image, named, plan.options, folder=folder)
            | ({"context": list(contexts)} if contexts else {})
        }
        for image in named.values()
    ]
    if not invocations:
        jobs[_NOTHING] = {"type": "no-op"}
        invocations = [_NOTHING]
    kept = {key: value for key, value in config.items() if key not in ("setup", "jobs", "workflows")}
    return {**kept, **({"jobs": jobs} if jobs else {}), "workflows": {_WORKFLOW: {"jobs": invocations}}}


def without_job(plan: Plan) -> tuple[str, ...]:
    """Images that are due and get no job, because a folder's name that is no image's name must not reach a shell."""
    return tuple(image.image for image in plan.images if _is_due(image) and not _is_safe(image))


def job_name(image: str) -> str:
    """A name that CircleCI takes (letters first, then letters, digits, blanks, `_`, `-`); no two images share one.

    Image names have neither blanks nor capitals, so what is written with blanks can't be another image's name.
    """
    return f"image {image.replace('.', ' dot ')}"


def _check_job(config: Mapping[str, Any], job: str) -> None:
    """Raise UserError unless the job is there and takes images. An orb that is only referred to is not read."""
    orb, slash, name = job.rpartition("/")
    scope: Any = _mapping(config.get("orbs")).get(orb) if slash else config
    if slash and isinstance(scope, str):
        return
    found = _mapping(_mapping(scope).get("jobs")).get(name)
    if not isinstance(found, Mapping):
        raise UserError(
            f"the CircleCI config has no job {job!r}",
            hint=("an orb's is named with the orb: --job reconciler/reconcile", "docs/circleci.md shows one"),
        )
    if PARAMETER not in _mapping(found.get("parameters")):
        raise UserError(
            f"the job {job!r} of the CircleCI config does not take the parameter {PARAMETER!r}",
            hint=f"declare it, and let the job run `reconciler reconcile << parameters.{PARAMETER} >>`",
        )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_due(image: PlannedImage) -> bool:
    return image.actions != ("none",) or bool(image.unknown) or bool(image.errors)


def _is_safe(image: PlannedImage) -> bool:
    return re.match(IMAGE_NAME_PATTERN, image.image) is not None and "\n" not in image.image


def _invocation(
    image: PlannedImage, named: Mapping[str, PlannedImage], options: PlanOptions, *, folder: str
) -> dict[str, Any]:
    requires = [job_name(parent) for parent in image.blocked_by if parent in named]
    return {
        "name": job_name(image.image),
        PARAMETER: shlex.join([*_arguments(image, options), *(["-C", folder] if folder else [])]),
        # A group for each image: one for all would let a newer pipeline's job of one image push out every other's.
        "serial-group": f"<< pipeline.project.slug >>/reconcile/{f'{folder}/' if folder else ''}{image.image}",
        **({"requires": requires} if requires else {}),
    }


def _arguments(image: PlannedImage, options: PlanOptions) -> tuple[str, ...]:
    """The image and the plan's options. Only the image that was forced is forced: its children follow by their keys."""
    forced = ("--force", image.image) if image.image in options.force else ()
    flags = [f"--{name}" for name in ("refresh", "prune") if getattr(options, name)]
    lost = [word for place in options.lost for word in ("--lost", place)]
    return (image.image, *flags, *forced, *lost)
