"""What a build needs of the machine that Packer is run on, and how it is told from what is wrong with an image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.build import judge
from reconciler.build.judge import absent, failure, fault, found
from reconciler.build.outcome import Failing, Outcome
from reconciler.build.packer.diagnosis import cause
from reconciler.build.process import Exit
from reconciler.model.declaration import Declaration
from reconciler.model.errors import Place, Transient
from reconciler.model.fleet import Image, Program, Template
from reconciler.ports.builder import BuildRequest, Provisioner
from reconciler.registries.ec2.dialect import AMI
from tests.cpu import cpu_seconds

PLACE = Place("desired/web/web.pkr.hcl", 7)
ANSIBLE = Program("ansible-playbook", 'provisioner "ansible"', PLACE)
EXPORT = Path("/srv/export")


def needing(name: str, *programs: Program) -> Image:
    template = Template("hcl2", (PLACE.path,), (), programs=programs)
    return Image(name, f"desired/{name}", Declaration(), template, AMI, source=None, locations=(), inputs=())


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Put programs on a PATH of their own; returns the environment."""

    def make(*names: str, mode: int = 0o755) -> dict[str, str]:
        for name in names:
            tmp_path.joinpath(name).write_text("#!/bin/sh\n")
            tmp_path.joinpath(name).chmod(mode)
        return {"PATH": str(tmp_path)}

    return make


@pytest.fixture
def request_(tmp_path: Path) -> BuildRequest:
    return BuildRequest(
        image=needing("web"),
        build_id="20261122T101530Z-1a2b3c4",
        key="sha256:1a2b3c4",
        run_id="run-1",
        export=EXPORT,
        run_folder=tmp_path / "run",
        log=tmp_path / "log",
        environment={},
        timeout=5400.0,
    )


