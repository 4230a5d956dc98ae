"""With `git.sign`, what a tag says counts only under a good signature: else the artifact is tested anew."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import main as reconciler
from reconciler.git.repository import Repository
from reconciler.model.plan import PlanOptions
from reconciler.plan.trust import believed
from reconciler.state.sbom import inventory_record, render_sbom
from reconciler.words.messages import record_in
from tests.doubles.tester import NOTHING_INSIDE
from tests.integration.loop.keys import Keys, signing
from tests.integration.loop.pull_request import BRANCH, merge, on_branch
from tests.integration.loop.world import ON_BASE, ON_DEBIAN, SETTINGS, World, git, statuses
from tests.openpgp import HAS_GPG, keyring

WEB = {"desired/web/setup.sh": "echo more\n"}
FORGED = replace(NOTHING_INSIDE, kernel="forged")
FORGED_TESTS = 4711


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys.begin(tmp_path)


def previewed(world: World, keys: Keys, *, own: Path | None = None) -> str:
    """A pull request for web was previewed by a job that signs, and is merged. Returns the build's id."""
    world.commit({"desired/reconciler.yaml": f"{SETTINGS}git: {{sign: true}}\n"})
    on_branch(world, WEB)
    job = signing(world, keys, "pull-request", own=own)
    assert statuses(job.preview(BRANCH)) == {"web": "built"}
    merge(world)
    world.clock.advance(hours=1)
    return job.builder.requests[0].build_id


def push_tag(world: World, name: str, target: str, message: str, *options: str) -> None:
    """Somebody who may push tags takes one away and pushes another in its place."""
    git(world.origin, "tag", "--delete", name)
    git(world.origin, *options[:4], "tag", *options[4:], "--annotate", "--message", message, name, target)


def forge(world: World, build_id: str, *options: str) -> None:
    """Another record, of a CI nobody has, and another SBOM that fits it, in the place of what the preview tagged."""
    tag = f"image/web/{build_id}"
    message = git(world.origin, "tag", "--list", "--format=%(contents:body)", tag)
    target = git(world.origin, "rev-parse", f"{tag}^{{}}")
    text = record_in(f"\n{message}")
    assert text is not None
    record = json.loads(text)
    record["smoke_test"]["tests"] = FORGED_TESTS
    record["ci"] = {"provider": "circleci", "url": "https://evil.example.org/1"}
    record["inventory"] = inventory_record("web", build_id, FORGED).model_dump(mode="json", exclude_defaults=True)
    sbom = world.root / "forged.cdx.json"
    sbom.write_bytes(render_sbom("web", build_id, FORGED))
    blob = git(world.origin, "hash-object", "-w", str(sbom))
    push_tag(world, tag, target, f"web {build_id}: built\n\n{json.dumps(record, indent=2)}\n", *options)
    push_tag(world, f"sbom/web/{build_id}", blob, "forged", *options)


def test_a_preview_under_our_signature_is_adopted_without_another_boot(pair: World, keys: Keys) -> None:
    previewed(pair, keys)
    main = signing(pair, keys, "main-job")
    assert (statuses(main.reconcile()), main.built, main.tester.requests) == ({"web": "adopted"}, [], [])


def test_a_run_that_signs_seals_what_it_records_and_leaves_what_was_recorded_before(pair: World, keys: Keys) -> None:
    before = {path: pair.show(path) for path in pair.statements()}
    pair.commit({"desired/reconciler.yaml": f"{SETTINGS}git: {{sign: true}}\n", **WEB})

    main = signing(pair, keys, "main-job")
    assert statuses(main.reconcile())["web"] == "built"

    after = {path: pair.show(path) for path in pair.statements()}
    new = [path for path in after if path not in before]
    assert [path.rpartition(".")[2] for path in sorted(new)] == ["json", "sig"]
    assert json.loads(after[min(new)])["payloadType"] == "application/vnd.in-toto+json"
    assert before
    assert {path: after[path] for path in before} == before


def unsigned(world: World, build_id: str, keys: Keys) -> None:
    del keys
    forge(world, build_id)


def signed_by_another(world: World, build_id: str, keys: Keys) -> None:
    forge(world, build_id, "-c", "gpg.format=ssh", "-c", f"user.signingKey={keys.other}", "--sign")


