"""A finding of hygiene stops nothing, and is told wherever the image is; a key is Packer's where EC2 says so."""

from __future__ import annotations

import base64
from datetime import timedelta

import pytest

from reconciler.model.errors import Transient
from reconciler.model.events import Tested, Warned
from reconciler.model.smoke_test import HygieneFinding, SmokeTestResult
from reconciler.plan.standing import standings
from tests.integration.loop.effects import Effects, Killed, surround
from tests.integration.loop.settling import assert_settled
from tests.integration.loop.world import ON_BASE, TEMPLATE, US, Controller, World, git, statuses

KIND = b"\0\0\0\x0bssh-ed25519"
PUBLIC = f"ssh-ed25519 {base64.b64encode(KIND + b'0123').decode()} packer_6912ab"
FINGERPRINT = "SHA256:A1z/Q+qDBRid9Sjjj7s+YEq+F8XXn4vxvo48q39JxtE"
KEY = HygieneFinding(
    code="packer-key", text="Packer's temporary key stays in /root/.ssh/authorized_keys", hint="add a line",
    keys=(FINGERPRINT,),
)  # fmt: skip
HISTORY = HygieneFinding(code="shell-history", text="shell histories stay: /root/.bash_history", hint="remove them")
FOUND = SmokeTestResult(status="passed", tests=7, findings=(KEY, HISTORY))
MORE = {"desired/web/setup.sh": "echo more\n"}
CLEARS = TEMPLATE.replace("  region ", "  ssh_clear_authorized_keys = true\n  region ")


def finding(world: World, *images: str) -> Controller:
    """A controller whose tests of these images find something."""
    controller = with_key(world)
    controller.tester.results = dict.fromkeys(images, FOUND)
    return controller


def with_key(world: World) -> Controller:
    """A controller whose builds log in with a temporary key pair."""
    controller = world.controller()
    controller.builder.key_pair = "packer_6912ab"
    world.instances.key_pairs["packer_6912ab"] = PUBLIC, world.clock.moment
    return controller


def preview(controller: Controller, files: dict[str, str]) -> None:
    """Build what a branch changes for its pull request."""
    git(controller.root, "switch", "--quiet", "--create", "topic")
    for name, content in files.items():
        (controller.root / name).write_text(content)
    git(controller.root, "commit", "--quiet", "--all", "--message", "Change it")
    git(controller.root, "push", "--quiet", "origin", "topic")
    controller.preview("topic")


def asked(controller: Controller) -> dict[str, frozenset[str]]:
    """Which keys each test took for Packer's."""
    return {request.image: request.packer_keys for request in controller.tester.requests}


def test_what_is_found_stops_nothing_and_is_recorded_as_data(pair: World) -> None:
    head = pair.commit(MORE)
    controller = finding(pair, "web")

    assert statuses(controller.reconcile()) == {"web": "built"}

    newest = pair.lock("web").builds[0]
    assert newest.smoke_test is not None
    assert newest.smoke_test.findings == (KEY, HISTORY)
    assert (newest.phase, pair.lock("web").channels.stable) == ("stable", newest.id)
    pair.clock.advance(hours=1)
    assert_settled(pair, since=head)


def test_what_is_found_is_told_in_the_commit_the_log_the_plan_and_the_status(pair: World) -> None:
    pair.commit(MORE)
    controller = finding(pair, "web")
    controller.reconcile()

    body = git(pair.origin, "log", "-1", "--format=%b", "main")
    assert f"Smoke test: 7 passed, 2 findings.\nFinding: {KEY.text}.\nFinding: {HISTORY.text}." in body
    (told,) = controller.told(Tested, "web")
    assert isinstance(told, Tested)
    assert told.findings == (f"finding: {KEY.text}", f"finding: {HISTORY.text}")
    plan = pair.controller().plan()
    assert (plan["web"].findings, plan["web"].sync, plan["base"].findings) == ((KEY, HISTORY), "in-sync", ())
    known, planned = pair.controller().look()
    row = {one.image: one for one in standings(planned, now=known.now)}["web"]
    assert (row.findings, row.health, row.why) == ((KEY, HISTORY), "healthy", None)


def test_the_record_of_an_image_without_findings_says_nothing_of_them(pair: World) -> None:
    pair.commit(MORE)
    with_key(pair).reconcile()

    assert "finding" not in pair.show("web.lock.json")
    assert FINGERPRINT not in pair.show("web.lock.json")
    assert not any("packer-key" in name for one in pair.artifacts("web") for name in one.tags)


