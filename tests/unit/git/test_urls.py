from __future__ import annotations

import pytest

from reconciler.git.urls import fleet_name, shareable, without_userinfo


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("git@github.com:owner/name.git", "owner/name"),
        ("github.com:owner/name", "owner/name"),
        ("ssh://git@github.com:22/owner/name.git", "owner/name"),
        ("https://github.com/owner/name.git", "owner/name"),
        ("https://bot:secret@github.com/owner/name/", "owner/name"),
        ("https://gitlab.com/group/sub/name.git", "group/sub/name"),
        ("https://git-codecommit.us-east-1.amazonaws.com/v1/repos/name", "v1/repos/name"),
        ("/srv/git/name.git", "name"),
        ("../name", "name"),
        ("file:///srv/git/name.git", "name"),
    ],
)
def test_the_fleet_has_the_path_of_its_remote_for_a_name(url: str, name: str) -> None:
    assert fleet_name(url) == name


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
