"""What `artifact`, `which` and `show` find in a clone, and what they say of what is not there."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it ships no type information

from reconciler.git.command import Finished, Git
from reconciler.git.objects import Commit, TagRequest
from reconciler.git.repository import Repository
from reconciler.model.declaration import GitSettings
from reconciler.model.lockfile import Artifact, Build, Channels, Failure, Leaving, Reason, Revoked, Verdict
from reconciler.model.publish import Published
from reconciler.model.smoke_test import SmokeTestResult
from reconciler.state.lockfiles import path_of, render
from reconciler.steps.questions import lookup
from reconciler.words import messages
from tests.command import Command
from tests.integration.provenance.conftest import Ask
from tests.integration.provenance.ledger import DEBIAN, EU, ON_DEBIAN, US, Ledger, declared, edited, git

SCHEMAS = Path(__file__).parents[3] / "docs" / "schema"
CHANGED = (Reason(code="inputs-changed", was="x", now="y"),)
DIGEST = "sha256:" + "5d7e" * 16
ASIA = "ap-southeast-1"
IN_REGISTRY = Artifact(kind="oci", builder="docker.web", location="registry.example.org/acme/web", id=DIGEST)
UUID = "4231b7d6-9b5e-4a70-8a6d-0f7c1f7ad3c1"


@dataclass(frozen=True)
class Past:
    """A fleet, and the builds of `base` that were recorded in it, the oldest first; `web` is on the newest."""

    ledger: Ledger
    builds: tuple[Build, ...]

    @property
    def dropped(self) -> Build:
        """One that is in git's history alone."""
        return self.builds[0]

    @property
    def newest(self) -> Build:
        """The one that is stable, as it is recorded now: with its copy."""
        return self.ledger.lock("base").builds[0]

    def id_in(self, location: str) -> str:
        """The id of its artifact in a location."""
        return next(one.id for one in self.newest.artifacts if one.location == location)


@pytest.fixture(scope="module")
def _past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    ledger = Ledger.begin(tmp_path_factory.mktemp("past") / "clone")
    builds = []
    for number in range(5):
        ledger.commit(declared("base", ON_DEBIAN, setup=f"step {number}"), f"Change base (#{number + 10})")
        snapshots = tuple(f"snap-{number:016x}{place}" for place in "ab")
        builds.append(
            ledger.build(
                "base", reasons=CHANGED, smoke_test=SmokeTestResult(status="passed", tests=12, seconds=51),
                artifacts=(ledger.artifact(US).model_copy(update={"parts": snapshots}), ledger.artifact(EU)),
            )
        )  # fmt: skip
    ledger.judge("base", Verdict(status="passed", by="acme/validation", evidence="https://ci.example.org/7"))
    ledger.build("web")
    ledger.copy("base", ASIA)
    return Past(ledger, tuple(builds))


@pytest.fixture
def past(_past: Past, tmp_path: Path) -> Past:
    shutil.copytree(_past.ledger.root, tmp_path / "clone")
    return replace(_past, ledger=replace(_past.ledger, root=tmp_path / "clone"))


def valid(document: Any, schema: str) -> Any:
    """A document, which is as its schema says."""
    Draft202012Validator(json.loads((SCHEMAS / schema).read_text())).validate(document)
    return document


@contextmanager
def without_history(ledger: Ledger, tmp_path: Path) -> Iterator[Ledger]:
    git(tmp_path, "clone", "--quiet", "--depth", "1", ledger.root.as_uri(), "shallow")
    yield replace(ledger, root=tmp_path / "shallow", settings=GitSettings())


# `artifact`.


def test_a_script_is_given_the_id_and_nothing_else(ask: Ask, past: Past) -> None:
    answer = ask(past.ledger, "artifact", "base", EU)

    assert (answer.code, answer.out, answer.err) == (0, f"{past.id_in(EU)}\n", "")


def test_a_shell_takes_it_from_a_clone_that_has_no_history_and_no_credentials(past: Past, tmp_path: Path) -> None:
    with without_history(past.ledger, tmp_path) as shallow:
        script = f'ami=$("$0" -m reconciler artifact base {US}) && echo "with $ami"'
        without = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
        ended = subprocess.run(
            ["sh", "-c", script, sys.executable], cwd=shallow.root, env=without, capture_output=True, text=True,
            check=False,
        )  # fmt: skip

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, f"with {past.id_in(US)}\n", "")


def test_the_commands_answer_in_a_process_of_their_own(past: Past, command: Command) -> None:
    root, dropped = past.ledger.root, past.dropped.artifacts[0].id

    for words in (
        ("which", dropped),
        ("show", dropped),
        ("diff", "--since", "2026-11-01"),
        ("status", "--older-than", "1s"),
    ):
        ended = command.run(*words, cwd=root)
        assert (ended.returncode, ended.stderr) == (0, ""), words
        assert "base" in ended.stdout.splitlines()[0]


def test_without_a_location_each_has_a_line(ask: Ask, past: Past) -> None:
    lines = ask(past.ledger, "artifact", "base").out.splitlines()

    assert [line.split() for line in lines] == [[one.location, one.id] for one in past.newest.artifacts]
    assert [line.split()[0] for line in lines] == [ASIA, EU, US]


