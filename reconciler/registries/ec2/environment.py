"""How Packer comes to act as whoever `aws:` in reconciler.yaml names, without any key being copied."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reconciler.model.declaration import AwsSettings

_PROFILE = "reconciler"
_BASE = "reconciler-base"


def aws_environment(
    settings: AwsSettings, inherited: Mapping[str, str], *, folder: Path, region: str
) -> dict[str, str]:  # fmt: skip
    """The environment with which the amazon plugins use the profile, or assume the role, and build in the region.

    The region is given under both names that SDKs look for: a template without one would be built wherever the
    environment or the profile says.

    A profile is named in AWS_PROFILE. A role is written, as a profile, to a config file in `folder`, on top of
    whatever credentials there are: the SDK assumes it and renews it for as long as the build takes, which keys that
    were copied into the environment would not survive (hashicorp/packer#3019: they end after an hour).

    Both Go SDKs read the config file: the old one (Packer 1.6) only when AWS_SDK_LOAD_CONFIG says so.
    """
    environment = {**inherited, "AWS_REGION": region, "AWS_DEFAULT_REGION": region}
    if settings.profile is None and settings.role is None:
        return environment
    environment["AWS_SDK_LOAD_CONFIG"] = "1"
    if settings.role is None:
        return {**environment, "AWS_PROFILE": settings.profile or ""}
    config = folder / "aws-config"
    config.write_text(_config(settings, inherited), encoding="utf-8")
    return {**environment, "AWS_CONFIG_FILE": str(config), "AWS_PROFILE": _PROFILE}


def _config(settings: AwsSettings, inherited: Mapping[str, str]) -> str:
    role = [f"[profile {_PROFILE}]", f"role_arn = {settings.role}", "role_session_name = reconciler"]
    kept = _existing(inherited)
    if settings.profile is not None:
        return "\n".join([*kept, *role, f"source_profile = {settings.profile}", ""])
    if "AWS_WEB_IDENTITY_TOKEN_FILE" in inherited and "AWS_ROLE_ARN" in inherited:
        base = [
            f"[profile {_BASE}]",
            f"role_arn = {inherited['AWS_ROLE_ARN']}",
            f"web_identity_token_file = {inherited['AWS_WEB_IDENTITY_TOKEN_FILE']}",
        ]
        return "\n".join([*base, *role, f"source_profile = {_BASE}", ""])
    if "AWS_ACCESS_KEY_ID" in inherited:
        return "\n".join([*role, "credential_source = Environment", ""])
    if "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI" in inherited or "AWS_CONTAINER_CREDENTIALS_FULL_URI" in inherited:
        return "\n".join([*role, "credential_source = EcsContainer", ""])
    return "\n".join([*role, "credential_source = Ec2InstanceMetadata", ""])


def _existing(inherited: Mapping[str, str]) -> list[str]:
    """The person's own config, which holds the profile that the role is assumed from."""
    own = Path(inherited.get("AWS_CONFIG_FILE") or Path(inherited.get("HOME", "/"), ".aws", "config"))
    return [own.read_text(encoding="utf-8")] if own.is_file() else []
