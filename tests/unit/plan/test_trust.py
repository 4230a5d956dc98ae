"""What a run believes of a tag, and what an auditor does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import pytest

import reconciler
from reconciler.model.observation import TAG_PREFIX, Seen
from reconciler.model.verification import Provenance, Signature
from reconciler.plan.trust import as_named, believed, believes, is_marked, of_commit, of_tag
from tests.doubles.tag import SimulatedTag

State = Literal["good", "untrusted", "unchecked", "bad", "absent"]


@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("named_before", ["", "image/web/2"])
@pytest.mark.parametrize("sign", [True, False])
def test_where_we_sign_a_tag_counts_under_a_good_signature_for_its_own_name(
    *, sign: bool, named_before: str, signed: bool
) -> None:
    tag = SimulatedTag("image/web/1", signed=signed, named_before=named_before)

    counts = not sign or (signed and not named_before)

    assert believed(tag, sign=sign) is (tag if counts else None)
    assert tag.asked == (sign and not named_before), "its signature is asked for where that decides"


@pytest.mark.parametrize("sign", [True, False])
def test_no_tag_is_believed_where_there_is_none(*, sign: bool) -> None:
    assert believed(None, sign=sign) is None


def test_of_a_commit_nobody_is_asked_where_we_do_not_sign() -> None:
    def refuse() -> bool:
        pytest.fail("its signature decides nothing")

    assert believes(refuse, sign=False)
    assert [believes(lambda one=signed: one, sign=True) for signed in (True, False)] == [True, False]  # type: ignore[misc] # a default binds it


@pytest.mark.parametrize(
    ("state", "kind"),
    [("good", "ours"), ("untrusted", "hearsay"), ("unchecked", "hearsay"), ("bad", "hearsay"), ("absent", "hearsay")],
)
def test_an_auditor_takes_for_ours_what_a_trusted_key_signed(state: State, kind: Provenance) -> None:
    assert of_tag(Signature(state)) == kind


def test_a_good_signature_under_another_name_is_bad_and_none_is_none() -> None:
    good = Signature("good", form="ssh", by="ci@example.org", key="SHA256:1")
    moved = SimulatedTag("image/web/1", named_before="image/web/2")

    told = as_named(good, moved)

    assert (told.state, told.by, told.form, told.key) == ("bad", "", "ssh", "SHA256:1")
    assert told.why == "it is of another tag, put under this name"
    assert as_named(good, SimulatedTag("image/web/1")) is good
    assert as_named(Signature("absent"), moved).state == "absent"


@pytest.mark.parametrize("at_head", [True, False])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("sign", [True, False])
def test_a_commit_is_ours_at_the_head_or_under_a_signature(*, at_head: bool, signed: bool, sign: bool) -> None:
    ours = signed or (at_head and not sign)
    assert of_commit(at_head=at_head, signed=signed, sign=sign) == ("ours" if ours else "hearsay")


@pytest.mark.parametrize(
    ("other", "counts"),
    [
        ({}, True),
        ({"image": "www"}, True),
        ({"fleet": "acme/others"}, False),
        ({"image": "base"}, False),
        ({"build": "20261101T000000Z-0000000"}, False),
        ({"build": None}, False),
    ],
    ids=["its own", "as it was called before", "another fleet", "another image", "another build", "no build"],
)
def test_an_artifact_is_a_builds_by_all_of_its_marks(other: dict[str, str | None], *, counts: bool) -> None:
    marks = {"fleet": "acme/images", "image": "web", "build": "20261122T101530Z-1a2b3c4", **other}
    tags = {f"{TAG_PREFIX}{name}": value for name, value in marks.items() if value is not None}
    seen = Seen("ami", "us-east-1", "ami-0123", name="web", state="available", created="", tags=tags)

    found = is_marked(seen, fleet="acme/images", names=("web", "www"), build_id="20261122T101530Z-1a2b3c4")

    assert found is counts


def test_no_other_module_decides_by_a_signature() -> None:
    """Whoever asks for one hands the question to the one place of the rule."""
    package = Path(reconciler.__file__).parent
    decides = re.compile(r"\bsigned_by_us\(|\.is_signed\(|\bof_ref\b")
    found = {
        str(path.relative_to(package)): set(decides.findall(path.read_text())) for path in package.rglob("*.py")
    }  # fmt: skip

    assert {path: words for path, words in found.items() if words} == {
        "plan/trust.py": {".is_signed(", "of_ref"},
        "git/signature.py": {"signed_by_us("},  # what it is
        "git/tags.py": {"signed_by_us("},  # what a tag is asked for
        "git/proposal.py": {"signed_by_us("},  # and a proposal
    }