def test_a_channel_can_be_named_and_asked_for_in_json(ask: Ask, past: Past) -> None:
    past.ledger.commit(declared("base", f"{ON_DEBIAN}validation: {{required: true}}\n", setup="more"))
    candidate = past.ledger.build("base", phase="candidate", reasons=CHANGED)

    stable = valid(ask(past.ledger, "artifact", "base", US, "--json").json, "artifact-1.json")
    newer = valid(ask(past.ledger, "artifact", "base", "--channel", "candidate", "--json").json, "artifact-1.json")

    assert (stable["build"], [one["location"] for one in stable["artifacts"]]) == (past.builds[-1].id, [US])
    assert (newer["build"], newer["channel"], len(newer["artifacts"])) == (candidate.id, "candidate", 2)


def test_it_answers_as_of_another_commit(ask: Ask, past: Past) -> None:
    before = git(past.ledger.root, "log", "--format=%H", "-1", f"--grep={past.builds[1].id}")

    assert ask(past.ledger, "artifact", "base", US, "--rev", before).out == f"{past.builds[1].artifacts[0].id}\n"


@pytest.mark.parametrize(
    ("arguments", "what", "hint"),
    [
        (["bsae"], "no image is named 'bsae'", 'did you mean "base"?'),
        (["zzz"], "no image is named 'zzz'", "recorded are: base, web"),
        (
            ["base", "eu-west-2"],
            "is not in 'eu-west-2'",
            'did you mean "eu-west-1"? it is in ap-',
        ),
        (["base", "mars"], "is not in 'mars'", "it is in ap-southeast-1, eu-west-1, us-east-1"),
        (["a\nb"], "no image is named", "recorded are"),
    ],
)
def test_what_is_mistyped_is_explained_and_nothing_is_printed(
    ask: Ask, past: Past, arguments: list[str], what: str, hint: str
) -> None:
    answer = ask(past.ledger, "artifact", *arguments)

    assert (answer.code, answer.out) == (1, "")
    first, *rest = answer.err.splitlines()
    assert what in first
    assert hint in " ".join(rest)
    assert len(rest) <= 2


def test_of_an_image_without_a_stable_build_it_names_the_candidate(ask: Ask, past: Past) -> None:
    past.ledger.commit(declared("new", f"{ON_DEBIAN}validation: {{required: true}}\n"))
    assert "nothing is built of new yet" in ask(past.ledger, "artifact", "new").err
    build = past.ledger.build("new", phase="candidate")

    answer = ask(past.ledger, "artifact", "new", US)

    assert (answer.code, answer.out) == (1, "")
    assert f"new has no stable build: its candidate {build.id} has not become stable" in answer.err
    assert "--channel candidate" in answer.err


def test_of_an_image_that_only_failed_it_says_where_to_read_on(ask: Ask, past: Past) -> None:
    past.ledger.commit(declared("new", ON_DEBIAN))
    past.ledger.fail("new", "no package nginx-fulll")

    assert "the last attempt failed: `reconciler status new`" in ask(past.ledger, "artifact", "new").err


def test_an_image_that_moved_answers_before_that_is_recorded_and_its_old_name_refers_to_it_after(
    ask: Ask, past: Past
) -> None:
    root = past.ledger.root
    git(root, "rm", "-r", "--quiet", "desired/web", "state/web.lock.json")
    git(root, "mv", "desired/base", "desired/debian")
    past.ledger.commit({"desired/debian/image.yaml": f"{ON_DEBIAN}moved_from: base\n"}, "Rename base")
    expected = f"{past.id_in(US)}\n"
    assert [ask(past.ledger, "artifact", name, US).out for name in ("debian", "base")] == [expected, expected]

    lock = past.ledger.lock("base").model_copy(update={"image": "debian"})
    past.ledger.commit({path_of("debian"): render(lock), path_of("base"): None}, "debian: record (renamed)")

    assert ask(past.ledger, "artifact", "debian", US).out == expected
    answer = ask(past.ledger, "artifact", "base", US)
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.splitlines() == ["error: base is called debian now", "  `reconciler artifact debian`"]


def test_a_format_of_what_is_kept_in_none_is_asked_for_in_vain(ask: Ask, past: Past) -> None:
    told = ask(past.ledger, "artifact", "base", US, "--format", "vmdk")
    assert (told.code, "is not recorded as vmdk" in told.err) == (1, True)
    assert "only disks are kept in other formats, and this is of the kind ami" in told.err
    assert "formats: [" not in told.err


# `which`.


def test_an_artifact_of_today_is_told_in_the_first_line(ask: Ask, past: Past) -> None:
    build = past.newest
    answer = ask(past.ledger, "which", past.id_in(US))

    first = answer.out.splitlines()[0]
    assert first == f"{past.id_in(US)} is base {build.id} (stable) in us-east-1"
    assert f"built from {build.commit[:7]} (#14) on debian-12-amd64-20261101, " in answer.said
    assert "smoke-tested, verdict passed" in answer.said
    assert f"`reconciler show {build.id}` for all, `reconciler verify base` for proof" in answer.said


