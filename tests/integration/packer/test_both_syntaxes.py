"""HCL and HCL's JSON are two ways to write one template: Packer is the judge of what either of them is worth."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from reconciler.build.packer.binary import find
from reconciler.build.packer.fit import refusals
from reconciler.desired.packer.template import Setting, parse_template, read_template
from reconciler.model.errors import UserError
from tests.both_syntaxes import Block, in_hcl, in_json, templates

pytestmark = pytest.mark.packer


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(template=templates())
def test_a_template_is_refused_in_either_syntax_where_packer_refuses_it(
    packer_on_path: str | None, tmp_path: Path, template: tuple[Block, ...]
) -> None:
    binary = find(os.environ)
    judged, told = {}, {}
    for name, text in {"t.pkr.hcl": in_hcl(template), "t.pkr.json": in_json(template)}.items():
        file = tmp_path / name
        file.write_text(text)
        ended = subprocess.run([binary.path, "validate", name], capture_output=True, check=False, cwd=tmp_path)
        judged[name] = ended.returncode == 0
        file.unlink()
        try:
            read = read_template([parse_template(text.encode(), name)], "hcl2", setting=Setting(".", "."))
        except UserError as refused:
            told[name] = [refused]
        else:
            told[name] = [*read.problems, *refusals(binary, read.template)]
        assert judged[name] == (told[name] == []), f"{text}\n{ended.stdout.decode()}{ended.stderr.decode()}"

    assert len({*judged.values()}) == 1
