"""What may go of a fleet, against two who judge by use alone: Cloud Custodian's filter `unused`, and amicleaner.

All three read the same account in moto. The two are installed by pip, by exact versions, into a virtual environment of
their own below the user's cache, and never into the project's; where that can't be, it is said. What each of them would
take away that is needed is told trap by trap, as found.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import boto3

from reconciler.git.repository import Repository
from reconciler.model.lockfile import Artifact, Build
from reconciler.state.lockfiles import path_of, read_lockfile, render
from tests.bench import account, fleet
from tests.bench.account import Account
from tests.bench.measure import Command, interleaved
from tests.bench.rows import Row, at_most, told

PEERS = ("c7n==0.9.48", "aws-amicleaner==0.2.2", "setuptools==80.9.0")
IMAGES, BUILDS = 1000, 5
ROUNDS = 3
_DAYS = ("20261001", "20261008", "20261015", "20261022")
"""When the older builds were made; the newest is `fleet`'s own."""
_POLICY = "policies: [{name: unused, resource: aws.ami, filters: [{type: unused, value: true}]}]\n"
_AMICLEANER = """\
import json, sys
from amicleaner.cli import App
from amicleaner.utils import parse_args
found = App(parse_args(["--full-report"])).fetch_candidates()
sys.stdout.write(json.dumps([one.id for one in found]))
"""


def cleaner_rows(folder: Path, environment: Mapping[str, str], *, images: int = IMAGES) -> Iterator[Row]:
    """What each would take away of 1,000 images with five builds in four regions: calls, time, and what is wrong."""
    folder.mkdir()
    listing = folder / "listing.json"
    root = _aged_fleet(folder / "fleet", listing, images=images)
    peers = _installed()
    what = f"gc of {images:,} images in {len(fleet.REGIONS)} regions, {BUILDS} builds each"
    with account.serving(listing) as served:
        traps = _set(served, listing)
        inside = {**environment, **served.environment}
        commands = {"gc": Command((sys.executable, "-m", "reconciler", "gc", "--json"), root, inside)}
        if isinstance(peers, str):
            yield told(f"{what}: Cloud Custodian and amicleaner", f"can't be installed here: {peers}")
        else:
            commands |= _peers(peers, folder, inside)
        cost = interleaved(commands, rounds=ROUNDS)
        calls, goes, questions = {}, {}, {}
        for name, command in commands.items():
            served.calls()
            goes[name] = _would_take(name, command, folder)
            calls[name] = sum((asked := served.calls()).values())
            questions[name] = _questions(asked)
    yield from _told_by_question(what, questions)
    for peer in [name for name in commands if name != "gc"]:
        yield told(f"{what}: calls, against {peer}", str(calls["gc"]), against=str(calls[peer]),
                   ratio=f"{calls['gc'] / calls[peer]:.2f}")  # fmt: skip
        ours, theirs = cost["gc"].wall, cost[peer].wall
        if peer == "amicleaner":  # asks four lists without pages, and knows of nothing that is not in them
            yield told(f"{what}: wall, against {peer}", f"{ours:.3g} s", against=f"{theirs:.3g} s",
                       ratio=f"{ours / theirs:.2f}")  # fmt: skip
        else:
            yield at_most(f"{what}: wall, against {peer}", measured=ours, against=theirs, target=1)
    for trap, ids in traps.items():
        verdicts = {name: len(ids & taken) for name, taken in goes.items()}
        said = ", ".join(f"{name} {number or 'none'}" for name, number in verdicts.items() if name != "gc")
        yield Row(
            f"takes away {trap}", f"{verdicts['gc'] or 'none'} of {len(ids)}", said, "", "none", not verdicts["gc"]
        )
    yield told("may go, by each", f"{len(goes['gc']):,}", against=", ".join(
        f"{name} {len(taken):,}" for name, taken in goes.items() if name != "gc"))  # fmt: skip


_QUESTIONS = {
    "images, in pages": ("ec2.DescribeImages",),
    "instances": ("ec2.DescribeInstances",),
    "groups": ("autoscaling.DescribeAutoScalingGroups",),
    "launch configurations": ("autoscaling.DescribeLaunchConfigurations",),
    "fleets": ("ec2.DescribeFleets", "ec2.DescribeSpotFleetRequests"),
    "launch templates, in all versions": ("ec2.DescribeLaunchTemplates", "ec2.DescribeLaunchTemplateVersions"),
    "parameters": ("ssm.DescribeParameters", "ssm.GetParameters"),
    "recipes": ("imagebuilder.ListImageRecipes", "imagebuilder.ListContainerRecipes"),
}
_MORE = "what killed builds left, and the like"


def _questions(asked: Mapping[str, int]) -> Mapping[str, int]:
    """How many calls each question took that one of them asks."""
    of = {action: question for question, actions in _QUESTIONS.items() for action in actions}
    found: Counter[str] = Counter()
    for action, number in asked.items():
        found[of.get(action, _MORE)] += number
    return found


