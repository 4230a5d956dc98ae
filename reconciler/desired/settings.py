"""`desired/reconciler.yaml`: the controller's settings, and the defaults of every image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.desired.complaints import as_one, validate
from reconciler.desired.located import Located
from reconciler.desired.yaml_file import read_yaml
from reconciler.model.declaration import Declaration, Settings
from reconciler.model.errors import Place, UserError

SETTINGS_FILE = "desired/reconciler.yaml"


@dataclass(frozen=True)
class Defaults:
    """The settings as a model, and `defaults` with places for merging under each image."""

    settings: Settings
    defaults: Located


def read_settings(content: bytes | None) -> Defaults:
    """Read the file; None stands for an absent one.

    Raises:
        UserError: for the first problem, naming the others. It stops the run, as it concerns every image.
    """
    document = read_yaml(content or b"", SETTINGS_FILE)
    _stop(document.problems)
    settings, problems = validate(Settings, document.root)
    _stop(problems)
    root = document.root.value
    defaults = root.get("defaults") if isinstance(root, dict) else None
    if defaults is None or defaults.value is None:
        defaults = Located({}, Place(SETTINGS_FILE))
    _stop(_problems_of_defaults(defaults))
    return Defaults(settings or Settings(), defaults)


def _problems_of_defaults(defaults: Located) -> tuple[UserError, ...]:
    """Check the defaults once, here, and not once an image. What an image may still complete is left to it."""
    _, problems = validate(Declaration, defaults)
    return tuple(problem for problem in problems if "is missing" not in problem.what)


def _stop(problems: Sequence[UserError]) -> None:
    if problems:
        raise as_one(problems)
