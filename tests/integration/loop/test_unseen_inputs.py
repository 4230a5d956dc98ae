"""A branch builds one thing and has another reviewed: nothing of what it built comes to stable under the same key."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.integration.loop.keys import Keys, signing
from tests.integration.loop.pull_request import BRANCH, merge, on_branch
from tests.integration.loop.world import ON_BASE, SETTINGS, TEMPLATE, World, git

WEB = b"desired/web/"
FROM_ROOT = f"{ON_BASE}packer: {{working_dir: /}}\n"
READS = TEMPLATE.replace('script = "${path.root}/setup.sh"', "inline = [%s]")
UPLOADS = TEMPLATE.replace(
    'provisioner "shell" { script = "${path.root}/setup.sh" }', 'provisioner "file" { source = "%s" }'
)


@dataclass(frozen=True)
class Attack:
    """What is on main, reviewed; and the file that the branch changes, and changes back."""

    path: bytes
    evil: str | None
    good: str | None
    on_main: dict[bytes, str] = field(default_factory=dict)
    template: str = TEMPLATE


ATTACKS = {
    "a name that another is shown as": Attack(
        WEB + b"files/caf\\xe9.conf", "EVIL", None, {WEB + b"files/caf\xe9.conf": "menu\n"}
    ),
    "a template that another is shown as": Attack(
        WEB + rb"x\xff.pkr.hcl", "# EVIL\n", None, {WEB + b"x\xff.pkr.hcl": "# good\n"}
    ),
    "a folder called state, in the image's own": Attack(
        WEB + b"state/tune.sh", "EVIL", "good\n",
        {WEB + b"state/packages.lock.json": "{}\n", WEB + b"desired/packages/x": "x\n"},
        template=UPLOADS % ".",
    ),
    "a folder of a role that passes for another fleet's": Attack(
        b"role/state/tune.sh", "EVIL", "good\n",
        {b"role/state/packages.lock.json": "{}\n", b"role/desired/README": "x\n"},
        template=UPLOADS % "../../role",
    ),
    "what another fleet recorded, and the template names": Attack(
        b"infra/state/tune.sh", "EVIL", "good\n",
        {b"infra/state/api.lock.json": "{}\n", b"infra/desired/api/api.pkr.hcl": "x\n"},
        template=READS % 'file("../../infra/state/tune.sh")',
    ),
    "the image's own declaration": Attack(
        WEB + b"image.yaml", f"{ON_BASE}description: EVIL\n", f"{ON_BASE}description: good\n",
        template=READS % 'yamldecode(file("${path.root}/image.yaml")).description',
    ),
    "the same by another way to it": Attack(
        WEB + b"image.yaml", f"{ON_BASE}description: EVIL\n", f"{ON_BASE}description: good\n",
        template=READS % 'file("${path.root}/../web/image.yaml")',
    ),
    "what Packer takes for its plugin": Attack(
        b"packer-provisioner-shell", "EVIL", None, {WEB + b"image.yaml": FROM_ROOT}
    ),
}  # fmt: skip


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys.begin(tmp_path)


def put(root: Path, files: dict[bytes, str | None], message: str = "More") -> None:
    for name, content in files.items():
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(content)
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", message)


@pytest.mark.forms(quick=2)
@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_what_was_built_of_a_commit_that_nobody_reviewed_does_not_become_stable(
    pair: World, keys: Keys, attack: Attack
) -> None:
    # Given a file on main that a template reads
    job, template = pair.root / "pull-request", {WEB + b"image.pkr.hcl": attack.template}
    pair.commit({"desired/reconciler.yaml": f"{SETTINGS}git: {{sign: true}}\n"})
    put(pair.root / "person", {**attack.on_main, **template, attack.path: attack.good, b"docs/x": "x\n"})
    git(pair.root / "person", "push", "--quiet", "origin", "HEAD:main")
    signing(pair, keys, "main-job").reconcile()
    pair.clock.advance(hours=1)
    on_branch(pair, {"desired/web/setup.sh": "echo more\n"})

    # When a branch has another there, which an honest job builds, and takes that back in the next commit
    def previewed(content: str | None) -> list[str]:
        put(job, {attack.path: content, b"docs/more": f"{content}\n"})
        git(job, "push", "--quiet", "origin", BRANCH)
        controller = signing(pair, keys, "pull-request")
        controller.preview(BRANCH)
        return [one.build_id for one in controller.builder.requests]

    evil = previewed(attack.evil)
    previewed(attack.good)
    merge(pair)
    pair.clock.advance(hours=1)

    # Then main has no use for the first
    signing(pair, keys, "main-job").reconcile()
    lock = pair.lock("web")
    assert lock.builds[0].id not in evil
    assert lock.channels.stable not in evil
