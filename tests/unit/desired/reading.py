"""Reads a template apart from pytest, which takes longer to import than that."""

from __future__ import annotations

from reconciler.desired.packer.hcl import read_hcl
from reconciler.model.errors import UserError


def places_in(text: str) -> str:
    """Where the blocks of a file of HCL stand, or why it is not read."""
    try:
        body = read_hcl(text.encode(), "t.pkr.hcl").body
    except UserError as refused:
        return str(refused)
    return ", ".join(str(one.place) for one in body.walk())
