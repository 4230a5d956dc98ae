"""A plan that finds nothing to do: against the bare calls, against a peer, and ten times as large."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

from reconciler.sandbox.handle import Sandbox
from tests.bench import fleet, registry, stub
from tests.bench.measure import Command, cost_of, interleaved
from tests.bench.rows import Row, at_most, below, told

IMAGES = 1000
ROUNDS = 5
_PAGES = -(-IMAGES // 1000)
_FLOOR = Path(__file__).with_name("floor.py")
_ASKED = 5
_NOTHING_TO_DO = ("plan", "--detailed-exitcode")
"""A plan that fails when it finds something to do: else a fleet that drifted would be measured for one that did not."""


def plan_rows(folder: Path, sandbox: Sandbox, environment: Mapping[str, str]) -> Iterator[Row]:
    """1,000 images in four regions of the sandbox's EC2. Nothing is kept from run to run: each is as in a new clone."""
    root = fleet.make(folder / "fleet", images=IMAGES, publish=partial(registry.publish, sandbox))
    inside = {**environment, **registry.environment(sandbox)}
    reconciler = (sys.executable, "-m", "reconciler")
    commands = {
        "floor": Command((sys.executable, str(_FLOOR), fleet.FLEET, *fleet.REGIONS), root, inside),
        "plan": Command((*reconciler, *_NOTHING_TO_DO), root, inside),
        "validate": Command((*reconciler, "validate"), root, inside),
    }
    cost = interleaved(commands, rounds=ROUNDS)
    what = f"no-op plan, {IMAGES:,} images, {len(fleet.REGIONS)} regions"
    bare = "bare boto3"
    yield at_most(f"{what}: wall", measured=cost["plan"].wall, against=cost["floor"].wall, target=1.3, floor=bare)
    yield at_most(f"{what}: CPU", measured=cost["plan"].cpu, against=cost["floor"].cpu, target=1.6, floor=bare)
    yield below(f"{what}: peak memory", measured=cost["plan"].peak, target=200, unit="MiB")
    yield _calls(what, sandbox, commands["plan"])
    yield told(
        f"validate, {IMAGES:,} images (every template is read, the registry is not)",
        f"{cost['validate'].cpu:.3g} s CPU",
    )
    yield _peer(root, inside, plan_seconds=cost["plan"].wall)


def _calls(what: str, sandbox: Sandbox, plan: Command) -> Row:
    sandbox.forget_calls()
    cost_of(plan)
    by_region: dict[str, int] = {}
    for (_service, _action, region), count in sandbox.calls().items():
        by_region[region] = by_region.get(region, 0) + count
    most = max(by_region.values())
    return Row(
        f"{what}: calls in a region", str(most), f"{_PAGES} page", "", f"≤ pages + 2 = {_PAGES + 2}", most <= _PAGES + 2
    )  # fmt: skip


def _peer(root: Path, environment: Mapping[str, str], *, plan_seconds: float) -> Row:
    """As CircleCI-Public/circleci-packer checks: an AWS CLI process for each image, which is looked up by its tree."""
    what = f"plan against an AWS CLI process per image and region, as circleci-packer ({_ASKED} measured, scaled)"
    aws = _aws()
    if aws is None:
        return told(what, "no aws on the PATH")
    look_up = f"{aws} ec2 describe-images --filters Name=tag:SHA,Values=$(git rev-parse HEAD:desired/$0)"
    names = [f"image-{number:05}" for number in range(0, IMAGES, IMAGES // _ASKED)]
    asking = {name: Command(("sh", "-c", look_up, name), root, environment) for name in names}
    costs = interleaved(asking, rounds=1)
    seconds = sum(cost.wall for cost in costs.values()) / len(costs) * IMAGES * len(fleet.REGIONS)
    faster = seconds / plan_seconds
    return Row(what, f"{plan_seconds:.3g} s", f"{seconds:,.0f} s", f"1/{faster:,.0f}", "≤ 1/1,000", faster >= 1000)


def _aws() -> str | None:
    """The AWS CLI itself: pyenv's stand-in for it would count against the peer."""
    found = shutil.which("aws")
    if found is None or Path(found).parent.name != "shims":
        return found
    beside = Path(found).parent.parent
    return next((str(path) for path in sorted(beside.glob("versions/*/bin/aws"))), found)


def growth_rows(folder: Path, environment: Mapping[str, str]) -> Iterator[Row]:
    """Ten times as many images, both from a stub of EC2 that takes next to no time."""
    commands = {}
    folder.mkdir()
    listings = {count: folder / f"{count}.json" for count in (IMAGES, 10 * IMAGES)}
    for count, listing in listings.items():
        fleet.make(folder / str(count), images=count, publish=partial(stub.write_listing, listing))
    with stub.serving(listings[IMAGES]) as few, stub.serving(listings[10 * IMAGES]) as many:
        for count, url in ((IMAGES, few), (10 * IMAGES, many)):
            inside = {**environment, **_ANYBODY, "AWS_ENDPOINT_URL": url}
            commands[str(count)] = Command(
                (sys.executable, "-m", "reconciler", *_NOTHING_TO_DO), folder / str(count), inside
            )
        # The last one's environment: that of the many.
        commands["floor"] = Command((sys.executable, str(_FLOOR), fleet.FLEET, *fleet.REGIONS), folder, inside)
        cost = interleaved(commands, rounds=3)
    small, large = cost[str(IMAGES)], cost[str(10 * IMAGES)]
    yield at_most(
        f"no-op plan, {10 * IMAGES:,} images against {IMAGES:,} (EC2: rendered pages): wall",
        measured=large.wall, against=small.wall, target=10.5,
    )  # fmt: skip
    what, floor = f"no-op plan, {10 * IMAGES:,} images", cost["floor"]
    yield at_most(f"{what}: wall", measured=large.wall, against=floor.wall, target=1.2, floor="bare boto3")
    yield below(f"{what}: peak memory", measured=large.peak, target=250, unit="MiB")


_ANYBODY = {
    "AWS_ACCESS_KEY_ID": "AKIABENCHBENCHBENCH0",
    "AWS_SECRET_ACCESS_KEY": "bench",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
