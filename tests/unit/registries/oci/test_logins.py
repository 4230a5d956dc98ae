"""Whose login a registry is shown: docker's config, a helper of docker's, or AWS's for ECR."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

from reconciler.model.errors import Terminal
from reconciler.registries.oci.credentials import Logins, ecr_region
from reconciler.registries.oci.reference import Reference, parse

SECRET = "hunter2"


def nobody() -> NoReturn:
    raise AssertionError("AWS is not asked")


def registry(name: str) -> Reference:
    found = parse(name)
    assert found is not None
    return found


def logins(folder: Path, config: Any, **environment: str) -> Logins:
    text = config if isinstance(config, str) else json.dumps(config)
    (folder / "config.json").write_text(text)
    return Logins({**os.environ, "DOCKER_CONFIG": str(folder), **environment}, nobody)


def auth(user: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{SECRET}".encode()).decode()}


def helper(folder: Path, script: str) -> str:
    """A credential helper, and the PATH with it."""
    program = folder / "docker-credential-box"
    program.write_text(f"#!/bin/bash\n{script}\n")
    program.chmod(0o755)
    return f"{folder}{os.pathsep}{os.environ['PATH']}"


@pytest.mark.parametrize(
    ("server", "reference"),
    [
        ("registry.example.org", "registry.example.org/web"),
        ("https://registry.example.org/v2/", "registry.example.org/web"),
        ("registry.example.org:5000", "registry.example.org:5000/web"),
        ("Registry.Example.ORG:443", "registry.example.org/web"),
        ("https://index.docker.io/v1/", "debian:12"),
    ],
)
def test_a_login_in_the_config_is_found_by_its_server(tmp_path: Path, server: str, reference: str) -> None:
    found = logins(tmp_path, {"auths": {"other.example.org": auth("eve"), server: auth("ada")}}).of(registry(reference))
    assert found is not None
    assert (found.user, found.secret) == ("ada", SECRET)
    assert SECRET not in repr(found)


def test_nobody_who_is_not_logged_in_has_a_login(tmp_path: Path) -> None:
    assert Logins({"DOCKER_CONFIG": str(tmp_path / "nowhere")}, nobody).of(registry("debian")) is None
    assert logins(tmp_path, {"auths": {"registry.example.org": {}}}).of(registry("registry.example.org/web")) is None


@pytest.mark.parametrize(
    "config",
    [
        {"credsStore": "box"},
        {"credHelpers": {"registry.example.org": "box"}, "credsStore": "missing"},
        {"credHelpers": {"Registry.example.org": "box"}, "credsStore": "missing"},
    ],
)
def test_a_helper_is_asked_for_the_registry_it_is_named_for(tmp_path: Path, config: Any) -> None:
    answer = json.dumps({"ServerURL": "registry.example.org", "Username": "ada", "Secret": SECRET})
    path = helper(tmp_path, f"read server; test ${{server,,}} = registry.example.org && echo '{answer}'")
    found = logins(tmp_path, config, PATH=path).of(registry("registry.example.org/web"))
    assert found is not None
    assert (found.user, found.secret, found.is_identity) == ("ada", SECRET, False)


def test_a_token_of_a_helper_is_told_from_a_password(tmp_path: Path) -> None:
    path = helper(tmp_path, f"echo '{json.dumps({'Username': '<token>', 'Secret': SECRET})}'")
    found = logins(tmp_path, {"credsStore": "box"}, PATH=path).of(registry("registry.example.org/web"))
    assert found is not None
    assert found.is_identity


def test_a_helper_that_knows_of_none_is_no_error(tmp_path: Path) -> None:
    path = helper(tmp_path, "echo credentials not found in native keychain; exit 1")
    assert logins(tmp_path, {"credsStore": "box"}, PATH=path).of(registry("registry.example.org/web")) is None


@pytest.mark.parametrize(
    ("config", "script", "said"),
    [
        ({"credsStore": "absent"}, "", "docker-credential-absent, which is not installed here"),
        ({"credsStore": "box"}, "echo the box is locked; exit 1", "gives no login .*: the box is locked"),
        ({"credsStore": "box"}, f"echo not json {SECRET}", "answers something else"),
        ({"credsStore": "../box"}, "", "is no name"),
        ("{", "", "config.json can't be read"),
    ],
)
def test_what_can_not_be_used_is_the_person_s_to_fix(tmp_path: Path, config: Any, script: str, said: str) -> None:
    path = helper(tmp_path, script)
    with pytest.raises(Terminal, match=said) as refused:
        logins(tmp_path, config, PATH=path).of(registry("registry.example.org/web"))
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com", "eu-west-1"),
        ("123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com.example.org", None),
        ("registry.example.org", None),
    ],
)
def test_a_registry_of_ecr_is_known_by_its_name(host: str, region: str | None) -> None:
    assert ecr_region(host) == region
