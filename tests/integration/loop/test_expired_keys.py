"""A key that expired signs nothing of today, whatever date is put on it: git judges keys by a tag's or commit's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.cli.main import main as reconciler
from reconciler.git.command import Git
from reconciler.git.proposal import is_our_proposal
from reconciler.git.repository import Repository
from reconciler.git.signature import signature_of, signed_by_us
from reconciler.git.tags import tag_signature
from reconciler.state.sbom import inventory_record, render_sbom
from reconciler.steps.questions.evidence import Files, attestation_of
from reconciler.words.messages import record_in
from tests.integration.loop.keys import Keys, signing
from tests.integration.loop.test_forged_tags import FORGED, FORGED_TESTS, forge, previewed
from tests.integration.loop.world import SETTINGS, US, World, git, statuses

WHILE_GOOD, EXPIRED = "2025-06-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)
OLD_BUILD = "20250601T000000Z"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Our key, and one that was ours until it expired, before anything here was built."""
    made = Keys.begin(tmp_path)
    old = made.other.with_suffix(".pub").read_text()
    made.signers.write_text(f'{made.signers.read_text()}old@example.org valid-before="{EXPIRED:%Y%m%d}" {old}')
    return made


@contextmanager
def dated_back() -> Iterator[None]:
    """What is committed and tagged says that it is of when the key was good."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIT_COMMITTER_DATE", WHILE_GOOD)
        yield


def by_the_old_key(keys: Keys) -> tuple[str, ...]:
    return ("-c", "gpg.format=ssh", "-c", f"user.signingKey={keys.other}")


def signed_commit(folder: Path, keys: Keys, *options: str) -> str:
    with dated_back():
        git(folder, *by_the_old_key(keys), "commit", "--quiet", "--allow-empty", "-S", "-m", "Old", *options)
    return git(folder, "rev-parse", "HEAD")


@pytest.mark.parametrize("kind", ["commit", "tag"])
def test_a_key_has_to_be_good_when_what_is_told_of_was_there(pair: World, keys: Keys, kind: str) -> None:
    root = pair.root / "person"
    git(root, "config", "gpg.ssh.allowedSignersFile", str(keys.signers))
    oid = signed_commit(root, keys)
    if kind == "tag":
        with dated_back():
            git(root, *by_the_old_key(keys), "tag", "--sign", "-m", "x", "old")
        oid = git(root, "rev-parse", "refs/tags/old")
    repository = Git(root)

    assert signed_by_us(repository, oid), "of what was there then, it counts"
    assert signed_by_us(repository, oid, since=[datetime(2025, 12, 31, tzinfo=UTC)])
    told = signature_of(repository, oid, since=[datetime(2025, 1, 1, tzinfo=UTC), EXPIRED + timedelta(days=1)])
    assert (told.state, told.by) == ("untrusted", "")
    assert "older than what it tells of" in told.why


def test_a_date_of_the_future_takes_nothing_from_a_key_that_is_good(pair: World, keys: Keys) -> None:
    """Else whoever dates a commit so, that is merged, would have us disbelieve ourselves."""
    keys.signers.write_text(
        keys.signers.read_text().replace("ci@example.org", 'ci@example.org valid-before="20990101"')
    )
    root = signing(pair, keys, "main-job").root
    git(root, "commit", "--quiet", "--allow-empty", "-S", "-m", "Ours")

    assert signed_by_us(Git(root), "HEAD", since=[datetime(2999, 1, 1, tzinfo=UTC)])


def by_its_name(world: World, build_id: str, keys: Keys) -> str:
    """The preview's own tags, made anew."""
    with dated_back():
        forge(world, build_id, *by_the_old_key(keys), "--sign")
    return build_id


def of_an_old_name(world: World, build_id: str, keys: Keys) -> str:
    """The tag of an old build, on an old commit, which names what the preview made: its marks do the same."""
    message = git(world.origin, "tag", "--list", "--format=%(contents)", f"image/web/{build_id}")
    record = json.loads(record_in(message) or "")
    old = f"{OLD_BUILD}-{build_id.rpartition('-')[2]}"
    for one in world.registry.observe([US]).artifacts:
        if one.own("build") == build_id:
            world.registry.tag(one, {"reconciler:build": old})
    root = world.root / "person"
    git(root, "switch", "--quiet", "--orphan", "old")
    target = signed_commit(root, keys)
    smoke_test = {**record["smoke_test"], "tests": FORGED_TESTS}
    record |= {"id": old, "commit": target, "started": WHILE_GOOD, "smoke_test": smoke_test}
    record["inventory"] = inventory_record("web", old, FORGED).model_dump(mode="json", exclude_defaults=True)
    (world.root / "old.cdx.json").write_bytes(render_sbom("web", old, FORGED))
    sbom = git(root, "hash-object", "-w", str(world.root / "old.cdx.json"))
    with dated_back():
        told = f"web {old}: built\n\n{json.dumps(record, indent=2)}\n"
        git(root, *by_the_old_key(keys), "tag", "--sign", "--cleanup=verbatim", "-m", told, f"image/web/{old}", target)
        git(root, *by_the_old_key(keys), "tag", "--sign", "-m", "sbom", f"sbom/web/{old}", sbom)
    git(root, "push", "--quiet", "origin", f"image/web/{old}", f"sbom/web/{old}")
    return old


