"""Judge what was written beside a record: its statement, its SBOM and its annotated tag; and how a finding reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from reconciler.model.lockfile import RULED, Build, InventoryRecord
from reconciler.model.provenance import Resource, Statement
from reconciler.model.text import and_more, counted, joined
from reconciler.model.verification import Check, Finding, Outcome, Provenance, Signature
from reconciler.plan.proof.evidence import Evidence, SbomFile, TagRecord
from reconciler.plan.proof.provenance import SBOM, SMOKE_TEST, record_of, statement
from reconciler.plan.standing import outcome
from reconciler.plan.trust import confirms, ranked

# How a finding is worded.


def finding(
    check: Check, outcome: Outcome, what: str, *, required: bool = True, rests_on: Iterable[Provenance] = ()
) -> Finding:
    """A finding. What is `wrong` counts whether it is required or not. What is hearsay alone is not proven."""
    kinds = ranked(rests_on)
    if outcome == "proven" and not confirms(kinds):
        outcome, what = "not proven", f"{what}; nothing confirms it"
    return Finding(check=check, outcome=outcome, what=what, required=required, rests_on=kinds)


def judge_signature(check: Check, signature: Signature, what: str, *, needed: str) -> Finding:
    """What a signature proves. `needed` says why one has to be there, and is empty where none has to."""
    required = bool(needed)
    match signature.state:
        case "good":
            told = f"{what} is signed by {signature.by} ({signature.key})"
            return finding(check, "proven", told, required=required, rests_on=("ours",))
        case "bad":
            return finding(
                check, "wrong", f"the signature of {what} is not its own: {signature.why}", required=required
            )
        case "absent" if needed:
            return finding(check, "wrong", f"{what} is not signed, {needed}")
        case "absent":
            return finding(check, "not proven", f"{what} is not signed: git.sign was not set", required=False)
        case "untrusted":
            key = f" ({signature.key})" if signature.key else ""
            told = f"{what} is signed{key}, but {signature.why}"
            return finding(check, "not proven", told, required=required, rests_on=("hearsay",))
        case _:
            told = f"{what} is signed, and {signature.why} (--allowed-signers)"
            return finding(check, "not proven", told, required=required, rests_on=("hearsay",))


# Judge what was written beside a record: its statement, its SBOM and its annotated tag.

_MOST = 3
_SAID = "as the machine itself said"
_NOR_COMMITS = "and what is recorded of it was not all committed under a key that is trusted"


def kind_of_record(evidence: Evidence) -> Provenance:
    """What a record rests on, as it is now: the commits that wrote it, or its statement's signature."""
    found = evidence.attestation
    if found is not None and found.statement is not None and not found.why and found.signature.state == "good":
        return "hearsay" if differences(found.statement, evidence) else "ours"
    if evidence.sign and not evidence.signed_by_commits:
        return "hearsay"
    writings = (evidence.recorded, *evidence.others)
    return "ours" if all(one.kind == "ours" for one in writings) else "hearsay"


def check_statement(evidence: Evidence) -> Iterator[Finding]:
    """Whether the statement is there, says what the record says, and is signed."""
    found = evidence.attestation
    if found is None:
        yield _no_statement(evidence)
        return
    if found.statement is None:
        yield finding("statement", "wrong", f"{found.path} {found.why}")
        return
    if found.why:
        yield finding("statement", "wrong", f"{found.path} {found.why}")
    differs = differences(found.statement, evidence)
    if differs:
        more = and_more(len(differs) - _MOST, " (and {} more)")
        what = f"{found.path} and the lockfile's record disagree on {joined(differs[:_MOST])}{more}"
        yield finding("statement", "wrong", what)
    elif not found.why:
        what = f"its provenance names {_artifacts(evidence.build)}, its record, commit, source and Packer"
        yield finding("statement", "proven", what, rests_on=(kind_of_record(evidence),))
    yield _statement_signature(found.signature, evidence)


def _no_statement(evidence: Evidence) -> Finding:
    """The finding where a record has no statement: it is older than provenance, or somebody took the statement away."""
    what = "no provenance was written for it" + ("" if evidence.build.was_watched else ", as nobody here built it")
    if evidence.sign and not evidence.signed_by_commits:
        return finding("statement", "not proven", f"{what}, {_NOR_COMMITS}")
    return finding("statement", "not proven", what, required=False)


