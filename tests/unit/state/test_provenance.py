from __future__ import annotations

import json

import pytest

from reconciler.model.errors import UserError
from reconciler.model.lockfile import Build
from reconciler.model.provenance import Origin
from reconciler.state.provenance import attest, read, render

ORIGIN = Origin(fleet="acme", image="web", repository="acme/images", branch="main")
BUILD = Build(id="20261122T101530Z-1a2b3c4", key="k", components={}, commit="c", artifacts=(), phase="stable")
PATH = "state/provenance/web/20261122T101530Z-1a2b3c4.intoto.json"


def test_a_build_is_given_its_statement_and_the_files_to_commit() -> None:
    made = attest(BUILD, ORIGIN, sbom=None, sign=lambda payload: b"signed " + payload)

    assert made.build.provenance == "provenance/web/20261122T101530Z-1a2b3c4.intoto.json"
    assert list(made.files) == [PATH, f"{PATH}.sig"]
    assert made.files[f"{PATH}.sig"] == b"signed " + (made.files[PATH] or b"")


def test_without_a_key_an_old_signature_must_go() -> None:
    assert attest(BUILD, ORIGIN, sbom=None, sign=lambda _payload: None).files[f"{PATH}.sig"] is None


def test_the_same_record_makes_the_same_bytes_whether_it_names_its_statement_or_not() -> None:
    once = attest(BUILD, ORIGIN, sbom=b"x", sign=lambda _payload: None)
    again = attest(once.build, ORIGIN, sbom=b"x", sign=lambda _payload: None)

    assert once.files == again.files


def test_what_is_written_is_canonical_and_is_read_back() -> None:
    content = attest(BUILD, ORIGIN, sbom=None, sign=lambda _payload: None).files[PATH]
    assert content is not None

    plain = json.loads(content)
    assert content == f"{json.dumps(plain, sort_keys=True, indent=2, ensure_ascii=False)}\n".encode()
    assert plain["_type"] == "https://in-toto.io/Statement/v1"
    assert plain["predicateType"] == "https://slsa.dev/provenance/v1"
    document = read(content, PATH)
    assert (document.canonical, document.envelope) == (True, None)
    assert render(document.statement) == content
    assert document.statement.origin == ORIGIN


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"_type": "https://in-toto.io/Statement/v2"}'])
def test_what_is_no_statement_is_refused(content: bytes) -> None:
    with pytest.raises(UserError, match="not a provenance statement"):
        read(content, PATH)
