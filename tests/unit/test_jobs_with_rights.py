"""What CI's jobs with rights install: each package by its hash, from no cache that a branch could have written."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CONFIGS = [ROOT / ".circleci/config.yml", ROOT / "examples/validation/.circleci/config.yml"]
WORKFLOWS = sorted({*ROOT.glob("examples/github-actions/*.y*ml"), *ROOT.glob(".github/workflows/*.y*ml")})
SOURCES = [*CONFIGS, ROOT / ".ci/venv", *sorted((ROOT / ".circleci/orb").rglob("*.*"))]
CACHES = re.compile(
    r"restore_cache|save_cache|attach_workspace|persist_to_workspace|docker_layer_caching|--cache-dir"
    r"|PIP_CACHE_DIR|XDG_CACHE_HOME|actions/cache|cache-(?:from|to)|download-artifact"
)
ACTIONS = {"actions/checkout": {"ref", "fetch-depth", "persist-credentials"}, "actions/upload-artifact": None}
"""What the jobs of GitHub use of others, and with which inputs, where it matters: none reads what another job left."""
INSTALL = re.compile(r"(?<!def )\bpip (?:install|download|wheel)\b(?:(?:\\\n|(?<=:)\n|[^\n])*)")


@pytest.mark.parametrize("file", [*SOURCES, *WORKFLOWS], ids=lambda file: str(file.relative_to(ROOT)))
def test_no_job_reads_or_writes_a_cache(file: Path) -> None:
    assert CACHES.findall(file.read_text()) == []


def of_others(workflow: str) -> list[tuple[str, set[str]]]:
    """What each step of GitHub's jobs uses that is not its own: the action, and the inputs that it is given."""
    jobs = yaml.safe_load(workflow)["jobs"].values()
    reused = [(job["uses"], set(job.get("with", {}))) for job in jobs if "uses" in job]
    steps = [step for job in jobs for step in job.get("steps", [])]
    used = [(step["uses"], set(step.get("with", {}))) for step in steps if "uses" in step]
    return [(name.partition("@")[0], inputs) for name, inputs in (*reused, *used)]


def caching(workflow: str) -> list[str]:
    """The actions that may keep something for another job: all but those whose inputs are known to keep nothing."""
    return [
        name for name, inputs in of_others(workflow) if name not in ACTIONS or not inputs <= (ACTIONS[name] or inputs)
    ]


def test_no_job_of_github_uses_what_could_keep_something_for_another() -> None:
    assert WORKFLOWS
    for file in WORKFLOWS:
        assert of_others(file.read_text())
        assert caching(file.read_text()) == []


@pytest.mark.parametrize(
    "step",
    [
        "uses: actions/cache@v4\n        with: {path: ~/.cache/pip, key: pip}",
        "uses: actions/cache/restore@v4",
        "uses: actions/setup-python@v5\n        with: {cache: pip}",
        "uses: astral-sh/setup-uv@v6",
        "uses: actions/download-artifact@v4",
        "uses: ./.github/actions/install",
    ],
)
def test_a_step_that_keeps_something_would_be_found(step: str) -> None:
    text = WORKFLOWS[0].read_text()
    begins = "      - name: Install the reconciler and Packer\n"
    assert text.count(begins) == 2

    changed = text.replace(begins, f"      - {step}\n{begins}")

    assert len(caching(changed)) == 2


def installs(text: str) -> list[str]:
    """Each command of pip, with the lines that it goes on in: a folded text of YAML is one line."""
    folded = re.sub(
        r"(?m)^( +)(command: )>-\n((?:\1  .*\n)+)", lambda found: found[1] + found[2] + _one(found[3]), text
    )
    return [line.strip() for line in folded.splitlines() if INSTALL.search(line) and not line.strip().startswith("#")]


def _one(lines: str) -> str:
    return " ".join(line.strip() for line in lines.splitlines()) + "\n"


def test_the_job_that_votes_installs_by_hash_alone_and_without_a_cache() -> None:
    (command,) = installs(CONFIGS[1].read_text())

    assert {"--no-cache-dir", "--require-hashes", "--only-binary"} <= set(command.split())


def test_the_jobs_that_build_fetch_by_hash_alone_and_without_a_cache() -> None:
    text = (ROOT / ".ci/venv").read_text()
    fetched, *after = installs(text)

    assert 'pip() { "$venv/bin/python" -m pip --quiet --disable-pip-version-check --no-cache-dir "$@"; }' in text
    assert {"--require-hashes", "--only-binary"} <= set(fetched.split())
    # What follows takes nothing but what was fetched.
    assert 'offline=(--isolated --no-index --find-links "$work/wheels")' in text
    assert all('"${offline[@]}"' in command for command in after)


