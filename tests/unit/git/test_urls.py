from __future__ import annotations

import pytest

from reconciler.git.urls import fleet_name, is_of_this_machine, repository_name, shareable, without_userinfo


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("git@github.com:owner/name.git", "owner/name"),
        ("github.com:owner/name", "owner/name"),
        ("ssh://git@github.com:22/owner/name.git", "owner/name"),
        ("https://github.com/owner/name.git", "owner/name"),
        ("https://bot:secret@github.com/Owner/Name/", "Owner/Name"),
        ("https://gitlab.com/group/sub/name.git", "group/sub/name"),
        ("https://git-codecommit.us-east-1.amazonaws.com/v1/repos/name", "v1/repos/name"),
        ("https://git.example.org/scm/ops/name", "scm/ops/name"),
        ("/srv/git/name.git", "name"),
        ("../name", "name"),
        ("file:///srv/git/name.git", "name"),
    ],
)
def test_a_repository_has_the_path_of_its_remote_for_a_name(url: str, name: str) -> None:
    assert repository_name(url) == name


ONE_FLEET = {
    "acme/images": [
        "https://github.com/Acme/Images",
        "https://github.com/acme/images.git/",
        "https://x-access-token:secret@GitHub.com/ACME/images.git",
        "https://www.github.com//acme/images//",
        "git@github.com:acme/images.git",
        "git@github.com:/Acme/Images",
        "ssh://git@ssh.github.com:443/acme/images.git",
        "git+ssh://git@github.com/acme/images",
        "git://github.com/acme/images.git",
    ],
    "group/sub/images": [
        "https://oauth2:secret@gitlab.com/Group/Sub/Images.git",
        "ssh://git@altssh.gitlab.com:443/group/sub/images.git",
        "git@gitlab.com:group/sub/images",
    ],
    "ops/images": [
        "https://git.example.org/scm/OPS/images.git",
        "https://ada@git.example.org:8443/scm/ops/images.git",
        "https://example.org/bitbucket/scm/ops/images.git",
        "ssh://git@git.example.org:7999/ops/images.git",
        "ssh://git@git.example.org:7999/OPS/Images",
        "git@git.example.org:ops/images.git",
        "git@[2001:db8::1]:ops/images.git",
        "ssh://git@[2001:db8::1]:2222/ops/images.git",
    ],
    "~ada/images": ["https://git.example.org/scm/~ada/images.git", "ssh://git@git.example.org:7999/~ada/images.git"],
    "acme/platform team/images": [
        "https://acme@dev.azure.com/acme/Platform%20Team/_git/images",
        "git@ssh.dev.azure.com:v3/acme/Platform%20Team/images",
        "https://acme.visualstudio.com/Platform%20Team/_git/images",
        "https://acme.visualstudio.com/DefaultCollection/Platform%20Team/_git/images",
        "acme@vs-ssh.visualstudio.com:v3/acme/Platform%20Team/images",
    ],
    "acme/images/images": [
        "https://dev.azure.com/acme/_git/images",
        "https://acme.visualstudio.com/_git/images",
        "git@ssh.dev.azure.com:v3/acme/images/images",
    ],
    "v1/repos/images": [
        "https://git-codecommit.us-east-1.amazonaws.com/v1/repos/images",
        "ssh://APKAEXAMPLE@git-codecommit.us-east-1.amazonaws.com/v1/repos/images",
        "codecommit::us-east-1://images",
        "codecommit::us-east-1://ops@images",
        "codecommit://ops@images",
    ],
    "infra/images": [
        "https://gerrit.example.org/a/infra/images",
        "https://gerrit.example.org/infra/images",
        "ssh://ada@gerrit.example.org:29418/infra/images",
    ],
}


@pytest.mark.parametrize("name", ONE_FLEET)
def test_a_fleet_has_one_name_however_it_is_cloned(name: str) -> None:
    assert {url: fleet_name(url) for url in ONE_FLEET[name]} == dict.fromkeys(ONE_FLEET[name], name)


@pytest.mark.parametrize(
    "urls",
    [
        # Where a host may tell names apart by case, so do we.
        ("ssh://git@git.example.org/srv/Images", "ssh://git@git.example.org/srv/images"),
        ("codecommit://Images", "codecommit://images"),
        ("https://github.com/a/images", "https://github.com/images/images"),
        ("https://gitlab.com/scm/ops/images", "https://gitlab.com/ops/images"),
        ("https://github.com.example.org/Acme/images", "https://github.com.example.org/acme/images"),
    ],
)
def test_two_fleets_have_two_names(urls: tuple[str, str]) -> None:
    assert fleet_name(urls[0]) != fleet_name(urls[1])


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        (
            "fatal: unable to access 'https://bot:p@ss@host/o/n.git/': no",
            "fatal: unable to access 'https://host/o/n.git/': no",
        ),
        ("https://token@host/x and http://a:b@h/y", "https://host/x and http://h/y"),
        ("git@github.com:owner/name.git", "git@github.com:owner/name.git"),
        ("mail a@b.org, see https://host/a@b", "mail a@b.org, see https://host/a@b"),
    ],
)
def test_credentials_are_taken_out_of_urls(text: str, safe: str) -> None:
    assert without_userinfo(text) == safe


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://git.example.org/a.git", "https://git.example.org/a.git"),
        ("https://bot:s3cr3t@git.example.org/a.git", "https://git.example.org/a.git"),
        ("https://s3cr3t@git.example.org/a.git", "https://git.example.org/a.git"),
        ("https://git:s3cr3t@git.example.org/a.git", "https://git.example.org/a.git"),
        ("ssh://git@git.example.org/a.git", "ssh://git@git.example.org/a.git"),
        ("ssh://git@s3cr3t@git.example.org/a.git", "ssh://git.example.org/a.git"),
        ("git@git.example.org:a.git", "git@git.example.org:a.git"),
        ("/srv/a.git", "/srv/a.git"),
    ],
)
def test_what_is_shared_of_a_url_is_no_secret_and_can_be_used(url: str, shown: str) -> None:
    assert shareable(url) == shown


@pytest.mark.parametrize(
    ("url", "it_is"),
    [
        ("/srv/git/name.git", True),
        ("../name", True),
        ("file:///srv/git/name.git", True),
        ("FILE:///srv/git/name.git", True),
        ("https://git.example.org/name.git", False),
        ("git@git.example.org:name.git", False),
        ("git.example.org:name", False),
        ("ssh://git@git.example.org/name", False),
        ("codecommit::us-east-1://name", False),
        ("codecommit://profile@name", False),
    ],
)
def test_what_is_on_this_machine_alone_is_a_path(url: str, *, it_is: bool) -> None:
    assert is_of_this_machine(url) is it_is
