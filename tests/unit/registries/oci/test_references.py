"""References to container images, as people write them, and which registry is asked for what."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from reconciler.registries import dialect_of
from reconciler.registries.oci.reference import is_surely_one, location, parse, repository, why_none

DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("written", "repository", "at", "moves"),
    [
        ("debian", "docker.io/library/debian", "latest", True),
        ("debian:12", "docker.io/library/debian", "12", False),
        ("debian:latest", "docker.io/library/debian", "latest", True),
        ("acme/web:1", "docker.io/acme/web", "1", False),
        ("docker.io/debian:12", "docker.io/library/debian", "12", False),
        ("index.docker.io/acme/web:1", "docker.io/acme/web", "1", False),
        ("registry.example.org/acme/web", "registry.example.org/acme/web", "latest", True),
        ("registry.example.org:5000/web:v1.2", "registry.example.org:5000/web", "v1.2", False),
        ("localhost/web:1", "localhost/web", "1", False),
        ("[::1]:5000/web:1", "[::1]:5000/web", "1", False),
        (f"debian:12@{DIGEST}", "docker.io/library/debian", DIGEST, False),
        (f"debian@{DIGEST}", "docker.io/library/debian", DIGEST, False),
    ],
)
def test_what_is_left_out_is_filled_in_as_docker_does(written: str, repository: str, at: str, *, moves: bool) -> None:
    found = parse(written)
    assert found is not None
    assert (found.repository, found.at, found.moves) == (repository, at, moves)


ONE_PLACE = [
    ("DOCKER.IO/debian", "docker.io/library/debian"),
    ("docker.io:443/debian", "docker.io/library/debian"),
    ("index.docker.io/acme/web", "docker.io/acme/web"),
    ("registry-1.docker.io/library/debian", "docker.io/library/debian"),
    ("Registry.Example.ORG/acme/web", "registry.example.org/acme/web"),
    ("registry.example.org:443/acme/web", "registry.example.org/acme/web"),
    ("registry.example.org:0443/acme/web", "registry.example.org/acme/web"),
    ("registry.example.org:05000/web", "registry.example.org:5000/web"),
    ("LOCALHOST/web", "localhost/web"),
    ("localhost:80/web", "localhost/web"),
    ("127.0.0.1:80/web", "127.0.0.1/web"),
    ("[0:0::1]:5000/web", "[::1]:5000/web"),
    ("[2001:DB8::1]:443/web", "[2001:db8::1]/web"),
]
"""Ways to write a repository, and the one that is a location."""


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("localhost:5000/web", "127.0.0.1:5000/web", True),
        ("localhost/web", "[::1]/web", True),
        ("localhost:80/web", "127.0.0.1/web", True),
        ("LOCALHOST:5000/web", "localhost:5000/web", True),
        ("localhost:5000/web", "127.0.0.1:5001/web", False),
        ("localhost:5000/web", "127.0.0.1:5000/app", False),
        ("localhost:5000/web", "127.0.0.2:5000/web", False),
        ("127.0.0.1:5000/web", "[::1]:5000/web", False),  # two programs may listen
        ("localhost.example.org/web", "127.0.0.1/web", False),
        ("registry.example.org/web", "mirror.example.org/web", False),
    ],
)
def test_two_names_are_surely_one_where_nobody_else_can_be_asked_by_them(one: str, other: str, *, same: bool) -> None:
    assert is_surely_one(repository(one), repository(other)) is same
    assert is_surely_one(repository(other), repository(one)) is same


@pytest.mark.parametrize(("written", "repository_"), ONE_PLACE)
def test_of_the_ways_to_write_a_registry_one_counts_and_the_others_are_told_which(
    written: str, repository_: str
) -> None:
    found = parse(written)
    assert found is not None
    assert found.repository == repository_
    assert location(written) is None
    assert location(repository_) is not None
    assert dialect_of("oci").wrong_location(written) == f"how that repository is written here: {repository_}"
    assert repository(written) == repository(repository_), "what was recorded so is where it was"


@pytest.mark.parametrize("written", ["registry.example.org:80/web", "localhost:443/web", "127.0.0.1:5000/web"])
def test_what_may_be_another_registry_stays_one(written: str) -> None:
    assert location(written) is not None
    assert dialect_of("oci").wrong_location(written) is None


HOSTS = st.from_regex(r"[a-zA-Z0-9]{1,8}(\.[a-zA-Z0-9]{1,8}){1,3}", fullmatch=True)


@given(HOSTS, st.sampled_from(["", ":443", ":0443", ":5000", ":80"]), st.sampled_from(["web", "acme/web", "a/b/c"]))
def test_a_location_is_what_is_made_of_it(host: str, port: str, path: str) -> None:
    found = parse(f"{host}{port}/{path}")
    assert found is not None
    again = location(found.repository)
    assert again == found
    assert parse(f"{host.swapcase()}{port}/{path}") == found


@pytest.mark.parametrize(
    "written",
    ["", "Debian", "debian:", "debian:12:13", "debian@sha256:12", "https://registry.example.org/web", "a//b", "-a",
     "debian:12 ", "Acme/web", f"registry.example.org/{'a/' * 200}b"],
)  # fmt: skip
def test_what_is_no_reference_is_none(written: str) -> None:
    assert parse(written) is None


@pytest.mark.parametrize(
    ("written", "endpoint"),
    [
        ("debian", "https://registry-1.docker.io"),
        ("registry.example.org/web", "https://registry.example.org"),
        ("127.0.0.1:5000/web", "http://127.0.0.1:5000"),
        ("localhost:5000/web", "http://localhost:5000"),
        ("[::1]:5000/web", "http://[::1]:5000"),
        ("localhost.example.org/web", "https://localhost.example.org"),
        ("10.0.0.1:5000/web", "https://10.0.0.1:5000"),
    ],
)
def test_only_what_is_on_this_machine_is_asked_without_tls(written: str, endpoint: str) -> None:
    found = parse(written)
    assert found is not None
    assert found.endpoint == endpoint


@pytest.mark.parametrize("written", ["acme/web", "debian", "registry.example.org/acme/web:1", "registry.example.org"])
def test_a_location_is_a_repository_in_its_whole_form(written: str) -> None:
    assert location(written) is None
    assert location("registry.example.org/acme/web") is not None


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("reg/Up/base:1", "the names in it are in lower case, reg/up/base:1"),
        ("registry.example.org/Up/base:V1", "the names in it are in lower case, registry.example.org/up/base:V1"),
        ("Debian", "the names in it are in lower case, debian"),
        (f"Debian@{DIGEST}", "the names in it are in lower case, debian@"),
        ("localhost:5000/Up", "the names in it are in lower case, localhost:5000/up"),
        ("debian:12 ", "there are blanks around it"),
        ("https://registry.example.org/web", "it is written as debian:12, or with its registry, registry.example.org/"),
        ("Debian:12:13", "it is written as debian:12"),
        ("", "it is written as debian:12"),
        ("Up\x1b[2J" * 100, "it is written as debian:12"),
    ],
)
def test_what_is_no_reference_is_told_how_it_is_written(written: str, said: str) -> None:
    sentence = why_none(written)
    assert f"is no reference to a container image: {said}" in sentence
    assert len(sentence) < 240
    with pytest.raises(ValidationError, match="is no reference to a container image") as refused:
        TypeAdapter(dialect_of("oci").sources["oci"]).validate_python(written)
    assert "?:" not in str(refused.value)