@pytest.mark.thorough
@pytest.mark.parametrize("forging", [unsigned, signed_by_another])
def test_a_forged_record_is_neither_believed_nor_signed(
    pair: World, keys: Keys, forging: Callable[[World, str, Keys], None]
) -> None:
    build_id = previewed(pair, keys)
    forging(pair, build_id, keys)

    main = signing(pair, keys, "main-job")
    assert (statuses(main.reconcile()), main.built) == ({"web": "adopted"}, [])

    assert [request.build_id for request in main.tester.requests] == [build_id]
    newest = pair.lock("web").builds[0]
    assert newest.id == build_id
    assert newest.ci is None
    assert newest.smoke_test is not None
    assert newest.smoke_test.tests == 7
    assert newest.inventory is not None
    assert newest.inventory.kernel == build_id, "what the test found, not what the tag said"
    written = {path: pair.show(path) for path in pair.state_files()}
    # Next to its name: a hash may hold any digits.
    assert not [path for path, text in written.items() if "forged" in text or f'"tests": {FORGED_TESTS}' in text]
    assert signing(pair, keys, "main-job").reconcile().results == ()


@pytest.mark.skipif(not HAS_GPG, reason="this machine has no gpg")
def test_no_key_of_the_keyring_counts_where_the_fleet_signs_by_ssh(
    pair: World, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_id = previewed(pair, keys)
    with keyring() as ring:  # it holds her key, trusted or not
        monkeypatch.setenv("GNUPGHOME", str(ring.home))
        key = ring.begin("mallory@evil")
        forge(pair, build_id, "-c", "gpg.format=openpgp", "-c", f"user.signingKey={key}", "--sign")

        main = signing(pair, keys, "main-job")
        assert (statuses(main.reconcile()), main.built) == ({"web": "adopted"}, [])

    assert [request.build_id for request in main.tester.requests] == [build_id]
    newest = pair.lock("web").builds[0]
    assert newest.ci is None
    assert newest.smoke_test is not None
    assert newest.smoke_test.tests != FORGED_TESTS


def test_a_good_tag_of_another_build_stands_for_no_other(pair: World, keys: Keys) -> None:
    build_id = previewed(pair, keys)
    for kind in ("image", "sbom"):
        older = next(tag for tag in pair.tags() if tag.startswith("image/base/"))
        git(pair.origin, "update-ref", f"refs/tags/{kind}/web/{build_id}", git(pair.origin, "rev-parse", older))
    main = signing(pair, keys, "main-job")
    assert statuses(main.reconcile()) == {"web": "adopted"}
    assert len(main.tester.requests) == 1


def test_a_signed_tag_under_another_name_is_none(pair: World, keys: Keys) -> None:
    build_id = previewed(pair, keys)
    repository = signing(pair, keys, "main-job").root
    git(repository, "fetch", "--quiet", "--tags", "origin")
    good, moved = f"sbom/web/{build_id}", "sbom/web/20261122T101530Z-0000000"
    git(repository, "update-ref", f"refs/tags/{moved}", git(repository, "rev-parse", good))
    opened = Repository.open(repository)
    assert believed(opened.annotated_tag(good), sign=True) is not None
    assert believed(opened.annotated_tag(moved), sign=True) is None
    assert believed(opened.annotated_tag(moved), sign=False) is not None


def test_a_preview_that_signed_with_a_key_of_its_own_is_tested_by_main(pair: World, keys: Keys) -> None:
    build_id = previewed(pair, keys, own=keys.other)
    main = signing(pair, keys, "main-job")
    assert (statuses(main.reconcile()), main.built) == ({"web": "adopted"}, [])
    assert [request.build_id for request in main.tester.requests] == [build_id]


def test_a_committed_record_of_what_could_not_be_pushed_is_none_of_this_checkout(pair: World, keys: Keys) -> None:
    build_id = previewed(pair, keys)
    message = git(pair.origin, "tag", "--list", "--format=%(contents)", f"image/web/{build_id}")
    record = json.loads(record_in(message) or "")
    record["ci"] = {"provider": "circleci", "url": "https://evil.example.org/1"}
    for tag in (f"image/web/{build_id}", f"sbom/web/{build_id}"):
        git(pair.origin, "tag", "--delete", tag)
    sbom = render_sbom("web", build_id, replace(NOTHING_INSIDE, kernel=build_id)).decode()
    pair.commit(
        {"reconciler-unsaved/web.json": json.dumps(record), "reconciler-unsaved/sbom/web.cdx.json": sbom}, "Add notes"
    )

    main = signing(pair, keys, "main-job")
    assert (statuses(main.reconcile()), main.built) == ({"web": "adopted"}, [])

    assert [request.build_id for request in main.tester.requests] == [build_id]
    assert pair.lock("web").builds[0].ci is None


def test_without_signatures_the_team_s_tag_is_believed(pair: World) -> None:
    on_branch(pair, WEB)
    job = pair.controller("pull-request")
    job.preview(BRANCH)
    merge(pair)
    pair.clock.advance(hours=1)
    main = pair.controller("main-job")
    assert (statuses(main.reconcile()), main.built, main.tester.requests) == ({"web": "adopted"}, [], [])


def test_verify_believes_no_good_tag_under_another_name(
    pair: World, keys: Keys, capfd: pytest.CaptureFixture[str]
) -> None:
    # Given the signed tag of a preview of web, which somebody put there for base as well, and for another build
    build_id = previewed(pair, keys)
    auditor = signing(pair, keys, "auditor").root
    good = git(auditor, "rev-parse", f"refs/tags/image/web/{build_id}")
    git(auditor, "update-ref", f"refs/tags/image/base/{build_id}", good)
    git(auditor, "update-ref", "refs/tags/image/web/20261122T101530Z-0000000", good)

    # Then the one is proven, and nothing is proven by the others
    assert verified(auditor, capfd, "web", build_id)["tag-signature"] == "proven"
    moved = verified(auditor, capfd, "base", build_id)
    assert moved["tag-signature"] == "wrong"
    assert "proven" not in {moved[check] for check in ("tag", "smoke-test", "sbom")}
    assert verified(auditor, capfd, "web", "20261122T101530Z-0000000") == {}


def verified(root: Path, capfd: pytest.CaptureFixture[str], image: str, build_id: str) -> dict[str, str]:
    """What `verify` finds of each check; nothing where it knows of no such build."""
    capfd.readouterr()
    assert reconciler(["verify", image, build_id, "--json", "-C", str(root)]) == 1
    said = capfd.readouterr().out
    return {one["check"]: one["outcome"] for one in json.loads(said)["findings"]} if said else {}


def test_a_record_that_a_commit_brought_through_a_link_is_none_of_this_checkout(pair: World, keys: Keys) -> None:
    # Given a preview whose tags somebody took away, and a merge of a link, and of a record where it leads
    build_id = previewed(pair, keys)
    message = git(pair.origin, "tag", "--list", "--format=%(contents)", f"image/web/{build_id}")
    record = json.loads(record_in(message) or "")
    record["ci"] = {"provider": "circleci", "url": "https://evil.example.org/1"}
    for tag in (f"image/web/{build_id}", f"sbom/web/{build_id}"):
        git(pair.origin, "tag", "--delete", tag)
    (pair.root / "person/reconciler-unsaved").symlink_to("notes")
    sbom = render_sbom("web", build_id, replace(NOTHING_INSIDE, kernel=build_id)).decode()
    pair.commit({"notes/web.json": json.dumps(record), "notes/sbom/web.cdx.json": sbom}, "Add notes")

    # When main adopts what the preview built
    main_job = signing(pair, keys, "main-job")
    assert (statuses(main_job.reconcile()), main_job.built) == ({"web": "adopted"}, [])

    # Then it says nothing of what stood there, and tests it
    assert [request.build_id for request in main_job.tester.requests] == [build_id]
    assert pair.lock("web").builds[0].ci is None


def retold(world: World, **claim: object) -> dict[str, Any]:
    """Somebody who may push tags has the newest record of web say something else. Returns that record."""
    tag = max(one for one in world.tags() if one.startswith("image/web/"))
    text = record_in(git(world.origin, "tag", "--list", "--format=%(contents)", tag))
    record: dict[str, Any] = {**json.loads(text or ""), **claim}
    target = git(world.origin, "rev-parse", f"{tag}^{{}}")
    push_tag(world, tag, target, f"web {record['id']}: built\n\n{json.dumps(record, indent=2)}\n")
    world.clock.advance(hours=1)
    return record


VALIDATED = {"desired/web/image.yaml": f"{ON_BASE}validation: {{required: true}}\n"}
STOOD: tuple[dict[str, object], ...] = (
    {"was_stable": True},
    {"revoked": {"at": "2026-11-21T10:15:30Z", "reason": "none", "phase": "stable", "was_stable": True}},
)


@pytest.mark.thorough
@pytest.mark.parametrize("claim", STOOD, ids=["was stable", "revoked no more"])
def test_no_tag_says_that_a_build_was_stable(pair: World, claim: dict[str, object]) -> None:
    # Given an image that becomes stable by somebody's verdict alone, and a preview of it, whose record says in its tag
    # that it was stable before
    pair.commit(VALIDATED)
    pair.controller().reconcile()
    stable = pair.lock("web").channels.stable
    on_branch(pair, WEB)
    pair.controller("pull-request").preview(BRANCH)
    merge(pair)
    record = retold(pair, **claim)

    # When it is merged, and main's job has run as often as it likes
    for _ in range(3):
        pair.controller("main-job").reconcile()

    # Then it waits for its verdict
    lock = pair.lock("web")
    assert (lock.channels.candidate, lock.channels.stable) == (record["id"], stable)


@pytest.mark.thorough
@pytest.mark.parametrize("claim", [{"build": "20200101T000000Z-1a2b3c4"}, {"image": "another"}])
def test_no_tag_keeps_a_build_from_being_revoked_with_its_parent(pair: World, claim: dict[str, str]) -> None:
    # Given a preview whose record says in its tag that it was built on what nobody will revoke
    on_branch(pair, WEB)
    pair.controller("pull-request").preview(BRANCH)
    merge(pair)
    parent = pair.lock("base").builds[0]
    record = retold(pair, source={**parent.as_pin("base").model_dump(mode="json", exclude_defaults=True), **claim})
    assert statuses(pair.controller("main-job").reconcile()) == {"web": "adopted"}

    # When its parent is revoked
    revoke = f"revoke: [{{build: {parent.id}, reason: a key in it leaked}}]\n"
    pair.commit({"desired/base/image.yaml": f"{ON_DEBIAN}{revoke}"})
    pair.controller("main-job").reconcile()

    # Then so is what was built on it
    revoked = pair.lock("web").build(record["id"])
    assert revoked is not None
    assert revoked.phase == "revoked"


LATE: tuple[dict[str, object], ...] = (
    {"started": "2999-12-31T00:00:00Z", "seconds": 10},
    {"seconds": 900_000_000},
    {"started": "2999-12-31T00:00:00Z", "seconds": 900_000_000},
)


@pytest.mark.thorough
@pytest.mark.parametrize("claim", LATE, ids=["begun", "ended", "in no year"])
def test_no_tag_keeps_an_image_from_being_refreshed(pair: World, claim: dict[str, object]) -> None:
    # Given an image that is to be refreshed each week, and a preview of it, whose record says in its tag that it was
    # built in some hundred years
    pair.commit({"desired/web/image.yaml": f"{ON_BASE}refresh: {{max_age: 7d}}\n"})
    pair.controller().reconcile()
    on_branch(pair, WEB)
    pair.controller("pull-request").preview(BRANCH)
    merge(pair)
    record = retold(pair, **claim)
    assert statuses(pair.controller("main-job").reconcile()) == {"web": "adopted"}

    # When the week is over
    pair.pass_days(9)
    (planned,) = pair.controller("main-job").look(PlanOptions(images=("web",), refresh=True))[1].plan.images[-1:]

    # Then it is
    assert pair.lock("web").builds[0].id == record["id"]
    assert (planned.image, planned.actions) == ("web", ("build",))


@pytest.mark.thorough
@pytest.mark.parametrize("claim", [{"artifacts": []}, LATE[-1]], ids=["of nothing", "in no year"])
@pytest.mark.parametrize("verb", ["which", "show", "verify"])
def test_a_record_that_no_build_can_have_left_stops_no_question(
    pair: World, capfd: pytest.CaptureFixture[str], verb: str, claim: dict[str, object]
) -> None:
    on_branch(pair, WEB)
    pair.controller("pull-request").preview(BRANCH)
    record = retold(pair, **claim)
    clone = pair.controller("auditor").root
    git(clone, "fetch", "--quiet", "--tags", "origin")
    asked = {"which": [record["artifacts"][0]["id"] if record["artifacts"] else "ami-00000000000000000"]}
    capfd.readouterr()
    assert reconciler([verb, *asked.get(verb, ["web", record["id"]]), "-C", str(clone)]) == 1
    assert capfd.readouterr().err.startswith("error: ")
