"""What a run of Packer came to, from lines as Packer 1.6.6 printed them."""

from __future__ import annotations

import pytest

from reconciler.build.outcome import Outcome, Transcript
from reconciler.build.output import Reader
from reconciler.build.provisioner import is_step, provisioner_of
from reconciler.build.secrets import redactor
from reconciler.ports.builder import Provisioner
from reconciler.ports.dialect import Made
from reconciler.registries.ec2.dialect import DIALECT


def outcome(output: str, *, exit_code: int = 0, secrets: tuple[str, ...] = ()) -> Outcome:
    reader, transcript = Reader(), Transcript(redactor(secrets), DIALECT)
    for line in (*reader.feed(output.encode()), *reader.close()):
        transcript.take(line)
    return transcript.outcome(exit_code)


def test_an_image_in_two_regions_reported_by_two_post_processors_is_two_artifacts() -> None:
    seen = outcome(
        """1,amazon-ebs.w,artifact-count,2
1,amazon-ebs.w,artifact,0,builder-id,mitchellh.amazonebs
1,amazon-ebs.w,artifact,0,id,eu-west-1:ami-09ea%!(PACKER_COMMA)us-east-1:ami-2ac4
1,amazon-ebs.w,artifact,0,end
1,amazon-ebs.w,artifact,1,builder-id,mitchellh.amazonebs
1,amazon-ebs.w,artifact,1,id,eu-west-1:ami-09ea%!(PACKER_COMMA)us-east-1:ami-2ac4
1,amazon-ebs.w,artifact,1,end
"""
    )

    assert seen.artifacts == (Made("amazon-ebs.w", "mitchellh.amazonebs", "eu-west-1:ami-09ea,us-east-1:ami-2ac4"),)
    assert [(one.kind, one.location, one.id) for one in DIALECT.artifacts(seen.artifacts[0])] == [
        ("ami", "eu-west-1", "ami-09ea"),
        ("ami", "us-east-1", "ami-2ac4"),
    ]


def test_builds_of_one_run_keep_their_artifacts_apart() -> None:
    seen = outcome(
        """1,a,artifact,0,id,us-gov-west-1:ami-1
1,b,artifact,0,id,web:v2
1,b,artifact,0,builder-id,packer.post-processor.docker-tag
1,b,artifact,0,end
1,a,artifact,0,end
"""
    )

    assert seen.artifacts == (
        Made("b", "packer.post-processor.docker-tag", "web:v2"),
        Made("a", "", "us-gov-west-1:ami-1"),
    )


@pytest.mark.parametrize(
    "lines",
    [
        "1,a,artifact,0,nil\n1,a,artifact,0,end\n",
        "1,a,artifact,0,builder-id,fnoeding.null\n1,a,artifact,0,id,Null\n1,a,artifact,0,end\n",
        "1,a,artifact,0,id,us-east-1:ami-1\n",
    ],
    ids=["nil", "of the null builder", "without an end"],
)
def test_what_is_no_whole_artifact_counts_for_nothing(lines: str) -> None:
    assert outcome(lines).artifacts == ()


def test_a_file_is_named_by_its_path() -> None:
    seen = outcome(
        "1,f,artifact,0,builder-id,packer.file\n1,f,artifact,0,id,File\n"
        "1,f,artifact,0,file,0,out/a%!(PACKER_COMMA)b\n1,f,artifact,0,end\n"
    )

    assert seen.artifacts == (Made("f", "packer.file", "out/a,b", ("out/a,b",)),)


FAILED = """1,,ui,say,==> web: Launching a source AWS instance...
1,,ui,message,    web: Found Image ID: ami-1e749f67
1,,ui,say,==> web: Provisioning with shell script: setup.sh
1,,ui,message,    web: Reading package lists...
1,,ui,error,==> web: E: Unable to locate package
1,,ui,say,==> web: Provisioning step had errors: Running the cleanup provisioner%!(PACKER_COMMA) if present...
1,,ui,say,==> web: Terminating the source AWS instance...
1,,error-count,1
1,web,error,Script exited with non-zero exit status: 100.
"""


def test_the_failing_provisioner_and_its_last_lines_are_those_before_the_clean_up() -> None:
    (failing,) = outcome(FAILED, exit_code=1).failures

    assert failing.provisioner == Provisioner("shell", "setup.sh")
    assert failing.tail[-2:] == ("Reading package lists...", "E: Unable to locate package")
    assert failing.error == "Script exited with non-zero exit status: 100."


def test_what_a_script_said_on_stderr_is_told_though_forty_lines_of_stdout_came_after() -> None:
    """Packer passes the two on as they come, and stderr is not buffered."""
    stdout = "".join(f"1,,ui,message,    web: line {number}\n" for number in range(40))
    (failing,) = outcome(
        "1,,ui,say,==> web: Provisioning with shell script: setup.sh\n1,,ui,error,==> web: boom\n"
        f"{stdout}1,web,error,Script exited with non-zero exit status: 7.\n",
        exit_code=1,
    ).failures

    assert (len(failing.tail), failing.tail[0], failing.tail[-1]) == (20, "boom", "line 39")