def _statement_signature(signature: Signature, evidence: Evidence) -> Finding:
    # Git may sign commits by OpenPGP; then the statement has the commits' signatures alone. That it does, only a
    # signature says that is trusted: of what form another one is, chose whoever wants it to be passed over.
    recorded = evidence.recorded.signature
    by_commits = signature.state == "absent" and recorded.state == "good" and recorded.form != "ssh"
    if by_commits and evidence.sign and not evidence.signed_by_commits:
        return finding(
            "statement-signature", "not proven", f"its provenance has no signature of its own, {_NOR_COMMITS}"
        )
    needed = "" if by_commits else evidence.sign
    return judge_signature("statement-signature", signature, "its provenance", needed=needed)


def differences(found: Statement, evidence: Evidence) -> list[str]:
    """Where a statement says something else than what is made of the record now, in the words of the statement."""
    sbom = found.byproduct(SBOM)
    named = f"sha256:{(sbom.digest or {}).get('sha256', '')}" if sbom is not None else None
    made = statement(evidence.build, found.origin, subject=evidence.subject, sbom_digest=named)
    differs = _unlike(_plain(found), _plain(made), "")
    if found.origin.image not in evidence.names:
        differs.append("externalParameters.image")
    return differs


def check_sbom(evidence: Evidence) -> Iterator[Finding]:
    """Whether the SBOM is the one that was recorded: its bytes by the statement, what it says by the lockfile."""
    attested = evidence.attestation.statement if evidence.attestation is not None else None
    named = attested.byproduct(SBOM) if attested is not None else None
    yield from judge_sbom(evidence.build.inventory, evidence.sbom, named=named, record_is=kind_of_record(evidence))


def judge_sbom(
    record: InventoryRecord | None, found: SbomFile | None, *, named: Resource | None, record_is: Provenance
) -> Iterator[Finding]:
    """Whether an SBOM is the one that a record has, and a statement `named`; and which of its sections are empty."""
    if record is None:
        yield finding("sbom", "not proven", "what is inside was not read when it was built", required=False)
        return
    if found is None or found.inventory is None:
        why = found.why if found is not None else "is not there"
        path = found.path if found is not None else f"state/{record.sbom}"
        yield finding("sbom", "wrong", f"the SBOM {path} {why}")
        return
    if found.inventory != record.digest:
        yield finding("sbom", "wrong", f"{found.path} holds another inventory than the one that was recorded")
        return
    if named is not None and f"sha256:{(named.digest or {}).get('sha256')}" != found.sha256:
        yield finding("sbom", "wrong", f"{found.path} has other bytes than its provenance names")
        return
    count = f" ({counted(record.packages, 'package')})" if record.packages is not None else ""
    what = f"its SBOM{count} is the one that was recorded, {_SAID}"
    yield finding("sbom", "proven", what, rests_on=(record_is, "hearsay"))
    for section, why in record.unread.items():
        yield finding("sbom", "not proven", f"its SBOM says nothing of {section} ({why})", required=False)


def judge_smoke_test(build: Build, *, attested: bool, record_is: Provenance) -> Finding:
    """Whether it was booted and tested, as its record says; `attested`: as its provenance does, too.

    What the machine answered is hearsay, and the record confirms that it did: whoever wrote that had booted it.
    """
    tested = build.smoke_test
    if tested is None:
        return finding("smoke-test", "not proven", "that it boots: no smoke test is on record", required=False)
    match tested.status:
        case "passed":
            by = "its record and its provenance" if attested else "its record"
            what = f"smoke-tested: {outcome(tested)}, by {by}, {_SAID}"
            return finding("smoke-test", "proven", what, required=False, rests_on=(record_is, "hearsay"))
        case "skipped":
            why = tested.why or "nobody said why"
            return finding("smoke-test", "not proven", f"that it boots: it was never booted: {why}", required=False)
        case _:
            return finding("smoke-test", "not proven", f"that it works: {outcome(tested)}")