def test_a_copy_is_found_where_it_is(ask: Ask, past: Past) -> None:
    (found,) = valid(ask(past.ledger, "which", past.id_in(ASIA), "--json").json, "whereabouts-1.json")["found"]

    assert [one["location"] for one in found["artifacts"]] == [ASIA]
    assert (found["build"], found["channels"], found["kept"]) == (past.newest.id, ["candidate", "stable"], True)


def test_a_superseded_build_that_is_kept_is_called_so(ask: Ask, past: Past) -> None:
    (found,) = ask(past.ledger, "which", past.builds[3].artifacts[0].id, "--json").json["found"]

    assert (found["standing"], found["channels"], found["kept"], found["dropped_in"]) == ("superseded", [], True, None)


def with_leaving(past: Past, *, disabled: str | None = None) -> Build:
    """Have the second oldest build that is recorded go away."""
    lock = past.ledger.lock("base")
    gone = lock.builds[-1]
    entry = Leaving(build=gone, deprecated="2026-10-01T02:14:00Z", disabled=disabled)
    changed = lock.model_copy(update={"builds": lock.builds[:-1], "leaving": (entry,)})
    past.ledger.commit({path_of("base"): render(changed)}, "base: deprecate a build")
    return gone


@pytest.mark.parametrize(
    ("disabled", "said"),
    [
        (None, "deprecated since 2026-10-01 02:14 UTC; a hold brings it back until it is removed, which"),
        ("2099-01-01T00:00:00Z", "disabled since 2099-01-01 00:00 UTC; a hold brings it back, until 2099-01-15 00:00"),
    ],
)
def test_a_build_that_goes_away_says_since_when_and_until_when_it_can_be_had_back(
    ask: Ask, past: Past, disabled: str | None, said: str
) -> None:
    gone = with_leaving(past, disabled=disabled)
    artifact = gone.artifacts[1]

    # Of an artifact, a copy's as well
    (found,) = valid(ask(past.ledger, "which", artifact.id, "--json").json, "whereabouts-1.json")["found"]
    assert (found["build"], found["kept"], found["dropped_in"]) == (gone.id, True, None)
    assert (found["leaving"]["deprecated"], found["leaving"]["disabled"]) == ("2026-10-01T02:14:00Z", disabled)
    assert found["leaving"]["undo"] == ("2099-01-15T00:00:00Z" if disabled else "2026-10-29T02:14:00Z")
    answer = ask(past.ledger, "which", artifact.id)
    assert answer.out.splitlines()[0] == f"{artifact.id} is base {gone.id} (going away) in eu-west-1"
    assert said in answer.said

    # Of the build
    shown = valid(ask(past.ledger, "show", gone.id, "--json").json, "build-1.json")
    assert (shown["kept"], shown["leaving"]) == (True, found["leaving"])
    told = ask(past.ledger, "show", gone.id)
    assert told.out.splitlines()[0].startswith(f"{gone.id} of base: superseded, going away")
    assert said in told.said
    assert "in git's history alone" not in told.said


def test_a_build_that_goes_away_is_shown_in_a_clone_without_history(ask: Ask, past: Past, tmp_path: Path) -> None:
    gone = with_leaving(past)
    with without_history(past.ledger, tmp_path) as shallow:
        assert ask(shallow, "show", gone.artifacts[0].id, "--json").json["leaving"]["deprecated"]


@pytest.mark.parametrize("clue", ["message", "tag", "neither"])
def test_a_build_that_left_the_lockfile_is_found_in_gits_history(ask: Ask, past: Past, clue: str) -> None:
    """By its commit's message, by its tag where the message was squashed away, and by what lockfiles held."""
    root, build = past.ledger.root, past.dropped
    git(root, "switch", "--quiet", "--orphan", "rewritten")
    for commit in git(root, "rev-list", "--reverse", "main").splitlines():
        git(root, "read-tree", commit)
        message = git(root, "log", "-1", "--format=%B", commit) if clue == "message" else "Squashed"
        git(root, "commit", "--quiet", "--allow-empty", "-m", message)
    git(root, "reset", "--quiet", "--hard")
    if clue == "neither":
        git(root, "tag", "--delete", *git(root, "tag", "--list").splitlines())

    answer = ask(past.ledger, "which", build.artifacts[1].id, "--json")

    assert answer.code == 0, answer.err
    (found,) = valid(answer.json, "whereabouts-1.json")["found"]
    assert (found["image"], found["build"], found["kept"]) == ("base", build.id, False)
    assert found["standing"] == "superseded"
    dropped = git(root, "log", "--format=%H", "-S", f'"id": "{build.id}"', "--", "state/base.lock.json").split()
    assert found["dropped_in"] == dropped[0]
    first, *rest = ask(past.ledger, "which", build.artifacts[1].id).out.splitlines()
    assert first == f"{build.artifacts[1].id} is base {build.id} (superseded) in eu-west-1"
    assert f"no lockfile holds it since {dropped[0][:7]}" in " ".join(rest)


