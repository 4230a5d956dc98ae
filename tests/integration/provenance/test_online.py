"""What the registry adds to what a clone proves."""

from __future__ import annotations

from dataclasses import replace

from reconciler.git.repository import Repository
from reconciler.model.lockfile import Build
from reconciler.model.observation import TAG_PREFIX, Seen
from reconciler.model.verification import Finding, Verification
from reconciler.steps.questions.verify import Verifier
from tests.doubles.registry import MemoryRegistry
from tests.integration.provenance.ledger import EU, FLEET, US, Ledger


def registry_of(*builds: Build) -> MemoryRegistry:
    """A registry that has every artifact of these builds, complete."""
    registry = MemoryRegistry(FLEET)
    for build in builds:
        tags = {"key": build.key, "build": build.id, "commit": build.commit}
        for one in build.artifacts:
            registry._artifacts[one.location, one.id] = Seen(
                kind="ami", location=one.location, id=one.id, name="", state="available", created="",
                tags={f"{TAG_PREFIX}{name}": value for name, value in tags.items()},
            )  # fmt: skip
    return registry


def asked(ledger: Ledger, registry: MemoryRegistry) -> tuple[Verification, tuple[Finding, ...]]:
    verifier = Verifier(Repository.open(ledger.root), ledger.head(), branch="main", registry=registry)
    found = verifier.verify("web", ledger.lock("web").builds[0].id)
    return found, found.of("registry")


def both(ledger: Ledger) -> tuple[Build, Build]:
    return ledger.lock("web").builds[0], ledger.lock("base").builds[0]


def test_the_registry_shows_every_artifact_under_the_key(built: Ledger) -> None:
    web, base = both(built)

    found, (finding,) = asked(built, registry_of(web, base))

    assert found.verified
    first, second = web.artifacts
    assert finding.what == f"{first.id} in {US} and {second.id} in {EU} carry this build's key"


def test_an_artifact_that_is_gone_is_wrong(built: Ledger) -> None:
    web, base = both(built)
    registry = registry_of(web, base)
    registry.delete(web.artifacts[0])

    found, (finding, _) = asked(built, registry)

    assert not found.verified
    assert (finding.outcome, finding.what) == ("wrong", f"{web.artifacts[0].id} in {US} is not there any more")


def test_an_artifact_under_another_key_is_wrong(built: Ledger) -> None:
    web, base = both(built)
    registry = registry_of(web, base)
    place = (US, web.artifacts[0].id)
    seen = registry._artifacts[place]
    registry._artifacts[place] = replace(seen, tags={**seen.tags, f"{TAG_PREFIX}key": "sha256:other"})

    _, (finding, _) = asked(built, registry)

    assert finding.outcome == "wrong"
    assert finding.what.endswith("carries reconciler:key=sha256:other")


def test_somebody_elses_artifact_with_our_tags_is_wrong(built: Ledger) -> None:
    """Whoever may tag AMIs may tag those that another account offers, in this account's eyes."""
    web, base = both(built)
    registry = registry_of(web, base)
    registry.of_others.add(web.artifacts[0].id)

    found, (finding, _) = asked(built, registry)

    assert not found.verified
    assert finding.outcome == "wrong"
    assert finding.what.endswith("belongs to another account than the one that was asked")


def test_an_artifact_that_is_older_than_its_build_is_wrong(built: Ledger) -> None:
    web, base = both(built)
    registry = registry_of(web, base)
    place = (US, web.artifacts[0].id)
    registry._artifacts[place] = replace(registry._artifacts[place], created="2020-01-01T00:00:00Z")

    found, (finding, _) = asked(built, registry)

    assert not found.verified
    assert (finding.outcome, finding.rests_on) == ("wrong", ())
    assert finding.what.endswith("was made at 2020-01-01T00:00:00Z, before this build began")


def test_what_cannot_be_read_is_not_proven_and_was_asked_for(built: Ledger) -> None:
    registry = registry_of(*both(built))
    registry.unreadable[EU] = "RequestLimitExceeded"

    found, findings = asked(built, registry)

    unread = next(one for one in findings if one.outcome == "not proven")
    assert unread.required
    assert "RequestLimitExceeded" in unread.what
    assert not found.verified


def test_a_parents_artifacts_may_be_retired(built: Ledger) -> None:
    web, _ = both(built)

    found, _ = asked(built, registry_of(web))

    assert found.verified