def test_no_other_step_of_a_job_with_rights_installs_a_package() -> None:
    files = (*CONFIGS[:1], *SOURCES[3:], *WORKFLOWS)
    assert [command for file in files for command in installs(file.read_text())] == []


@pytest.mark.parametrize("lock", ["runtime.lock", "examples/validation/requirements.lock"])
def test_what_jobs_install_is_locked_as_what_is_tested_is(lock: str) -> None:
    name = re.compile(r"(?m)^([a-z0-9-]+)==(\S+)")
    ours = dict(name.findall((ROOT / "requirements.lock").read_text()))
    theirs = dict(name.findall((ROOT / lock).read_text()))

    # The tests run the example in the environment of this lock, and would replace what differs.
    assert theirs
    assert {one: version for one, version in theirs.items() if ours.get(one) != version} == {}


KEPT = {f".reconciler/{one}" for one in ("logs", "junit", "offline", "plan.json", "fan-out.yml")} | {
    "reconciler-unsaved"
}
"""What a run writes to be read. Beside it lie Packer's own words, its variables and the keys of tests, in the clear."""


def uploads(config: object) -> Iterator[str]:
    """Every path that a step of a CI's configuration keeps."""
    if isinstance(config, list):
        for one in config:
            yield from uploads(one)
    elif isinstance(config, dict):
        if str(config.get("uses", "")).startswith("actions/upload-artifact@"):
            yield from str(config["with"]["path"]).split()
        for name, value in config.items():
            if name in ("store_artifacts", "store_test_results"):
                yield value["path"]
            else:
                yield from uploads(value)


@pytest.mark.parametrize("file", [*WORKFLOWS, *CONFIGS[:1]], ids=lambda file: file.name)
def test_no_job_keeps_what_a_killed_run_left_of_secrets(file: Path) -> None:
    found = set(uploads(yaml.safe_load(file.read_text())))

    assert found
    assert found <= KEPT


def jobs(config: object) -> Iterator[list[dict[str, object] | str]]:
    """The steps of every job, or command, that checks a repository out and keeps something of what it does there."""
    if isinstance(config, dict):
        steps = config.get("steps")
        if isinstance(steps, list) and any(map(checks_out, steps)):
            yield steps
        for value in config.values():
            yield from jobs(value)


def checks_out(step: object) -> bool:
    return step == "checkout" or (isinstance(step, dict) and str(step.get("uses", "")).startswith("actions/checkout@"))


def keeps(steps: object) -> bool:
    return any(uploads(steps)) or "report" in (steps if isinstance(steps, list) else [])


def forgets(config: object) -> str:
    """The command by which what a commit put there is forgotten."""
    if isinstance(config, list):
        return next(filter(None, map(forgets, config)), "")
    if isinstance(config, dict):
        told = config.get("command", config.get("run"))
        if isinstance(told, str) and told.startswith("git ls-files"):
            return told
        return next(filter(None, map(forgets, config.values())), "")
    return ""


@pytest.mark.parametrize("file", [*WORKFLOWS, *CONFIGS[:1]], ids=lambda file: file.name)
def test_no_job_keeps_what_a_commit_put_where_a_run_writes(file: Path, tmp_path: Path) -> None:
    # Given links to a key of the job's machine
    config = yaml.safe_load(file.read_text())
    (tmp_path / "key").write_text("secret")
    root = tmp_path / "checkout"
    (root / ".reconciler").mkdir(parents=True)
    links = [root / "reconciler-unsaved", root / ".reconciler/logs", root / ".reconciler/plan.json"]
    for link in links:
        link.symlink_to(tmp_path if link.name != "plan.json" else tmp_path / "key")
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    subprocess.run(["git", "-C", str(root), "add", "--force", "."], check=True)

    # When a job begins
    ours = [steps for steps in jobs(config) if keeps(steps)]
    for steps in ours:
        checkout = next(number for number, step in enumerate(steps) if checks_out(step))
        first = steps[checkout + 1]
        assert str(first).rpartition("/")[2] == "forget-outputs" or forgets(first), steps
    subprocess.run(["bash", "-ec", forgets(config)], cwd=root, check=True)

    # Then none leads there any more
    assert ours
    assert not any(link.is_symlink() for link in links)
    assert (tmp_path / "key").read_text() == "secret"