def test_a_region_that_was_taken_back_is_found_although_its_build_is_kept(ask: Ask, past: Past) -> None:
    build = past.newest
    copy = build.artifacts[0]
    lock = past.ledger.lock("base")
    without = build.model_copy(update={"artifacts": build.artifacts[1:]})
    changed = lock.model_copy(update={"builds": (without, *lock.builds[1:])})
    removed = past.ledger.commit({path_of("base"): render(changed)}, "base: retire a region")

    (found,) = ask(past.ledger, "which", copy.id, "--json").json["found"]

    assert (found["build"], found["kept"], found["dropped_in"]) == (build.id, False, removed)


@pytest.mark.parametrize("number", [0, 4])
def test_a_snapshot_leads_to_the_ami_and_its_build(ask: Ask, past: Past, number: int) -> None:
    build = past.builds[number]
    snapshot = build.artifacts[0].parts[1]

    answer = ask(past.ledger, "which", snapshot)

    assert answer.said.startswith(f"{snapshot} is part of {build.artifacts[0].id}: base {build.id} (")
    assert ask(past.ledger, "which", snapshot, "--json").json["found"][0]["as_part"]


@pytest.mark.parametrize(
    ("made", "asked"),
    [
        (IN_REGISTRY, DIGEST),
        (IN_REGISTRY, f"{IN_REGISTRY.location}@{DIGEST}"),
        (Artifact(kind="disk", builder="a.b", location="s3://acme/disks", id=DIGEST), DIGEST),
        (Artifact(kind="vsphere", builder="a.b", location="dc1/templates", id=UUID), UUID),
    ],
    ids=["digest", "name and digest", "disk", "template"],
)
def test_artifacts_of_all_kinds_are_found(ask: Ask, past: Past, made: Artifact, asked: str) -> None:
    past.ledger.commit(declared("box", ON_DEBIAN))
    build = past.ledger.build("box", artifacts=(made,))

    answer = ask(past.ledger, "which", asked)
    shown = ask(past.ledger, "show", asked)

    assert answer.said.startswith(f"{made.id} is box {build.id} (stable) in {made.location} ")
    assert shown.out.splitlines()[0].startswith(f"{build.id} of box: ")
    assert ask(past.ledger, "artifact", "box", made.location).out == f"{made.id}\n"
    assert ask(past.ledger, "verify", made.id, "--json").json["build"] == build.id


def test_of_a_revoked_build_it_says_why(ask: Ask, past: Past) -> None:
    lock, build = past.ledger.lock("base"), past.newest
    why = Revoked(
        at="2026-11-23T00:00:00Z", reason="CVE-2026-0001", by="debian 20261101T000000Z-0000000", phase="stable"
    )
    revoked = build.model_copy(update={"phase": "revoked", "revoked": why})
    nowhere = lock.channels.model_copy(update={"candidate": None, "stable": None})
    ruled = lock.model_copy(update={"builds": (revoked, *lock.builds[1:]), "channels": nowhere})
    past.ledger.commit({path_of("base"): render(ruled)}, "base: revoke")

    assert (
        f"is base {build.id} (revoked) in us-east-1 revoked: CVE-2026-0001"
        in ask(past.ledger, "which", past.id_in(US)).said
    )
    shown = ask(past.ledger, "show", build.id)
    assert f"{build.id} of base: revoked, " in shown.said
    assert "revoked CVE-2026-0001 (built on debian 20261101T000000Z-0000000)" in shown.said
    assert f"{build.id} is revoked: CVE-2026-0001" in ask(past.ledger, "artifact", "base", US).err


def test_one_digest_in_two_builds_is_told_of_both_the_stable_one_first(ask: Ask, past: Past) -> None:
    past.ledger.commit(declared("box", ON_DEBIAN))
    older = past.ledger.build("box", artifacts=(IN_REGISTRY,))
    past.ledger.commit(declared("box", ON_DEBIAN, setup="more"))
    newer = past.ledger.build("box", artifacts=(IN_REGISTRY,), reasons=CHANGED)

    found = ask(past.ledger, "which", DIGEST, "--json").json["found"]

    assert [one["build"] for one in found] == [newer.id, older.id]
    assert f"is also box {older.id} (superseded)" in ask(past.ledger, "which", DIGEST).said


def test_what_an_attempt_left_is_told(ask: Ask, past: Past) -> None:
    failure = Failure(
        build="20261201T000000Z-0000000", key="sha256:0", attempts=1, at="2026-12-01T00:00:00Z",
        retry_after="2026-12-01T00:00:00Z", what="smoke test failed: no nginx",
        artifacts=(Artifact(kind="ami", builder="a.b", location=US, id="ami-0fa11ed0000000001"),),
    )  # fmt: skip
    lock = past.ledger.lock("base").model_copy(update={"failure": failure})
    past.ledger.commit({path_of("base"): render(lock)}, "base: build failed")
    now = ask(past.ledger, "which", "ami-0fa11ed0000000001")
    past.ledger.commit({path_of("base"): render(lock.model_copy(update={"failure": None}))}, "base: fixed")

    later = ask(past.ledger, "which", "ami-0fa11ed0000000001", "--json")

    assert f"is base {failure.build} (a failed attempt) in us-east-1" in now.said
    assert "smoke test failed: no nginx" in now.said
    assert [(one["standing"], one["kept"]) for one in later.json["found"]] == [("failed", False)]