def check_smoke_test(evidence: Evidence) -> Iterator[Finding]:
    """Whether it was booted and tested."""
    attested = evidence.attestation.statement if evidence.attestation is not None else None
    is_attested = attested is not None and attested.byproduct(SMOKE_TEST) is not None
    yield judge_smoke_test(evidence.build, attested=is_attested, record_is=kind_of_record(evidence))


def check_tag(evidence: Evidence) -> Iterator[Finding]:
    """Whether the annotated tag tells the same."""
    tag, build = evidence.tag, evidence.build
    if tag is None:
        what = "it has no annotated tag in this clone (`git fetch --tags`)"
        yield finding("tag", "not proven", what, required=False)
        return
    if tag.build is None:
        yield finding("tag", "wrong", f"the tag {tag.name} holds no build record")
    elif tag.target != build.commit:
        yield finding("tag", "wrong", f"the tag {tag.name} stands on {tag.target[:7]}, not on {build.commit[:7]}")
    elif differs := _tag_differs(tag.build, evidence):
        yield finding("tag", "wrong", f"the tag {tag.name} and the lockfile disagree on {joined(differs)}")
    else:
        kinds = (tag.kind, kind_of_record(evidence))
        what = f"its annotated tag holds the same record{_signed(tag)}"
        yield finding("tag", "proven", what, required=False, rests_on=kinds)
    if tag.signature.state == "bad":
        yield judge_signature("tag", tag.signature, f"the tag {tag.name}", needed="")


def _tag_differs(tagged: Build, evidence: Evidence) -> list[str]:
    """The fields on which a tag's record and the lockfile's disagree.

    A tag that was made with the record has all that the record had then. A pull request's preview has a tag of its
    own, made before it was known why main would want it, and where; there counts what is settled by the build.
    """
    if _made_together(evidence):
        before, then = _fields(tagged), _fields(evidence.first)
        return sorted(name for name in before.keys() | then.keys() if before.get(name) != then.get(name))
    before, now = record_of(tagged), record_of(evidence.build)
    # What was taken as it was may have been tested later, when somebody asked for that.
    later = {"smoke_test", "inventory"} if evidence.build.adopted is not None else set()
    differs = sorted(name for name in before.keys() - later if before[name] != now.get(name))
    # It may since have been lost and copied anew, so an id by itself is no contradiction; none of them alike is.
    ids = {artifact.id for artifact in tagged.artifacts}
    first = {artifact.id for artifact in evidence.first.artifacts}
    return differs if not ids or ids & first else [*differs, "artifacts"]


def _made_together(evidence: Evidence) -> bool:
    return evidence.recorded.subject.startswith(tuple(f"{name}: build " for name in evidence.names))


def _fields(build: Build) -> dict[str, Any]:
    """A record without what is only known when it lands on the branch, after the tag was written."""
    names = ("recorded", "provenance", "phase", "verified", *RULED)
    later: dict[str, Any] = {**dict.fromkeys(names, True), "artifacts": {"__all__": {"care"}}}
    return build.model_dump(mode="json", by_alias=True, exclude_defaults=True, exclude=later)


def _signed(tag: TagRecord) -> str:
    return f", signed by {tag.signature.by}" if tag.signature.state == "good" else ""


def _artifacts(build: Build) -> str:
    places: dict[str, list[str]] = {}
    for one in build.artifacts[:_MOST]:
        places.setdefault(one.id, []).append(one.location)
    named = [f"{id_} in {joined(locations)}" for id_, locations in places.items()]
    more = len(build.artifacts[_MOST:])
    return joined([*named, *([f"{more} more"] if more else [])]) or "no artifact"


def _plain(model: Statement) -> dict[str, Any]:
    return model.model_dump(mode="json", by_alias=True, exclude_none=True)


def _unlike(one: Any, other: Any, path: str) -> list[str]:
    """Dotted paths at which two JSON values differ."""
    if isinstance(one, dict) and isinstance(other, dict):
        keys = sorted(one.keys() | other.keys())
        return [found for key in keys for found in _unlike(one.get(key), other.get(key), f"{path}.{key}".lstrip("."))]
    if isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = enumerate(zip(one, other, strict=True))
        return [found for place, (left, right) in pairs for found in _unlike(left, right, f"{path}[{place}]")]
    return [] if one == other else [path]
