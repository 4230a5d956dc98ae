"""Which values are secret, wherever they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.build.secrets import secret_values
from reconciler.model.declaration import Declaration, PackerSettings
from reconciler.model.errors import Place
from reconciler.model.fleet import Image, Template, Variable
from reconciler.registries.ec2.dialect import AMI

PLACE = Place("desired/web/web.pkr.hcl")


def image(*, default: object = None, sensitive: bool = True, variables: dict[str, Any] | None = None) -> Image:
    template = Template(
        "hcl2",
        (PLACE.path,),
        builders=(),
        variables={"password": Variable("password", "", PLACE, default=default, sensitive=sensitive)},
    )
    declaration = Declaration(packer=PackerSettings(variables=variables or {}))
    return Image("web", "desired/web", declaration, template, AMI, source=None, locations=(), inputs=())


def values(
    image: Image, tmp_path: Path, *, files: dict[str, str] | None = None, environment: dict[str, str] | None = None
) -> set[str]:
    paths = []
    for name, text in (files or {}).items():
        path = tmp_path / name
        path.write_text(text)
        paths.append(path)
    return set(secret_values(image, environment or {}, var_files=paths, export=tmp_path))


def test_a_variable_that_is_not_sensitive_has_no_secrets(tmp_path: Path) -> None:
    assert values(image(default="x", sensitive=False, variables={"password": "y"}), tmp_path) == set()


def test_defaults_of_every_shape_are_secrets(tmp_path: Path) -> None:
    assert values(image(default={"a": ["one", 2], "b": {"c": "three", "d": True}}), tmp_path) == {"one", "2", "three"}


def test_a_value_from_the_environment_is_secret(tmp_path: Path) -> None:
    environment = {"PKR_VAR_password": "one", "DB_PW": "two"}

    assert values(image(default="{{env `DB_PW`}}"), tmp_path, environment=environment) == {
        "one",
        "two",
        "{{env `DB_PW`}}",
    }


def test_values_from_var_files_are_secrets(tmp_path: Path) -> None:
    files = {"a.pkrvars.hcl": 'password = "one"\nother = "x"\n', "b.pkrvars.json": '{"password": "two", "other": "x"}'}

    assert values(image(), tmp_path, files=files) == {"one", "two"}


def test_values_from_a_large_var_file_are_secrets(tmp_path: Path) -> None:
    certificate = "".join(f"line {number:05}\n" for number in range(2000))
    text = f'other = "x"\npassword = <<EOF\n{certificate}EOF\n'

    assert values(image(), tmp_path, files={"a.pkrvars.hcl": text}) == {certificate}


@pytest.mark.thorough
@pytest.mark.parametrize("hostile", ["/* ", "$", "x\n", "["])
def test_a_var_file_that_takes_minutes_to_parse_is_given_up_and_hides_its_lines(
    hostile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.build.secrets._READ_SECONDS", 1)
    text = f"password = <<EOF\nhunter2-value\n{hostile * (1_000_000 // len(hostile))}"

    assert "hunter2-value" in values(image(), tmp_path, files={"a.pkrvars.hcl": text})


def test_everything_quoted_in_a_broken_var_file_is_secret(tmp_path: Path) -> None:
    assert values(image(), tmp_path, files={"a.pkrvars.hcl": 'password = "one"\nother = "x'}) == {"one"}


def test_credentials_in_the_environment_are_known_by_their_name(tmp_path: Path) -> None:
    environment = {
        "AWS_SECRET_ACCESS_KEY": "long-enough-1",
        "AWS_SESSION_TOKEN": "long-enough-2",
        "CIRCLE_TOKEN": "long-enough-3",
        "db_password": "long-enough-4",
        "MYSQL_PWD": "long-enough-5",
        "SSHPASS": "long-enough-6",
        "LDAP_BINDPW": "long-enough-7",
        "REDISCLI_AUTH": "long-enough-8",
        "GITLAB_PAT": "long-enough-9",
        "AZURE_STORAGE_KEY": "long-enough-10",
        "TWINE_CREDS": "long-enough-11",
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_WEB_IDENTITY_TOKEN_FILE": "/var/run/token",
        "USE_TOKEN": "true",
        "PATH": "/usr/bin:/bin",
        "PWD": "/home/me/work",
        "OLDPWD": "/home/me/other",
        "INIT_CWD": "/home/me/third",
        "SSH_AUTH_SOCK": "/run/user/1/agent.1",
        "MYSQL_PWD_FILE": "/run/secrets/mysql",
    }

    assert values(image(), tmp_path, environment=environment) == {f"long-enough-{number}" for number in range(1, 12)}