@pytest.fixture(autouse=True)
def beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in the place of the one that this program is installed into, without Ansible."""
    folder = tmp_path / "beside" / "bin"
    folder.mkdir(parents=True)
    monkeypatch.setattr(judge, "_BESIDE", folder)
    return folder


def test_a_program_that_is_installed_beside_this_one_is_told_of(
    install: Callable[..., dict[str, str]], beside: Path
) -> None:
    (beside / "ansible-playbook").touch()

    (one,) = absent([needing("web", ANSIBLE)], install())

    assert one.error().hint == (f'it is in {beside}, which is not on PATH: export PATH="$PATH:{beside}"',)


def test_what_several_images_need_and_is_not_there_is_told_once(install: Callable[..., dict[str, str]]) -> None:
    inspec = Program("inspec", 'provisioner "inspec"', PLACE)
    images = [needing("api"), needing("base", ANSIBLE, inspec), needing("web", ANSIBLE)]

    (one,) = absent(images, install("inspec"))

    assert one.images == ("base", "web")
    error = one.error()
    assert type(error) is Transient
    assert str(error) == (
        'desired/web/web.pkr.hcl:7: ansible-playbook is not on this machine, and provisioner "ansible" needs it\n'
        "  install it where reconciler runs, so that it is on PATH: `pipx install ansible-core`"
    )
    assert absent(images, install("inspec", "ansible-playbook")) == ()


def test_it_is_packers_path_that_counts(install: Callable[..., dict[str, str]]) -> None:
    there = install("ansible-playbook")
    assert found([ANSIBLE], there) == {"ansible-playbook": f"{there['PATH']}/ansible-playbook"}
    assert found([ANSIBLE], {"PATH": "/nonexistent"}) == {"ansible-playbook": None}
    assert found([ANSIBLE], {}) == {"ansible-playbook": None}
    whole = Program(f"{there['PATH']}/ansible-playbook", "", PLACE)
    assert found([whole], {}) == {whole.name: whole.name}


def test_what_cannot_be_run_is_not_there(install: Callable[..., dict[str, str]]) -> None:
    assert len(absent([needing("web", ANSIBLE)], install("ansible-playbook", mode=0o644))) == 1


@pytest.mark.parametrize(
    ("error", "hint"),
    [
        # As 1.6.6 and 1.16.0 print it; both break lines.
        (
            (
                'Error: Failed preparing provisioner-block "ansible" ""\n\n1 error(s) occurred:\n\n* Error running '
                '"ansible-playbook --version": exec: "ansible-playbook":\nexecutable file not found in $PATH\n'
            ),
            "ansible-playbook: install it",
        ),
        ("Error executing Ansible: fork/exec /opt/ansible/bin/ansible-playbook: exec format error", "can be run"),
        ("Error preparing shell script: write /tmp/packer-shell123: no space left on device", "make room"),
        ("Error starting plugin: fork/exec /usr/bin/packer: resource temporarily unavailable", "make room"),
        ("Error finding AMI: NoCredentialProviders: no valid providers in chain. Deprecated.", "no credentials"),
        (
            "no EC2 IMDS role found, operation error ec2imds: GetMetadata\nError: No valid credential sources found",
            "no credentials",
        ),
        ("AssumeRoleTokenProviderNotSetError: assume role with MFA enabled, but not set", "no credentials"),
        *(
            (f"Error querying AMI: operation error EC2: DescribeImages, api error {code}: {said}", "renew them")
            for code, said in {
                "ExpiredToken": "The security token included in the request is expired",
                "RequestExpired": "Request has expired.",
                "InvalidClientTokenId": "The security token included in the request is invalid",
            }.items()
        ),
        (
            "vSphere client: ServerFaultCode: Cannot complete login due to an incorrect user name or\npassword.",
            "renew them",
        ),
        (
            (
                "Error: HCP authentication information required\n\nHCP Authentication not configured, either set an "
                "HCP Client ID and secret using\nthe environment variables HCP_CLIENT_ID and HCP_CLIENT_SECRET"
            ),
            "HCP_CLIENT_ID",
        ),
        ("Error: HCP: populating version failed\n\nfailed to get new token: no such host", "HCP_CLIENT_ID"),
    ],
)
def test_packers_words_for_what_the_machine_lacks_are_understood(error: str, hint: str) -> None:
    hints = fault([error], export=EXPORT)
    assert hints is not None
    assert hint in hints[0]


@pytest.mark.parametrize(
    "error",
    [
        "Script exited with non-zero exit status: 127.Allowed exit codes are: [0]",
        "Error uploading: scp: /opt/data: No space left on device",  # the instance's disk
        "fork/exec /srv/export/desired/web/run.sh: permission denied",  # the repository's file
        'exec: "./run.sh": stat ./run.sh: no such file or directory',
        "Error launching source instance: UnauthorizedOperation: You are not authorized",
        "",
    ],
)
def test_what_may_be_wrong_with_the_image_is_its_failure(error: str) -> None:
    assert fault([error], export=EXPORT) is None


def test_what_a_script_prints_of_its_own_machine_is_its_failure(request_: BuildRequest) -> None:
    printed = ('exec: "nginx": executable file not found in $PATH', "write /x: no space left on device")
    failing = Failing("amazon-ebs.web", "exit status 1", Provisioner("shell", None), printed)

    error = failure(request_, Exit(1, 8.0), Outcome(1, failures=(failing,)))

    assert error.cause == "failed"
    assert error.counts


GALAXY = 'Error executing Ansible: exec: "ansible-galaxy": executable file not found in $PATH'


@pytest.mark.parametrize(
    "outcome",
    [
        Outcome(1, failures=(Failing("amazon-ebs.web", GALAXY, Provisioner("ansible", "site.yml"), ("a", "b")),)),
        Outcome(1, errors=(GALAXY,)),
    ],
    ids=["in a build", "before any"],
)
def test_a_fault_of_the_machine_does_not_count(request_: BuildRequest, outcome: Outcome) -> None:
    error = failure(request_, Exit(1, 72.0), outcome)

    assert (error.cause, error.counts) == ("machine", False)
    assert error.what == f"this machine could not build it, 1:12 in: {GALAXY}"
    assert error.hint == (
        "ansible-galaxy: install it where reconciler runs, so that it is on PATH: `pipx install ansible-core`",
    )


@pytest.mark.parametrize("ended", [Exit(1, 1.0, cancelled=True), Exit(1, 1.0, timed_out=True)])
def test_what_was_stopped_was_stopped_whatever_it_said(request_: BuildRequest, ended: Exit) -> None:
    outcome = Outcome(1, errors=("write /tmp/x: no space left on device",))
    assert failure(request_, ended, outcome).cause in ("cancelled", "timed-out")


@pytest.mark.parametrize("unit", ["fork/exec /", 'exec: "', "dial tcp ", "a", "\n", ": ", "on x line 1 "])
def test_what_others_print_without_end_is_read_once(unit: str, tmp_path: Path) -> None:
    # Looked through anew from each of its beginnings, a quarter of this text took ten seconds.
    text = unit * (256_000 // len(unit))

    with cpu_seconds(5):
        assert fault([text], export=tmp_path) is None
        assert "\n" not in cause([text])