def _told_by_question(what: str, questions: Mapping[str, Mapping[str, int]]) -> Iterator[Row]:
    """The calls of each by question; and how often ours asks what a peer asks, an image's pages counted as one."""
    ours = questions["gc"]
    peers = {name: asked for name, asked in questions.items() if name != "gc"}
    for question in (*_QUESTIONS, _MORE):
        against = ", ".join(f"{name} {asked.get(question, 0) or 'none'}" for name, asked in peers.items())
        yield told(f"calls for {question}", str(ours.get(question, 0)), against=against)
    for name, asked in peers.items():
        # EC2 asks for pages, of a thousand at most; neither of the two does.
        same = len(fleet.REGIONS) + sum(ours[one] for one in asked if one in _QUESTIONS and "pages" not in one)
        theirs = sum(number for one, number in asked.items() if one in _QUESTIONS)
        yield told(
            f"{what}: listings, of what {name} asks too", str(same), against=str(theirs), ratio=f"{same / theirs:.2f}"
        )


# The fleet, and the account.


def _aged_fleet(root: Path, listing: Path, *, images: int) -> Path:
    """The fleet, with four builds before the newest of each image, all of them recorded."""
    facts: list[dict[str, Any]] = []
    fleet.make(root, images=images, publish=partial(_note, facts))
    settings = root / "desired" / "reconciler.yaml"
    kept = "  retain: { builds: 2, even_if_shared: true }\n  refresh:"
    settings.write_text(settings.read_text(encoding="utf-8").replace("  refresh:", kept, 1), encoding="utf-8")
    tree = Repository.open(root).tree()
    tags = {(one["location"], one["name"]): one["tags"] for one in facts}
    for number in range(images):
        lock = read_lockfile(tree, f"image-{number:05}")
        if lock is None:
            raise RuntimeError("the made-up fleet is not recorded")
        newest = lock.builds[0]
        older = [_before(newest, day, facts, tags, image=lock.image) for day in reversed(_DAYS)]
        aged = lock.model_copy(update={"builds": (newest, *older)})
        (root / path_of(lock.image)).write_bytes(render(aged))
    fleet.commit(root, "Record what came before")
    fleet.git(root, "gc", "--quiet")
    listing.write_text(json.dumps(facts), encoding="utf-8")
    return root


def _note(facts: list[dict[str, Any]], unborn: Sequence[fleet.Unborn]) -> Mapping[tuple[str, str], Artifact]:
    """Note AMIs for the account, with ids made from their names, and return them."""
    made = {}
    for one in unborn:
        digits = hashlib.sha256(f"{one.region}/{one.name}".encode()).hexdigest()[:17]
        made[one.region, one.name] = Artifact(
            kind="ami", builder="amazon-ebs.image", location=one.region, id=f"ami-{digits}", name=one.name
        )
        created = "2026-11-01T06:06:40+00:00"
        facts.append({"location": one.region, "id": f"ami-{digits}", "name": one.name, "created": created,
                      "tags": dict(one.tags)})  # fmt: skip
    return made


def _before(
    newest: Build,
    day: str,
    facts: list[dict[str, Any]],
    tags: Mapping[tuple[str, str], Mapping[str, str]],
    *,
    image: str,
) -> Build:
    """A build of an earlier day, superseded, with its AMIs noted for the account."""
    key = f"sha256:{hashlib.sha256(f'{newest.key} {day}'.encode()).hexdigest()}"
    build_id = f"{day}T060000Z-{key[7:14]}"
    artifacts = []
    for one in newest.artifacts:
        name = f"{image}-{build_id}"
        digits = hashlib.sha256(f"{one.location}/{name}".encode()).hexdigest()[:17]
        artifacts.append(one.model_copy(update={"id": f"ami-{digits}", "name": name}))
        marks = {**tags[one.location, one.name or ""], "reconciler:build": build_id, "reconciler:key": key,
                 "reconciler:phase": "stable", "reconciler:channel": "none"}  # fmt: skip
        created = f"{day[:4]}-{day[4:6]}-{day[6:]}T06:06:40+00:00"
        facts.append({"location": one.location, "id": f"ami-{digits}", "name": name, "created": created, "tags": marks})
    update = {"id": build_id, "key": key, "artifacts": tuple(artifacts), "phase": "superseded", "was_stable": True,
              "files": None, "started": f"{day[:4]}-{day[4:6]}-{day[6:]}T06:00:00Z"}  # fmt: skip
    return newest.model_copy(update=update)