@pytest.mark.forms(quick=1)
@pytest.mark.parametrize("forging", [by_its_name, of_an_old_name])
def test_no_key_that_expired_has_a_build_of_today_adopted_unbooted(
    pair: World, keys: Keys, forging: Callable[[World, str, Keys], str]
) -> None:
    build_id = forging(pair, previewed(pair, keys), keys)

    main = signing(pair, keys, "main-job")
    assert (statuses(main.reconcile()), main.built) == ({"web": "adopted"}, [])

    assert [request.build_id for request in main.tester.requests] == [build_id]
    newest = pair.lock("web").builds[0]
    assert newest.smoke_test is not None
    assert newest.smoke_test.tests != FORGED_TESTS


def test_nor_called_ours_by_verify(pair: World, keys: Keys, capfd: pytest.CaptureFixture[str]) -> None:
    build_id = by_its_name(pair, previewed(pair, keys), keys)
    root = signing(pair, keys, "auditor").root
    git(root, "fetch", "--quiet", "--tags", "origin")

    assert tag_signature(Repository.open(root).git, f"image/web/{build_id}", signers=keys.signers).state == "untrusted"
    capfd.readouterr()
    assert reconciler(["verify", "web", build_id, "--allowed-signers", str(keys.signers), "-C", str(root)]) == 1
    assert "older than what it tells of" in " ".join(capfd.readouterr().out.split())


@pytest.mark.parametrize("parent", ["of today", "of then"])
def test_no_key_that_expired_proposes_builds_of_today(pair: World, keys: Keys, parent: str) -> None:
    root = pair.root / "person"
    git(root, "pull", "--quiet", "--ff-only", "origin", "main")
    git(root, "config", "gpg.ssh.allowedSignersFile", str(keys.signers))
    if parent == "of then":
        git(root, "switch", "--quiet", "--orphan", "old")
        signed_commit(root, keys)
        git(root, "checkout", "--quiet", "main", "--", "state")
    base = git(root, "rev-parse", "HEAD")
    tip = signed_commit(root, keys)
    assert signed_by_us(Git(root), tip)

    assert not is_our_proposal(Git(root), tip, parent=base)

    ours = ("-c", "gpg.format=ssh", "-c", f"user.signingKey={keys.ours}")
    git(root, *ours, "commit", "--quiet", "--amend", "--allow-empty", "--no-edit", "-S")
    assert is_our_proposal(Git(root), "HEAD", parent=base)


def test_a_statement_is_of_no_time_before_its_build_whatever_its_record_says(pair: World, keys: Keys) -> None:
    """Else whoever has a key that expired writes `recorded` as it suits him."""
    pair.commit({"desired/reconciler.yaml": f"{SETTINGS}git: {{sign: true}}\n", "desired/web/setup.sh": "echo more\n"})
    job = signing(pair, keys, "main-job", own=keys.other)
    assert statuses(job.reconcile()) == {"web": "built"}
    build = pair.lock("web").builds[0].model_copy(update={"recorded": WHILE_GOOD})
    git(job.root, "pull", "--quiet", "--ff-only", "origin", "main")

    found = attestation_of(build, Files(Repository.open(job.root), "HEAD"), signers=keys.signers)

    assert found is not None
    assert found.signature.state == "untrusted"


@pytest.mark.parametrize("parent", ["of today", "of then"])
def test_verify_judges_a_commit_by_those_before_it(
    pair: World, keys: Keys, capfd: pytest.CaptureFixture[str], parent: str
) -> None:
    """Given a record of a build of then, committed then, or today by somebody who dates that back."""
    root = pair.root / "person"
    git(root, "pull", "--quiet", "--ff-only", "origin", "main")
    lock = root / "state/web.lock.json"
    now = json.loads(lock.read_text())["builds"][0]["id"]
    text = lock.read_text().replace(now, f"{OLD_BUILD}-{now.rpartition('-')[2]}")
    git(root, "switch", "--quiet", *(("--orphan", "old") if parent == "of then" else ("--create", "old")))
    lock.parent.mkdir(exist_ok=True)
    lock.write_text(text)
    git(root, "add", "--all")
    signed_commit(root, keys)
    capfd.readouterr()

    asked = ["verify", "web", "--rev", "old", "--signed", "--allowed-signers", str(keys.signers), "--json"]
    assert reconciler([*asked, "-C", str(root)]) == 1

    found = json.loads(capfd.readouterr().out)["findings"]
    outcomes = {one["check"]: one["outcome"] for one in found}
    assert outcomes["commit-signature"] == ("proven" if parent == "of then" else "not proven")


def test_verify_takes_no_record_for_signed_that_an_expired_key_dated_back(
    pair: World, keys: Keys, capfd: pytest.CaptureFixture[str]
) -> None:
    root = pair.root / "person"
    git(root, "pull", "--quiet", "--ff-only", "origin", "main")
    record = git(root, "log", "--format=%H", "-1", "--", "state/web.lock.json")
    git(root, "switch", "--quiet", "--create", "old", record)
    signed_commit(root, keys, "--amend", "--no-edit")
    asked = ["verify", "web", "--rev", "old", "--signed", "--allowed-signers", str(keys.signers), "--json"]
    capfd.readouterr()

    assert reconciler([*asked, "-C", str(root)]) == 1

    found = json.loads(capfd.readouterr().out)["findings"]
    outcomes = {one["check"]: one["outcome"] for one in found}
    assert outcomes["commit-signature"] == "not proven"