def test_what_an_earlier_provisioner_said_is_not_told_of_the_one_that_failed() -> None:
    (failing,) = outcome(
        """1,,ui,say,==> web: Provisioning with shell script: first.sh
1,,ui,error,==> web: a warning of the first
1,,ui,message,    web: done
1,,ui,say,==> web: Provisioning with shell script: second.sh
1,,ui,message,    web: begun
1,,ui,error,==> web: boom
1,web,error,Script exited with non-zero exit status: 7.
""",
        exit_code=1,
    ).failures

    assert failing.provisioner == Provisioner("shell", "second.sh")
    assert failing.tail == ("Provisioning with shell script: second.sh", "begun", "boom"), "and no line twice"


def test_what_belongs_to_no_build_is_told_without_what_frames_it() -> None:
    seen = outcome(
        """1,,ui,error,Error: Unsupported argument
1,,ui,say,
1,,ui,say,==> Wait completed after 3 seconds
1,,ui,say,Build 'web' errored after 3 seconds
1,,ui,say,--> web: an artifact
""",
        exit_code=1,
    )

    assert seen.general == ("Error: Unsupported argument",)


def test_a_failure_after_provisioning_is_not_the_provisioners() -> None:
    (failing,) = outcome(
        """1,,ui,say,==> web: Provisioning with shell script: setup.sh
1,,ui,say,==> web: Stopping the source instance...
1,,ui,error,==> web: Error stopping instance
1,web,error,Error stopping instance
""",
        exit_code=1,
    ).failures

    assert failing.provisioner is None


def test_the_source_that_was_really_used_is_known() -> None:
    assert outcome(FAILED).sources == {"web": "ami-1e749f67"}


def test_a_cancelled_run_is_known_by_packers_own_words_only() -> None:
    assert outcome("1,,ui,say,Cleanly cancelled builds after being interrupted.\n").cancelled
    assert not outcome("1,,ui,message,    web: Cleanly cancelled builds after being interrupted.\n").cancelled


def test_only_noise_is_not_packer() -> None:
    assert not outcome("hello\n").spoke
    assert outcome("hello\n1,,ui,say,x\n").spoke


def test_only_the_last_lines_are_kept() -> None:
    lines = "".join(f"1,,ui,message,    web: line {number}\n" for number in range(1000))

    assert outcome(lines).tail == tuple(f"line {number}" for number in range(980, 1000))


def test_a_private_key_that_scrolled_out_of_the_tail_is_still_a_key() -> None:
    body = "".join(f"1,,ui,message,    web: key-body-{number}\n" for number in range(25))

    seen = outcome("1,,ui,message,    web: -----BEGIN RSA PRIVATE KEY-----\n" + body)

    assert set(seen.tail) == {"<redacted>"}


@pytest.mark.parametrize(
    ("headline", "provisioner"),
    [
        ("Provisioning with shell script: ./a b.sh", Provisioner("shell", "./a b.sh")),
        ("Provisioning with shell script: /tmp/packer-shell2125573875", Provisioner("shell")),
        ("Running local shell script: x.sh", Provisioner("shell-local", "x.sh")),
        ("Provisioning with powershell script: C:/t/powershell-provisioner12", Provisioner("powershell")),
        ("Provisioning with Ansible...", Provisioner("ansible")),
        ("Executing Ansible: ansible-playbook -e a=b -i /tmp/inv /x/play.yml", Provisioner("ansible", "/x/play.yml")),
        ("Uploading app.conf => /tmp/app.conf", Provisioner("file", "app.conf")),
        ("Launching a source AWS instance...", None),
    ],
)
def test_provisioners_are_known_by_their_headline(headline: str, provisioner: Provisioner | None) -> None:
    assert provisioner_of(headline) == provisioner


def test_from_1_13_on_only_known_headlines_are_steps() -> None:
    assert is_step("Doing something of its own", (1, 12, 0))
    assert not is_step("Reading package lists...", (1, 13, 0))
    assert is_step("Waiting for AMI to become ready...", (1, 16, 0))


def test_of_a_long_line_what_is_told_is_short() -> None:
    seen = outcome(f"1,,ui,say,    web: {'x' * 5000}\n1,web,error,{'y' * 5000}\n{'z' * 5000}\n", exit_code=1)

    assert seen.tail == (f"{'x' * 1000} … (4000 more characters)",)
    assert seen.failures[0].error == f"{'y' * 1000} … (4000 more characters)"
    assert seen.general == (f"{'z' * 1000} … (4000 more characters)",)


def test_a_build_that_fails_after_its_image_was_made_tells_which_it_was() -> None:
    """Packer reports no artifact of it: what it printed is all there is."""
    seen = outcome(
        """1,,ui,say,==> amazon-ebs.w: Creating AMI web from instance i-1
1,,ui,message,    amazon-ebs.w: AMI: ami-0abc
1,,ui,say,==> amazon-ebs.w: Waiting for AMI to become ready...
1,,ui,message,    amazon-ebs.w (shell-local): the AMI: ami-0def is not it
1,,ui,error,Build 'amazon-ebs.w' errored: 1 error(s) occurred
1,amazon-ebs.w,error,Post-processor failed: exit status 1
""",
        exit_code=1,
    )

    assert (seen.artifacts, seen.left) == ((), ("ami-0abc",))


def test_the_first_source_that_a_build_names_is_the_one_it_looked_up() -> None:
    """Packer looks it up before a script of the template can print anything."""
    seen = outcome(
        """1,,ui,message,    amazon-ebs.w: Found Image ID: ami-0abc
1,,ui,message,    amazon-ebs.w: Found Image ID: ami-0bad
"""
    )

    assert seen.sources == {"amazon-ebs.w": "ami-0abc"}
