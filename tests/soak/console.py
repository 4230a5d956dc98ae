"""`packer console` as the judge of what expressions come to."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.packers import installed_packers

_OLDEST_WITH_ALL = (1, 15)
"""Packer has had all the functions that we know since this version."""
FAILS = "!"
UNKNOWN = "<unknown>"
MAX_LINE = 60_000

TEMPLATE = """\
variable "word" {
  type    = string
  default = "héllo wörld"
}
variable "blank" {
  type    = string
  default = ""
}
variable "count" {
  type    = number
  default = 3
}
variable "ratio" {
  type    = number
  default = 0.1
}
variable "yes" {
  type    = bool
  default = true
}
variable "words" {
  type    = list(string)
  default = ["b", "a", "c", "a"]
}
variable "numbers" {
  type    = set(number)
  default = [10, 9, 2, 10]
}
variable "none" {
  type    = list(string)
  default = []
}
variable "amis" {
  type    = map(string)
  default = { us-east-1 = "ami-1", eu-west-1 = "ami-2" }
}
variable "nothing" {
  type    = string
  default = null
}
variable "disk" {
  type    = object({ size = number, kind = string, tags = list(string) })
  default = { size = "20", kind = "gp3", tags = [] }
}
variable "disks" {
  type    = list(object({ size = number, kind = string }))
  default = [{ size = 1, kind = "a" }, { size = 2, kind = "b" }]
}
locals {
  anything = { a = [1, "x", null], b = { c = true } }
  named = "${var.word}-${var.count}"
  upper = [for w in var.words : upper(w)]
  sizes = var.disks[*].size
  text  = <<-EOT
    first ${var.count}
      second
    %{for w in var.words~}
    - ${w}
    %{endfor~}
    last
  EOT
}
"""


def packers() -> Mapping[str, str]:
    """The Packers of this machine by version: the oldest and the current one."""
    return {packer.version_text: str(packer.path) for packer in installed_packers()}


def lacks_functions(version: str) -> bool:
    """Whether a Packer of this version lacks functions that later ones have."""
    return tuple(map(int, version.split(".")[:2])) < _OLDEST_WITH_ALL


def answers(packer: str, expressions: Sequence[str], *, folder: Path) -> list[str | None]:
    """What Packer makes of each expression: JSON of a list of it, FAILS, or UNKNOWN; None for what it can't parse.

    The console answers only the last line that it is piped, and reads no line above 64 KiB. So all are asked for as
    one list; where that has no value, halves of it are asked for.
    """
    (folder / "all.pkr.hcl").write_text(TEMPLATE, encoding="utf-8")
    if not expressions:
        return []
    members = ", ".join(f'try(jsonencode([{one}]), "{FAILS}")' for one in expressions)
    line = f"jsonencode([{members}])"
    answer = _answer(packer, line, folder=folder) if len(line.encode()) < MAX_LINE else None
    if answer is not None and answer != UNKNOWN:
        return list(json.loads(answer))
    if len(expressions) == 1:
        return [answer]
    half = len(expressions) // 2
    parts = (expressions[:half], expressions[half:])
    return [one for part in parts for one in answers(packer, part, folder=folder)]


def _answer(packer: str, line: str, *, folder: Path) -> str | None:
    ended = subprocess.run(
        [packer, "console", str(folder)],
        input=f"{line}\n", capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "CHECKPOINT_DISABLE": "1", "HOME": str(folder), "PACKER_CONFIG_DIR": str(folder)},
    )  # fmt: skip
    return ended.stdout.strip() if ended.returncode == 0 else None