def test_a_test_is_told_which_key_was_packers(pair: World) -> None:
    pair.commit(MORE)
    controller = with_key(pair)
    controller.reconcile()

    assert asked(controller) == {"web": frozenset({FINGERPRINT})}


def test_a_key_pair_that_was_there_before_the_build_is_not_packers(pair: World) -> None:
    pair.commit(MORE)
    controller = with_key(pair)
    pair.instances.key_pairs["packer_6912ab"] = PUBLIC, pair.clock.moment - timedelta(hours=1)
    controller.reconcile()

    assert asked(controller) == {"web": frozenset()}
    (said,) = [one.what for one in controller.told(Warned, "web") if isinstance(one, Warned) and "key" in one.what]
    assert said.endswith("by the time it was asked for, there was no key pair packer_6912ab of this build")


@pytest.mark.parametrize(
    "files",
    [{"desired/web/image.pkr.hcl": CLEARS}, {"desired/web/image.yaml": f"{ON_BASE}smoke_test: {{boot: false}}\n"}],
    ids=["cleared", "not booted"],
)
def test_nothing_is_asked_where_no_key_of_packers_can_be_found(pair: World, files: dict[str, str | None]) -> None:
    pair.commit({**MORE, **files})
    with_key(pair).reconcile()

    assert pair.instances.calls["public_key"] == 0


def test_a_key_that_cannot_be_read_is_said_and_stops_no_build(pair: World) -> None:
    pair.commit(MORE)
    controller = with_key(pair)
    controller.builder.during = lambda _: pair.instances.unreadable.clear()
    pair.instances.unreadable[US] = "UnauthorizedOperation"

    assert statuses(controller.reconcile()) == {"web": "built"}

    (said,) = [one.what for one in controller.told(Warned, "web") if isinstance(one, Warned) and "key" in one.what]
    assert said == (
        f"Packer's temporary key is not known, so the test takes it for anybody's: public_key in {US}: "
        "UnauthorizedOperation"
    )
    assert asked(controller) == {"web": frozenset()}


def test_a_child_may_hold_the_key_of_its_recorded_parent(pair: World) -> None:
    pair.commit({"desired/base/setup.sh": "echo more\n"})
    finding(pair, "base").reconcile("base")
    child = pair.controller()
    child.reconcile()

    assert asked(child) == {"web": frozenset({FINGERPRINT})}


def test_a_child_may_hold_the_key_of_the_parent_that_this_run_built(pair: World) -> None:
    pair.commit({"desired/base/setup.sh": "echo more\n"})
    controller = finding(pair, "base")
    controller.reconcile()

    assert asked(controller)["web"] == frozenset({FINGERPRINT})


def test_a_child_of_a_preview_may_hold_its_parents_key(pair: World) -> None:
    controller = finding(pair, "base")
    controller.builder.key_pair = None
    preview(controller, {"desired/base/setup.sh": "echo topic\n"})

    assert asked(controller) == {"base": frozenset(), "web": frozenset({FINGERPRINT})}


def test_what_could_not_be_tested_has_its_key_on_it_for_the_run_that_tests_it(pair: World) -> None:
    pair.commit(MORE)
    controller = with_key(pair)
    pair.instances.refused = Transient("no capacity for t3.micro")
    controller.reconcile()
    pair.instances.refused = None
    del pair.instances.key_pairs["packer_6912ab"]

    after = pair.controller("elsewhere")

    assert statuses(after.reconcile()) == {"web": "adopted"}
    assert asked(after) == {"web": frozenset({FINGERPRINT})}


def test_of_what_a_killed_run_built_no_key_is_known(pair: World) -> None:
    """Then its key is anybody's: the test fails, the image is built anew, and EC2 is asked in time."""
    pair.commit(MORE)
    with pytest.raises(Killed):
        surround(with_key(pair), Effects(die_at=1, when="after").around).reconcile()
    after = pair.controller("elsewhere")
    after.reconcile()

    assert asked(after) == {"web": frozenset()}


@pytest.mark.parametrize("hygiene", ["warn", "fail"])
def test_what_a_pull_request_built_with_findings_is_tested_again_where_they_are_to_fail(
    pair: World, hygiene: str
) -> None:
    preview(finding(pair, "web"), MORE)
    pair.commit({"desired/web/image.yaml": f"{ON_BASE}smoke_test: {{hygiene: {hygiene}}}\n", **MORE})
    after = pair.controller("elsewhere")

    assert statuses(after.reconcile()) == {"web": "adopted"}
    assert [request.hygiene for request in after.tester.requests] == (["fail"] if hygiene == "fail" else [])
