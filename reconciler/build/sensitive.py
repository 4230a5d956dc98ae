"""Which values are secret in a build: sensitive variables, wherever their values come from, and credentials."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pygohcl

from reconciler.model.fleet import Image
from reconciler.model.template import Template

# Names of variables whose values are credentials: AWS_SECRET_ACCESS_KEY, CIRCLE_TOKEN, DB_PASSWORD, and at their end
# MYSQL_PWD, SSHPASS, BINDPW, REDISCLI_AUTH. PWD alone is the folder that one is in.
_CREDENTIAL = re.compile(
    r"SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|PRIVATE_KEY|API_?KEY|CREDENTIAL"
    r"|(?:_PWD|PASS|PW|(?:_|^)(?:AUTH|PAT|JWT|CREDS?|PSK|COOKIE)|(?:ACCESS|ACCOUNT|STORAGE|ENCRYPTION|SIGNING)_?KEY)$",
    re.IGNORECASE,
)
_WHERE_IT_IS = re.compile(r"_(?:FILE|PATH|URI|URL|ENDPOINT|TTL|ARN)$", re.IGNORECASE)
_LONG_ENOUGH = 8
"""A credential's name is a guess: `USE_TOKEN=true` must not blacken every `true`."""

_READ_HERE = 16_384
"""Characters of a var file that are read in this process: HashiCorp's parser may take minutes, and hears no signal."""
_READ_SECONDS = 30
_READ_THERE = "import json, pygohcl, sys; print(json.dumps(pygohcl.attributes_loads(sys.stdin.read())))"

_ENV_IN_DEFAULT = re.compile(r"\benv[\s(]+[`\"']([A-Za-z_][A-Za-z0-9_]*)[`\"']")


def secret_values(
    image: Image, environment: Mapping[str, str], *, var_files: Iterable[Path], export: Path
) -> frozenset[str]:
    """Every value that must not be shown. `export` is the root of the checkout that is built.

    What a template takes from Vault, Consul or a data source inside of Packer is not known here; it is caught only
    if it has the shape of a secret (`reconciler.build.redact`).
    """
    sensitive = {name for name, variable in image.template.variables.items() if variable.sensitive}
    values = set(_credentials(environment))
    if sensitive:
        values.update(_from_declaration(image, sensitive))
        values.update(_from_template(image.template, sensitive, environment))
        for path in (*var_files, *_automatic_var_files(image.template, export)):
            values.update(_from_var_file(path, sensitive))
    return frozenset(value for value in values if value.strip())


def _credentials(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if len(value) >= _LONG_ENOUGH and _CREDENTIAL.search(name) and not _WHERE_IT_IS.search(name):
            yield value


def _from_declaration(image: Image, sensitive: set[str]) -> Iterator[str]:
    for name, value in image.declaration.packer.variables.items():
        if name in sensitive:
            yield from _texts(value)


def _from_template(template: Template, sensitive: set[str], environment: Mapping[str, str]) -> Iterator[str]:
    for name in sensitive:
        yield environment.get(f"PKR_VAR_{name}", "")
        default = template.variables[name].default
        yield from _texts(default)
        for used in _ENV_IN_DEFAULT.findall(str(default)):
            yield environment.get(used, "")


def _automatic_var_files(template: Template, export: Path) -> Iterator[Path]:
    """The var-files that Packer reads unasked: those named so in the folder of an HCL2 template."""
    folder = (export / template.files[0]).parent
    for pattern in ("*.auto.pkrvars.hcl", "*.auto.pkrvars.json"):
        yield from sorted(folder.glob(pattern))


def _from_var_file(path: Path, sensitive: set[str]) -> Iterator[str]:
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        values = json.loads(text) if path.suffix == ".json" else _attributes(text)
    except (ValueError, RecursionError, pygohcl.HCLParseError, pygohcl.HCLInternalError, pygohcl.UnknownFunctionError):
        # Packer will say what is wrong with the file, quoting lines of it: all that is quoted there counts as secret.
        yield from re.findall(r'"((?:[^"\\]|\\.)*)"', text)
        if "<<" in text:
            yield from text.splitlines()
        return
    if isinstance(values, dict):
        for name in sensitive & values.keys():
            yield from _texts(values[name])


def _attributes(text: str) -> object:
    """What an HCL var file sets. Raises ValueError or what pygohcl raises."""
    if len(text) <= _READ_HERE:
        return pygohcl.attributes_loads(text)
    try:
        ran = subprocess.run(
            [sys.executable, "-P", "-c", _READ_THERE],
            env={"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUTF8": "1"},
            input=text.encode("utf-8", "replace"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_READ_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError("it takes too long to read") from error
    return json.loads(ran.stdout)


def _texts(value: object) -> Iterator[str]:
    """The strings and numbers inside of a value. True and false are no secrets."""
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for one in value:
            yield from _texts(one)
    elif value is not None and not isinstance(value, bool):
        yield str(value)
