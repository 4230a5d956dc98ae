"""The errors that runs of Packer come to, as people read them."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.build.judge import built, failure
from reconciler.build.outcome import Failing, Outcome
from reconciler.build.process import Exit
from reconciler.model.declaration import Declaration, PackerSettings
from reconciler.model.errors import Place
from reconciler.model.fleet import Builder, Image, Template
from reconciler.ports.builder import BuildRequest, Provisioner
from reconciler.ports.dialect import Made
from reconciler.registries.ec2.dialect import AMI, DIALECT

MADE = Made("amazon-ebs.web", "mitchellh.amazonebs", "us-east-1:ami-1")
PLACE = Place("desired/web/web.pkr.hcl")


@pytest.fixture
def request_(tmp_path: Path) -> BuildRequest:
    template = Template("hcl2", (PLACE.path,), (Builder("amazon-ebs.web", "amazon-ebs", PLACE),))
    declaration = Declaration(packer=PackerSettings(only=("amazon-ebs.webb{,x}",)))
    image = Image("web", "desired/web", declaration, template, AMI, source=None, locations=(), inputs=())
    script = tmp_path / "desired" / "web" / "setup.sh"
    script.parent.mkdir(parents=True)
    script.touch()
    return BuildRequest(
        image=image,
        build_id="20261122T101530Z-1a2b3c4",
        key="sha256:1a2b3c4",
        run_id="run-1",
        export=tmp_path,
        run_folder=tmp_path / "run",
        log=tmp_path / "log",
        environment={},
        timeout=5400.0,
    )


def test_exit_code_0_with_an_artifact_is_a_build() -> None:
    assert built(Outcome(0, artifacts=(MADE,)))


@pytest.mark.parametrize(
    "outcome",
    [Outcome(0), Outcome(1, artifacts=(MADE,)), Outcome(0, artifacts=(MADE,), cancelled=True)],
    ids=["no artifact", "an error", "cancelled"],
)
def test_anything_less_is_none(outcome: Outcome) -> None:
    assert not built(outcome)


def test_a_failed_provisioner_is_named_with_its_script_from_the_root(request_: BuildRequest) -> None:
    failing = Failing("amazon-ebs.web", "exit status 1", Provisioner("shell", "./setup.sh"), ("a", "b"))

    error = failure(request_, Exit(1, 72.9), Outcome(1, failures=(failing,), artifacts=(MADE,)))

    assert str(error) == 'build failed in provisioner "shell" (desired/web/setup.sh), 1:12 in'
    assert error.tail == ("a", "b", "exit status 1")
    assert error.seconds == 72
    assert [artifact.id for artifact in error.artifacts] == ["ami-1"]


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (("Provisioning with shell script: setup.sh",), "Script exited with non-zero exit status: 9."),
        (("Uploading a.conf => /etc/a.conf",), "Upload failed: scp: /etc/a.conf: Permission denied"),
        (("a", "b"), "Script disconnected unexpectedly. If you expected that, add expect_disconnect = true"),
    ],
)
def test_what_packer_says_of_a_provisioner_stands_at_the_end(
    request_: BuildRequest, last: tuple[str, ...], said: str
) -> None:
    failing = Failing("amazon-ebs.web", said, Provisioner("shell", None), last)
    assert failure(request_, Exit(1, 1.0), Outcome(1, failures=(failing,))).tail == (*last, said)

    told_already = Failing("amazon-ebs.web", said, Provisioner("shell", None), (*last, said))
    assert failure(request_, Exit(1, 1.0), Outcome(1, failures=(told_already,))).tail == (*last, said)


def test_a_path_into_the_export_is_one_of_the_repository(request_: BuildRequest) -> None:
    playbook = str(request_.export / "desired/web/policy/playbook.yml")
    failing = Failing("amazon-ebs.web", "Non-zero exit status", Provisioner("ansible", playbook), ("FAILED!",))

    error = failure(request_, Exit(1, 72.9), Outcome(1, failures=(failing,)))

    assert error.what == 'build failed in provisioner "ansible" (desired/web/policy/playbook.yml), 1:12 in'


def test_a_failure_outside_of_provisioners_says_what_packer_says(request_: BuildRequest) -> None:
    failing = Failing("amazon-ebs.web", "Error launching source instance: no capacity", None, ("Launching",))
    other = Failing("amazon-ebs.db", "x", None, ())

    error = failure(request_, Exit(1, 5.0), Outcome(1, failures=(failing, other)))

    assert (
        error.what == "build failed, 0:05 in: Error launching source instance: no capacity (and 1 more of its builds)"
    )
    assert error.tail == ("Launching", "Error launching source instance: no capacity")


def test_a_failed_provisioner_is_told_before_other_failures(request_: BuildRequest) -> None:
    plain = Failing("a", "x", None, ())
    told = Failing("b", "y", Provisioner("ansible"), ())

    error = failure(request_, Exit(1, 5.0), Outcome(1, failures=(plain, told)))

    assert error.provisioner == Provisioner("ansible")


def test_a_mistake_in_the_template_has_its_place(request_: BuildRequest) -> None:
    (request_.export / PLACE.path).touch()
    general = ("Error: Missing item separator", "  on web.pkr.hcl line 12, in build:", "  12: sources = [")

    error = failure(request_, Exit(1, 0.2), Outcome(1, general=general))

    assert str(error) == "desired/web/web.pkr.hcl:12: Packer cannot build it: Missing item separator"


def test_no_artifact_points_to_the_selection(request_: BuildRequest) -> None:
    error = failure(request_, Exit(0, 0.2), Outcome(0))

    assert error.cause == "no-artifact"
    assert error.hint == ("check packer.only: the template has amazon-ebs.web",)


def test_a_build_that_prints_without_end_says_so(request_: BuildRequest) -> None:
    error = failure(request_, Exit(-15, 72.0, flooded=True), Outcome(-15))

    assert error.cause == "failed"
    assert error.what == "build was ended, 1:12 in: it printed more than 512 MiB"


def test_a_build_past_its_time_names_the_setting(request_: BuildRequest) -> None:
    error = failure(request_, Exit(-9, 5400.0, timed_out=True, killed=True), Outcome(-9, tail=("Waiting for SSH",)))

    assert error.cause == "timed-out"
    assert error.what == "build timed out after 90m"
    assert "packer.timeout" in error.hint[0]
    assert not error.cleaned_up
    assert error.tail == ("Waiting for SSH",)


def test_a_signal_of_somebody_else_is_a_cancelled_build(request_: BuildRequest) -> None:
    assert failure(request_, Exit(1, 60.0), Outcome(1, cancelled=True)).cause == "cancelled"


@pytest.mark.parametrize(
    ("said", "holders"),
    [
        ("Error: AMI Name: 'web' is used by an existing AMI: ami-0abc", ("ami-0abc",)),
        ("InvalidAMIName.Duplicate: AMI name web is already in use by AMI ami-0def\n\tstatus code: 400", ("ami-0def",)),
        ("InvalidAMIName.Duplicate", ()),
    ],
)
def test_a_name_that_is_taken_is_told_with_what_has_it(said: str, holders: tuple[str, ...]) -> None:
    found = DIALECT.name_taken("\n".join(["ami-0123", *said.split("\n")]))
    assert found == (said.split("\n", maxsplit=1)[0], holders)


def test_whatever_else_fails_is_no_name_that_is_taken() -> None:
    assert DIALECT.name_taken("no capacity for ami-0abc") is None