@pytest.fixture
def preview(past: Past) -> Build:
    """`base` built for the branch `feature`, in a tag alone."""
    git(past.ledger.root, "switch", "--quiet", "--create", "feature")
    head = past.ledger.commit(declared("base", ON_DEBIAN, setup="feature"), "More")
    build = past.newest.model_copy(
        update={
            "id": "20261130T101530Z-fea7eee", "commit": head, "phase": "preliminary", "verdict": None,
            "artifacts": (past.ledger.artifact(US),), "recorded": None, "provenance": None,
        }
    )  # fmt: skip
    git(past.ledger.root, "switch", "--quiet", "main")
    recorder = Repository.open(past.ledger.root).recorder(
        past.ledger.settings, now=lambda: past.ledger.moment, sleep=lambda _seconds: None, random=lambda: 0.5
    )
    tag = TagRequest(f"image/base/{build.id}", head, messages.build_tag("base", build))
    assert recorder.record(lambda _tree: Commit((), "tag", (tag,))) is not None
    return build


def test_a_preview_is_told_by_its_tag(ask: Ask, past: Past, preview: Build) -> None:
    artifact_id = preview.artifacts[0].id

    assert ask(past.ledger, "which", artifact_id).said.startswith(
        f"{artifact_id} is base {preview.id} (a preview of branch feature) in us-east-1"
    )
    for asked in ([preview.id], [artifact_id], ["base", preview.id], ["base", artifact_id], [preview.id[:13]]):
        shown = ask(past.ledger, "show", *asked)
        assert shown.out.splitlines()[0].startswith(f"{preview.id} of base: a preview of branch feature"), asked
    valid(ask(past.ledger, "show", preview.id, "--json").json, "build-1.json")


@pytest.mark.parametrize(
    ("asked", "what", "hint"),
    [
        ("ami-0123456789abcdef0", "no lockfile has or had an artifact 'ami-0123456789abcdef0'", "git fetch --tags"),
        ("base", "base is an image, and no artifact", "`reconciler artifact base` names its own"),
        ("20261122T104530Z-0000000", "is a build, and no artifact", "`reconciler show 20261122T104530Z-0000000`"),
        (
            DEBIAN.upstream.id if DEBIAN.upstream else "",
            "is not of this fleet: base is built on it",
            "`reconciler show",
        ),
        ("", "no lockfile has or had an artifact ''", "git fetch --tags"),
        ("a\nb", "no lockfile has or had an artifact", "git fetch --tags"),
        ("-S", "No such option", "which --help"),
    ],
)
def test_what_is_nobodys_is_explained(ask: Ask, past: Past, asked: str, what: str, hint: str) -> None:
    answer = ask(past.ledger, "which", asked)

    assert (answer.code, answer.out) == (1, "")
    assert what in answer.err
    assert hint in answer.err


def test_of_a_mistyped_id_the_near_one_is_named(ask: Ask, past: Past) -> None:
    right = past.newest.artifacts[0].id
    wrong = right.replace("0", "1", 1)

    assert f'did you mean "{right}"?' in ask(past.ledger, "which", wrong).err


def test_in_a_clone_that_lacks_history_it_says_how_to_get_it(ask: Ask, past: Past, tmp_path: Path) -> None:
    with without_history(past.ledger, tmp_path) as shallow:
        assert ask(shallow, "which", past.newest.artifacts[0].id).code == 0
        answer = ask(shallow, "which", past.dropped.artifacts[0].id)
        assert answer.code == 1
        assert "git fetch --unshallow" in answer.err
        assert "git fetch --unshallow" in ask(shallow, "show", past.dropped.id).err


def test_a_lockfile_that_cannot_be_read_and_holds_the_id_is_named(ask: Ask, past: Past) -> None:
    path = path_of("base")
    broken = edited(past.ledger.read(path), ("schema",), 99)
    past.ledger.commit({path: broken}, "Break it")

    answer = ask(past.ledger, "which", past.builds[-1].artifacts[0].id)

    assert answer.code == 1
    assert answer.err.startswith(f"error: {path}:")


def test_what_a_tag_says_of_a_recorded_artifact_is_not_believed(ask: Ask, past: Past) -> None:
    """Whoever may push tags writes what he likes: the lockfile that held it once is what counts."""
    wanted = past.dropped.artifacts[0]
    forged = past.newest.model_copy(update={"id": "20261130T101530Z-f0f0f0f", "artifacts": (wanted,)})
    message = messages.build_tag("web", forged)
    git(past.ledger.root, "tag", "--annotate", "-m", message, f"image/web/{forged.id}")

    (found,) = ask(past.ledger, "which", wanted.id, "--json").json["found"]

    assert (found["image"], found["build"]) == ("base", past.dropped.id)


