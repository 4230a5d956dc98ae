"""How Packer comes to act as whoever `aws:` names."""

from __future__ import annotations

import configparser
from pathlib import Path

import pytest

from reconciler.model.declaration import AwsSettings
from reconciler.registries.ec2.environment import aws_environment

REGION = "eu-west-1"
IN_REGION = {"AWS_REGION": REGION, "AWS_DEFAULT_REGION": REGION}
ROLE = "arn:aws:iam::123456789012:role/build"


def profile(environment: dict[str, str]) -> configparser.SectionProxy:
    config = configparser.ConfigParser()
    config.read(environment["AWS_CONFIG_FILE"])
    return config[f"profile {environment['AWS_PROFILE']}"]


def test_without_settings_packer_inherits_what_there_is(tmp_path: Path) -> None:
    inherited = {"PATH": "/bin", "AWS_ACCESS_KEY_ID": "AKIA"}

    assert aws_environment(AwsSettings(), inherited, folder=tmp_path, region=REGION) == inherited | IN_REGION
    assert list(tmp_path.iterdir()) == []


def test_a_profile_is_named_and_not_copied(tmp_path: Path) -> None:
    environment = aws_environment(AwsSettings(profile="images"), {"HOME": "/none"}, folder=tmp_path, region=REGION)

    assert environment["AWS_PROFILE"] == "images"
    assert environment["AWS_SDK_LOAD_CONFIG"] == "1"


@pytest.mark.parametrize(
    ("inherited", "source"),
    [
        ({"AWS_ACCESS_KEY_ID": "AKIA"}, "Environment"),
        ({"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2"}, "EcsContainer"),
        ({}, "Ec2InstanceMetadata"),
    ],
)
def test_a_role_is_assumed_from_the_credentials_at_hand(tmp_path: Path, inherited: dict[str, str], source: str) -> None:
    environment = aws_environment(AwsSettings(role=ROLE), inherited, folder=tmp_path, region=REGION)

    assert profile(environment)["role_arn"] == ROLE
    assert profile(environment)["credential_source"] == source


def test_a_role_is_assumed_from_a_web_identity_whose_token_is_read_anew(tmp_path: Path) -> None:
    inherited = {"AWS_ROLE_ARN": "arn:aws:iam::1:role/ci", "AWS_WEB_IDENTITY_TOKEN_FILE": "/run/token"}

    environment = aws_environment(AwsSettings(role=ROLE), inherited, folder=tmp_path, region=REGION)

    config = configparser.ConfigParser()
    config.read(environment["AWS_CONFIG_FILE"])
    base = config[f"profile {profile(environment)['source_profile']}"]
    assert base["web_identity_token_file"] == "/run/token"
    assert base["role_arn"] == "arn:aws:iam::1:role/ci"


def test_a_role_is_assumed_from_a_profile_of_the_persons_own_config(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.write_text("[profile images]\nregion = eu-west-1\n")

    environment = aws_environment(
        AwsSettings(role=ROLE, profile="images"), {"AWS_CONFIG_FILE": str(own)}, folder=tmp_path, region=REGION
    )

    config = configparser.ConfigParser()
    config.read(environment["AWS_CONFIG_FILE"])
    assert profile(environment)["source_profile"] == "images"
    assert config["profile images"]["region"] == "eu-west-1"


def test_the_region_is_ours_whatever_the_environment_says(tmp_path: Path) -> None:
    inherited = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-west-2", "AWS_ACCESS_KEY_ID": "AKIA"}
    for settings in (AwsSettings(), AwsSettings(profile="images"), AwsSettings(role=ROLE)):
        environment = aws_environment(settings, inherited, folder=tmp_path, region=REGION)
        assert IN_REGION.items() <= environment.items()