def _set(served: Account, listing: Path) -> Mapping[str, frozenset[str]]:
    """Have some of the oldest AMIs used, each in one way; which are needed, by the way."""
    facts = json.loads(listing.read_text(encoding="utf-8"))
    old = sorted(one["id"] for one in facts if one["location"] == "us-east-1" and f"-{_DAYS[0]}T" in one["name"])
    newest = frozenset(one["id"] for one in facts if "-20261101T" in one["name"])
    running, stopped, version, grouped, configured, parameter = old[:6]
    mine = {name.lower(): value for name, value in account.ANYBODY.items() if name.endswith("_KEY") or "KEY_ID" in name}
    make = partial(boto3.client, region_name="us-east-1", endpoint_url=served.url, **mine)
    ec2, scaling = make("ec2"), make("autoscaling")
    subnet = ec2.describe_subnets()["Subnets"][0]["SubnetId"]
    for one in (running, stopped):
        started = ec2.run_instances(ImageId=one, MinCount=1, MaxCount=1, InstanceType="t3.micro")
        if one == stopped:
            ec2.stop_instances(InstanceIds=[started["Instances"][0]["InstanceId"]])
    for name, used in (("old", version), ("grouped", grouped)):
        ec2.create_launch_template(LaunchTemplateName=name, LaunchTemplateData=_launch(used))
        for _ in range(2):
            ec2.create_launch_template_version(LaunchTemplateName=name, LaunchTemplateData=_launch(min(newest)))
        ec2.modify_launch_template(LaunchTemplateName=name, DefaultVersion="3")
    # With an instance: amicleaner 0.2.2 ends with an error at a template's group that wants none.
    scaling.create_auto_scaling_group(
        AutoScalingGroupName="numbered", LaunchTemplate={"LaunchTemplateName": "grouped", "Version": "1"},
        MinSize=0, MaxSize=1, DesiredCapacity=1, VPCZoneIdentifier=subnet,
    )  # fmt: skip
    scaling.create_launch_configuration(
        LaunchConfigurationName="configured", ImageId=configured, InstanceType="t3.micro"
    )
    make("ssm").put_parameter(
        Name="/images/old", Type="String", DataType="aws:ec2:image", Value=parameter
    )  # fmt: skip
    return {
        "what a running instance uses": frozenset({running}),
        "what a stopped instance uses": frozenset({stopped}),
        "what an old version of a launch template names": frozenset({version}),
        "what a group with an instance names by an old version": frozenset({grouped}),
        "what a launch configuration names": frozenset({configured}),
        "what an SSM parameter names": frozenset({parameter}),
        "what is stable and not used yet": newest - {min(newest)},
    }


def _launch(image: str) -> dict[str, str]:
    return {"ImageId": image, "InstanceType": "t3.micro"}


# The two others.


def _installed() -> Path | str:
    """The programs of an environment with both, made where there is none; a text: why there can't be one."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "reconciler" / "bench"
    name = hashlib.sha256(" ".join((*PEERS, sys.version)).encode()).hexdigest()[:12]
    place = cache / f"cleaners-{name}"
    done = place / "done"
    if not done.is_file():
        try:
            subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True, capture_output=True)
            subprocess.run(
                [str(place / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check", *PEERS],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
        except (OSError, subprocess.CalledProcessError) as error:
            said = str(getattr(error, "stderr", "") or error).strip().splitlines()
            return said[-1] if said else "pip ended without a word"
        done.touch()
    return place / "bin"


def _peers(programs: Path, folder: Path, inside: Mapping[str, str]) -> dict[str, Command]:
    policy = folder / "policy.yml"
    policy.write_text(_POLICY, encoding="utf-8")
    regions = [word for region in fleet.REGIONS for word in ("--region", region)]
    custodian = (
        str(programs / "custodian"), "run", "--dryrun", "--cache-period", "0",
        "--output-dir", str(folder / "custodian"), *regions, str(policy),
    )  # fmt: skip
    script = folder / "amicleaner.sh"
    program = folder / "candidates.py"
    program.write_text(_AMICLEANER, encoding="utf-8")
    each = "\n".join(
        f"AWS_DEFAULT_REGION={region} {programs / 'python'} {program} > {folder}/amicleaner-{region}.json"
        for region in fleet.REGIONS
    )
    script.write_text(f"set -e\n{each}\n", encoding="utf-8")
    return {
        "Custodian": Command(custodian, folder, inside),
        "amicleaner": Command(("sh", str(script)), folder, inside),
    }


def _would_take(name: str, command: Command, folder: Path) -> frozenset[str]:
    """The ids of what one of them would take away, by its own answer."""
    ran = subprocess.run(
        command.arguments, cwd=command.directory, env={**os.environ, **(command.environment or {})},
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
    )  # fmt: skip
    if name == "gc":
        return frozenset(one["id"] for one in json.loads(ran.stdout)["artifacts"] if one["goes"])
    if name == "amicleaner":
        return frozenset(
            one for region in fleet.REGIONS for one in json.loads((folder / f"amicleaner-{region}.json").read_text())
        )
    found = (folder / "custodian").rglob("resources.json")
    return frozenset(one["ImageId"] for file in found for one in json.loads(file.read_text()))
