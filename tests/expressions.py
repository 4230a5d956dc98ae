"""Expressions as tests write them."""

from __future__ import annotations

from reconciler.desired.packer.hcl import read_template
from reconciler.desired.packer.syntax import Expression
from reconciler.model.errors import Place


def expression(text: str) -> Expression:
    """An expression by itself, as a text of a JSON template has it that is nothing but that."""
    return read_template(f"${{{text}}}", Place("all.pkr.hcl"))