@pytest.mark.long
def test_of_tags_that_somebody_made_without_end_so_many_are_followed(
    ask: Ask, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given hundreds of tags of images that there are not, all of which name an artifact
    root, head = past.ledger.root, git(past.ledger.root, "rev-parse", "HEAD")
    refs = []
    for number in range(300):
        name = f"image/x{number}/20261122T101530Z-{number:07x}"
        text = f"object {head}\ntype commit\ntag {name}\ntagger M <m@x> 1 +0000\n\nami-0123456789abcdef0\n"
        command = ["git", "hash-object", "-t", "tag", "-w", "--stdin"]
        made = subprocess.run(command, cwd=root, input=text, capture_output=True, check=True, text=True)
        refs.append(f"create refs/tags/{name} {made.stdout}")
    subprocess.run(["git", "update-ref", "--stdin"], cwd=root, input="".join(refs), check=True, text=True)
    asked: list[str] = []

    def name_now(_repository: Repository, name: str, **_: str) -> str:
        asked.append(name)
        return name

    monkeypatch.setattr(lookup, "name_now", name_now)

    # When somebody asks for that, then git's history is searched for few of them
    assert ask(past.ledger, "which", "ami-0123456789abcdef0").code == 1
    assert 0 < len(asked) <= 50


def test_today_is_answered_without_a_walk_through_history(
    ask: Ask, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, ...]] = []
    attempt = Git.attempt

    def counted(self: Git, *arguments: str, **more: Any) -> Finished:
        calls.append(arguments)
        return attempt(self, *arguments, **more)

    monkeypatch.setattr(Git, "attempt", counted)
    ask(past.ledger, "which", past.newest.artifacts[0].id)
    ask(past.ledger, "artifact", "base", US)

    assert [one for one in calls if any(word.startswith(("-S", "--grep")) for word in one)] == []
    assert sum(one[0] == "log" for one in calls) == 1  # which pull request brought the commit


# `show`.


def test_a_build_is_shown_whole(ask: Ask, past: Past) -> None:
    build = past.newest
    web = past.ledger.lock("web").builds[0]

    answer = ask(past.ledger, "show", build.id)

    assert answer.out.splitlines()[0].startswith(f"{build.id} of base: candidate and stable, ")
    for told in (
        f"built from {build.commit[:7]} (#14) in 7 min, Packer 1.16.0 with amazon 1.8.2: inputs-changed",
        "on debian-12-amd64-20261101 ami-0aa11bb22cc33dd44 in us-east-1",
        f"below web {web.id}",
        "inside Debian GNU/Linux 12 (bookworm), kernel 6.1.0-27-amd64, 1 package, 1 service, 0 ports",
        "smoke test 12 passed",
        "verdict passed by acme/validation: https://ci.example.org/7",
        f"ap-southeast-1 {past.id_in(ASIA)}",
        "CI https://circleci.com/gh/acme/images/12",
        f"provenance state/provenance/base/{build.id}.intoto.json",
        f"SBOM state/sbom/base/{build.id}.cdx.json",
    ):
        assert told in answer.said


def test_a_build_that_is_in_its_channels_is_told_as_its_schema_says(ask: Ask, past: Past) -> None:
    shown = valid(ask(past.ledger, "show", past.newest.id, "--json").json, "build-1.json")

    assert shown["channels"] == ["candidate", "stable"]
    (since,) = shown["stable"]
    assert (since["until"], since["until_commit"], since["then"]) == (None, None, None)


@pytest.mark.parametrize("how", ["id", "beginning", "key", "digits", "artifact", "snapshot", "with its image"])
def test_a_build_is_named_by_whatever_is_its_own(ask: Ask, past: Past, how: str) -> None:
    build = past.dropped
    words = {
        "id": [build.id], "beginning": [build.id[:13]], "key": [build.key], "digits": [build.id[-7:]],
        "artifact": [build.artifacts[0].id], "snapshot": [build.artifacts[0].parts[0]],
        "with its image": ["base", build.id[-7:]],
    }[how]  # fmt: skip

    shown = valid(ask(past.ledger, "show", *words, "--json").json, "build-1.json")

    assert (shown["image"], shown["build"]["id"], shown["kept"]) == ("base", build.id, False)
    assert shown["dropped_in"] is not None
    assert shown["pull_request"] == 10
    assert shown["stable"][0]["then"] == past.builds[1].id


def test_an_image_alone_is_its_stable_build_and_a_channel_can_be_named(ask: Ask, past: Past) -> None:
    past.ledger.commit(declared("base", f"{ON_DEBIAN}validation: {{required: true}}\n", setup="more"))
    candidate = past.ledger.build("base", phase="candidate", reasons=CHANGED)

    shown = [ask(past.ledger, "show", "base", *more).out.split()[0] for more in ([], ["stable"], ["candidate"])]

    assert shown == [past.builds[-1].id, past.builds[-1].id, candidate.id]


