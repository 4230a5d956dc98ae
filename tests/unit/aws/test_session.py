from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from botocore.credentials import AssumeRoleProvider

from reconciler.aws.errors import translated
from reconciler.aws.session import Clients, MfaCodeNeededError
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import Terminal
from reconciler.registries.ec2.images import observe

ROLE = "arn:aws:iam::123456789012:role/ci"
US = "us-east-1"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of profiles of a machine where nothing else says who one is."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    path = tmp_path / "config"
    path.write_text("")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(path))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    return path


@pytest.fixture(params=["absent", "a folder", "binary", "empty"])
def token(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file of a web identity's token that holds none."""
    path = tmp_path / "token"
    if request.param == "a folder":
        path.mkdir()
    elif request.param != "absent":
        path.write_bytes(b"" if request.param == "empty" else b"\xd4\xff")
    return path


def test_a_token_that_cannot_be_read_is_named_with_what_names_it(
    config: Path, token: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ROLE_ARN", ROLE)
    monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))

    refused = observe(Clients(AwsSettings()), [US], fleet="acme/images").refused

    assert refused is not None
    assert f"from AWS_WEB_IDENTITY_TOKEN_FILE ({token}): " in refused.what
    assert refused.hint[-1] == "if its token's file is empty or missing, the CI job was given no OIDC token"
    assert config.exists()


@pytest.mark.parametrize("process", ["/absent", "echo hello", "echo 1"])
def test_a_program_that_gives_no_credentials_is_named_by_its_profile(config: Path, process: str) -> None:
    config.write_text(f"[profile ci]\ncredential_process = {process}\n")
    clients = Clients(AwsSettings(profile="ci"))

    with pytest.raises(Terminal, match="retrieving credentials from the profile ci: "), translated("looking"):
        clients.ec2(US)


@pytest.mark.parametrize("content", [None, "no certificate"])
def test_certificates_that_cannot_be_read_are_named_before_anything_is_asked(
    config: Path, tmp_path: Path, content: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(bundle))

    refused = observe(Clients(AwsSettings()), [US], fleet="acme/images").refused

    assert refused is not None
    assert f"the certificates of AWS_CA_BUNDLE ({bundle}) can't be read: " in refused.what
    assert "AWS_CA_BUNDLE" in refused.hint[0]
    assert config.exists()


WITH_MFA = f"""
[profile person]
aws_access_key_id = AKIA0123456789ABCDEF
aws_secret_access_key = secret
[profile admin]
role_arn = {ROLE}
source_profile = person
mfa_serial = arn:aws:iam::123456789012:mfa/someone
[profile chained]
role_arn = {ROLE}
source_profile = admin
"""


@pytest.fixture
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("123456\n"))


@pytest.mark.usefixtures("no_terminal")
@pytest.mark.parametrize("settings", [{"profile": "admin"}, {"profile": "chained"}, {"profile": "admin", "role": ROLE}])
def test_without_a_terminal_nobody_is_asked_for_the_code_that_a_role_wants(
    config: Path, settings: dict[str, str]
) -> None:
    config.write_text(WITH_MFA)

    refused = observe(Clients(AwsSettings(**settings)), [US], fleet="acme/images").refused

    assert type(refused) is Terminal
    assert (
        f"from the profile {settings['profile']}: its role asks for an MFA code "
        "(mfa_serial = arn:aws:iam::123456789012:mfa/someone), and there is no terminal to type one at" in refused.what
    )
    assert refused.hint
    assert sys.stdin.read() == "123456\n", "what was not for us is not read"


@pytest.mark.usefixtures("no_terminal")
@pytest.mark.parametrize("in_ci", [False, True])
def test_at_a_terminal_of_a_person_botocore_asks(config: Path, monkeypatch: pytest.MonkeyPatch, *, in_ci: bool) -> None:
    config.write_text(WITH_MFA)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    asked: list[str] = []

    class Answered(Exception):
        """Instead of a call of STS."""

    def answer(prompt: str) -> str:
        asked.append(prompt)
        raise Answered

    monkeypatch.setattr(AssumeRoleProvider.__init__, "__defaults__", (answer, None, None))
    with pytest.raises(MfaCodeNeededError if in_ci else Answered):
        Clients(AwsSettings(profile="admin"), in_ci=in_ci).sign_in(US)

    assert len(asked) == (0 if in_ci else 1)


@pytest.mark.usefixtures("no_terminal")
def test_a_profile_that_wants_a_code_is_used_where_other_credentials_come_first(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.write_text(WITH_MFA)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIA0123456789ABCDEF")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_PROFILE", "admin")

    Clients(AwsSettings()).sign_in(US)
