"""From the command line: which checkout is worked from, and what happens to what lies in it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.reconcile import command
from reconciler.cli.workspace import Workspace, now
from reconciler.model.errors import UserError
from reconciler.plan.planning import Known
from reconciler.steps.run import Testbed
from tests.integration.loop.test_channels import build
from tests.integration.loop.test_rulings import revoked
from tests.integration.loop.world import Controller, World, git

Reconcile = Callable[..., int]


@pytest.fixture
def reconcile(settled: World, monkeypatch: pytest.MonkeyPatch) -> Reconcile:
    """`reconciler reconcile -C <clone>` with this world's registry, builder and testbed; returns the exit code."""

    def registry(_workspace: Workspace, _known: Known, **_cancelled: threading.Event) -> Any:
        return settled.registry

    def testbed(_workspace: Workspace, _known: Known, **_asked: object) -> Testbed:
        return Testbed(settled.instances, settled.controller().tester)

    settled.clock.moment = now()  # the command line's: what was made before a build began is not of that build
    monkeypatch.setattr(Workspace, "registry", registry)
    monkeypatch.setattr(Workspace, "testbed", testbed)
    monkeypatch.setattr(Workspace, "builder", lambda _workspace: settled.controller().builder)

    def run(root: Path, *arguments: str) -> int:
        code = command.main(["-C", str(root), *arguments], standalone_mode=False)
        assert isinstance(code, int)
        return code

    return run


@pytest.fixture
def checkout(settled: World) -> Controller:
    return settled.controller()


def test_a_checkout_on_another_branch_is_refused_before_anything_is_read(
    settled: World, checkout: Controller, reconcile: Reconcile
) -> None:
    settled.commit({"desired/web/setup.sh": "echo more\n"})
    head = settled.head()
    git(checkout.root, "switch", "--quiet", "--create", "feature/x")
    settled.registry.calls.clear()
    with pytest.raises(UserError, match="state is recorded to main, and the checkout is on the branch feature/x"):
        reconcile(checkout.root)
    assert (settled.head(), dict(settled.registry.calls)) == (head, {})


def test_commits_that_are_not_pushed_are_named_and_not_considered(
    settled: World, checkout: Controller, reconcile: Reconcile, capsys: pytest.CaptureFixture[str]
) -> None:
    own = settled.commit({"desired/web/setup.sh": "echo mine\n"}, "Try something", push=False, where="ci")
    settled.commit({"desired/api/setup.sh": "echo more\n"})
    assert reconcile(checkout.root) == 0
    assert f"not pushed to main, so not considered: {own[:7]} Try something" in capsys.readouterr().err
    assert settled.lock("api").builds[0].reasons[0].code == "inputs-changed"
    assert len(settled.lock("web").builds) == 1
    assert git(checkout.root, "rev-parse", "HEAD") == own, "the checkout stays with its owner"


def test_a_detached_checkout_of_an_older_commit_does_what_main_wants_now(
    settled: World, checkout: Controller, reconcile: Reconcile
) -> None:
    """A job that was queued behind a newer commit never turns anything back."""
    older = settled.commit({"desired/web/setup.sh": "echo first\n"})
    newer = settled.commit({"desired/web/setup.sh": "echo second\n"})
    git(checkout.root, "fetch", "--quiet")
    git(checkout.root, "checkout", "--quiet", "--detach", older)
    assert reconcile(checkout.root) == 0
    assert settled.lock("web").builds[0].commit == newer


def test_the_last_line_names_what_the_branch_is_at_whichever_image_came_last(
    settled: World, checkout: Controller, reconcile: Reconcile, capsys: pytest.CaptureFixture[str]
) -> None:
    settled.commit({f"desired/{image}/setup.sh": "echo more\n" for image in ("api", "tools", "web")})
    assert reconcile(checkout.root) == 0
    assert f"3 commits pushed to main ({settled.head()[:7]}), 3 tags." in capsys.readouterr().out


def test_the_last_line_counts_every_commit_of_the_run(
    settled: World, checkout: Controller, reconcile: Reconcile, capsys: pytest.CaptureFixture[str]
) -> None:
    build(settled, "echo more")
    head = settled.commit({"desired/base/image.yaml": revoked(settled.lock("base").builds[0].id)})
    assert reconcile(checkout.root) == 0
    count = int(git(settled.origin, "rev-list", "--count", f"{head}..main"))
    assert count == 2, "the channels before the AMI is disabled, and then the AMI"
    assert f"{count} commits pushed to main ({settled.head()[:7]})" in capsys.readouterr().out


def test_without_a_remote_state_is_committed_here_and_a_dirty_file_left_alone(
    settled: World, checkout: Controller, reconcile: Reconcile, capsys: pytest.CaptureFixture[str]
) -> None:
    git(checkout.root, "remote", "remove", "origin")
    own = settled.commit({"desired/web/setup.sh": "echo mine\n"}, "Alone", push=False, where="ci")
    (checkout.root / "desired" / "api" / "setup.sh").write_text("half a sen")
    (checkout.root / "notes").write_text("mine")
    assert reconcile(checkout.root) == 0
    assert "Recorded in state/: 1 commit on main" in capsys.readouterr().out
    assert git(checkout.root, "rev-parse", "HEAD~1") == own
    assert git(checkout.root, "status", "--porcelain").splitlines() == [" M desired/api/setup.sh", "?? notes"]
    capsys.readouterr()
    head = git(checkout.root, "rev-parse", "HEAD")
    assert reconcile(checkout.root) == 0
    assert git(checkout.root, "rev-parse", "HEAD") == head