@pytest.mark.parametrize(
    ("words", "what", "hint"),
    [
        (["bsae"], "no build, artifact or image 'bsae'", 'did you mean "base"?'),
        (["base", "stabel"], "no build 'stabel' of base is recorded", 'did you mean "stable"?'),
        (["base", "20251111"], "no build '20251111' of base is recorded", "recorded are: "),
        (["20251111T101530Z-1a2b3c4"], "no build, artifact or image", "reconciler status"),
        (["2026"], "'2026' may be 4 builds", "which one? "),
        (["base", "2026"], "'2026' may be 5 builds of base", "which one? "),
        (["nosuch", "stable"], "no image is named 'nosuch'", "recorded are: base, web"),
        (["a", "b", "c"], "3 words are given", "show --help"),
        (["\x1b[31m"], "no build, artifact or image", "reconciler status"),
    ],
)
def test_what_is_mistyped_for_a_build_is_explained(
    ask: Ask, past: Past, words: list[str], what: str, hint: str
) -> None:
    answer = ask(past.ledger, "show", *words)

    assert (answer.code, answer.out) == (1, "")
    assert what in answer.err
    assert hint in answer.err
    assert "\x1b" not in answer.err


def test_a_build_that_failed_says_why_it_cannot_be_shown(ask: Ask, past: Past) -> None:
    past.ledger.fail("base", "no package nginx-fulll")
    failure = past.ledger.lock("base").failure
    assert failure is not None
    message = messages.failure_tag("base", failure)
    git(past.ledger.root, "tag", "--annotate", "-m", message, f"image/base/{failure.build}")

    for words in ([failure.build], ["base", failure.build]):
        answer = ask(past.ledger, "show", *words)
        assert (answer.code, answer.out) == (1, "")
        assert f"{failure.build} of base failed, and was never recorded: no package nginx-fulll" in answer.err


def test_a_former_name_leads_to_the_image(ask: Ask, past: Past) -> None:
    past.ledger.rename("base", "debian")

    assert ask(past.ledger, "show", "base").out.split()[:3] == [past.builds[-1].id, "of", "debian:"]
    assert ask(past.ledger, "show", "base", past.dropped.id).out.split()[0] == past.dropped.id
    assert ask(past.ledger, "which", past.dropped.artifacts[0].id, "--json").json["found"][0]["image"] == "debian"


def test_an_image_that_was_removed_refers_to_its_history(ask: Ask, past: Past) -> None:
    web = past.ledger.lock("web").builds[0]
    past.ledger.commit({path_of("web"): None}, "web: retire (removed)")

    answer = ask(past.ledger, "show", "web")

    assert (answer.code, answer.out) == (1, "")
    assert answer.err.splitlines() == [
        "error: web is recorded no more", "  `reconciler history web` shows the builds that it had",
    ]  # fmt: skip
    assert ask(past.ledger, "show", "web", web.id).out.split()[0] == web.id
    assert ask(past.ledger, "show", web.id).out.split()[0] == web.id


# An artifact's id where a build or an image is named.


def test_verify_diff_and_history_take_an_artifacts_id(ask: Ask, past: Past) -> None:
    old, new = past.builds[2], past.builds[3]
    ids = [one.artifacts[0].id for one in (old, new)]

    assert ask(past.ledger, "verify", ids[1]).out.splitlines()[0] == f"{new.id} of base"
    assert ask(past.ledger, "verify", "base", ids[1]).out.splitlines()[0] == f"{new.id} of base"
    assert f"({old.id} → {new.id})" in ask(past.ledger, "diff", ids[1]).said
    assert f"({old.id} → {new.id})" in ask(past.ledger, "diff", *ids).said
    assert f"({old.id} → {new.id})" in ask(past.ledger, "diff", "base", ids[0], new.id).said
    assert ask(past.ledger, "history", ids[0]).out.splitlines()[0].startswith("base: 5 builds")
    dropped = past.dropped.artifacts[1].id
    assert ask(past.ledger, "verify", dropped).out.splitlines()[0] == f"{past.dropped.id} of base"


@pytest.mark.parametrize("verb", ["verify", "diff"])
def test_an_artifact_of_another_image_is_refused(ask: Ask, past: Past, verb: str) -> None:
    other = past.ledger.lock("web").builds[0].artifacts[0].id

    answer = ask(past.ledger, verb, "base", other)

    assert (answer.code, answer.out) == (1, "")
    assert answer.err.splitlines() == [
        f"error: {other} is of web, and not of base", f"  `reconciler which {other}` says more",
    ]  # fmt: skip


def test_what_names_two_builds_where_one_is_meant_is_refused(ask: Ask, past: Past) -> None:
    first, second = past.builds[3].artifacts[0].id, past.builds[2].id

    answer = ask(past.ledger, "verify", first, second)

    assert answer.code == 1
    assert f"base {past.builds[3].id} is named by its artifact, and {second} beside it" in answer.err


@pytest.mark.parametrize("verb", ["verify", "diff", "history"])
def test_an_id_that_nobody_has_is_no_image(ask: Ask, past: Past, verb: str) -> None:
    answer = ask(past.ledger, verb, "ami-0123456789abcdef0")

    assert (answer.code, answer.out) == (1, "")
    assert "no image is named 'ami-0123456789abcdef0'" in answer.err


def test_a_build_is_found_by_its_key_without_a_search_of_history(
    ask: Ask, past: Past, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[str] = []
    attempt = Git.attempt

    def watched(self: Git, *arguments: str, **more: Any) -> Finished:
        searched.extend(word for word in arguments if word.startswith(("-S", "--grep")))
        return attempt(self, *arguments, **more)

    monkeypatch.setattr(Git, "attempt", watched)
    assert ask(past.ledger, "verify", "base", past.newest.key[:20]).out.split()[0] == past.newest.id
    assert searched == []


SITE = """\
source "docker" "site" {
  image  = "docker.io/library/debian:12"
  commit = true
}
build { sources = ["source.docker.site"] }
"""


@pytest.fixture
def published(past: Past) -> Past:
    """`base` as parameters in two regions, and `site` as tags of its repository."""
    ledger, lock = past.ledger, past.ledger.lock("base")
    where = tuple(Published(ssm=f"/images/base/{one}", location=at) for one in ("candidate", "stable")
                  for at in (EU, US))  # fmt: skip
    site = past.newest.model_copy(
        update={"artifacts": (replaced := IN_REGISTRY.model_copy(update={"name": "site-1"}),)}
    )
    tags = (Published(tag="stable", location=replaced.location),)
    of_site = lock.model_copy(update={"image": "site", "builds": (site,), "source": None, "published": tags})
    ledger.commit({
        path_of("base"): render(lock.model_copy(update={"published": where})), path_of("site"): render(of_site),
        "desired/base/image.yaml": f'{ON_DEBIAN}publish: {{ssm: "/images/base/{{channel}}"}}\n',
        "desired/site/site.pkr.hcl": SITE,
        "desired/site/image.yaml": f'locations: ["{IN_REGISTRY.location}"]\npublish: {{tag: "{{channel}}"}}\n',
    })  # fmt: skip
    return past


@pytest.mark.parametrize(
    ("asked", "channel", "places"),
    [
        ("/images/base/stable", "stable", [EU, US]),
        (f"{EU}:/images/base/stable", "stable", [EU]),
        (f"{IN_REGISTRY.location}:stable", "stable", [IN_REGISTRY.location]),
        (f"{IN_REGISTRY.location}:site-1", None, [IN_REGISTRY.location]),
    ],
)
def test_a_name_that_consumers_look_under_leads_to_its_build(
    ask: Ask, published: Past, asked: str, channel: str | None, places: list[str]
) -> None:
    image = "base" if "base" in asked else "site"
    answer = json.loads(ask(published.ledger, "which", asked, "--json").out)
    schema = json.loads((SCHEMAS / "whereabouts-1.json").read_text())
    Draft202012Validator(schema).validate(answer)
    (found,) = answer["found"]
    assert (answer["id"], answer["is_name"], answer["published"]) == (asked, True, channel)
    assert (found["image"], found["build"]) == (image, published.newest.id)
    assert [one["location"] for one in found["artifacts"]] == places
    said = " ".join(ask(published.ledger, "which", asked).out.split())
    assert said.startswith(f"{asked} is {image} {published.newest.id} (stable) in ")
    assert all(one["id"] in said for one in found["artifacts"])


def test_a_word_that_other_programs_take_is_the_one_that_adopt_takes(ask: Ask, published: Past) -> None:
    said = [ask(published.ledger, "artifact", name, "--with-location").out.splitlines() for name in ("base", "site")]
    assert said == [
        [f"{one.location}:{one.id}" for one in published.newest.artifacts], [f"{IN_REGISTRY.location}@{DIGEST}"],
    ]  # fmt: skip
    assert ask(published.ledger, "artifact", "base", EU, "--with-location").out == f"{EU}:{published.id_in(EU)}\n"


def test_a_tag_that_nothing_is_published_as_is_told_with_those_that_are(ask: Ask, published: Past) -> None:
    answer = ask(published.ledger, "which", f"{IN_REGISTRY.location}:latest")
    assert answer.code == 1
    said = " ".join(answer.err.split())
    assert f"no channel is published as {IN_REGISTRY.location}:latest, as far as state/ says" in said
    assert f"is of site, published there: {IN_REGISTRY.location}:stable" in said


def test_a_name_that_was_published_once_is_found_at_a_commit_of_that_time(ask: Ask, published: Past) -> None:
    ledger, name = published.ledger, f"{IN_REGISTRY.location}:stable"
    before = ledger.head()
    ledger.commit({path_of("site"): None}, "site: retire (removed)")
    asked = ask(ledger, "which", name)
    assert (asked.code, "`--rev COMMIT` asks it as it was" in " ".join(asked.err.split())) == (1, True)
    assert ask(ledger, "which", name, "--rev", before).out.startswith(f"{name} is site ")


def test_a_name_whose_channel_points_to_nothing_is_said_to(ask: Ask, published: Past) -> None:
    lock = published.ledger.lock("site")
    without = lock.model_copy(update={"channels": Channels(candidate=published.newest.id)})
    published.ledger.commit({path_of("site"): render(without)})
    answer = ask(published.ledger, "which", f"{IN_REGISTRY.location}:stable")
    assert answer.code == 1
    assert "is published by site, and is its stable, which points to nothing there" in " ".join(answer.err.split())
