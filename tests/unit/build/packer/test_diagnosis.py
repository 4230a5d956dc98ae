"""The line that a person needs, told from what Packer 1.6.6 and 1.16.0 really printed (`transcripts/`)."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.build.outcome import Outcome, Transcript
from reconciler.build.output import Reader
from reconciler.build.packer.diagnosis import LONGEST, Unknown, cause, place_of, unknown
from reconciler.build.secrets import redactor
from reconciler.model.errors import Place
from reconciler.registries.ec2.dialect import DIALECT

TRANSCRIPTS = Path(__file__).parent / "transcripts"
BOTH = ("1.6.6", "1.16.0")


def outcome(version: str, case: str) -> Outcome:
    reader, transcript = Reader(), Transcript(redactor(()), DIALECT)
    for line in (*reader.feed((TRANSCRIPTS / version / f"{case}.txt").read_bytes()), *reader.close()):
        transcript.take(line)
    return transcript.outcome(1)


def in_a_build(version: str, case: str) -> str:
    (failing,) = outcome(version, case).failures
    return cause([failing.error])


def before_any_build(version: str, case: str) -> str:
    found = outcome(version, case)
    assert found.failures == ()
    return cause(found.errors)


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize(
    ("case", "begins"),
    [
        ("source-not-there", "Error querying AMI: InvalidAMIID.NotFound: The image id '[ami-0123456789abcdef0]' does"),
        ("cannot-describe", "Error querying AMI: AuthFailure: AWS was not able to validate the provided access cre"),
        ("create-image", "Error creating AMI: InvalidAMIName.Duplicate: AMI name web is already in use by AMI ami-0"),
        ("no-capacity", "Error launching source instance: InsufficientInstanceCapacity: We currently do not have s"),
        ("not-authorized", "Error launching source instance: UnauthorizedOperation: You are not authorized to perf"),
    ],
)
def test_an_error_of_aws_begins_with_its_cause_whichever_sdk_worded_it(case: str, begins: str, version: str) -> None:
    told = in_a_build(version, case)

    assert told.startswith(begins)
    assert len(told) <= LONGEST
    assert "\n" not in told


@pytest.mark.parametrize("version", BOTH)
def test_the_ids_of_a_request_come_last(version: str) -> None:
    told = in_a_build(version, "create-image")

    assert told.endswith("request id 8f7e1c6a-0b5e-4c0e-9d1f-2a3b4c5d6e7f)")
    assert told.index("status 400") > told.index("already in use by AMI ami-0aa11bb22cc33dd44")


@pytest.mark.parametrize("version", BOTH)
def test_who_may_not_do_what_to_which_resource_is_whole_and_the_encoded_block_left_to_the_log(version: str) -> None:
    told = in_a_build(version, "not-authorized")

    assert "not authorized to perform: ec2:RunInstances on resource: arn:aws:ec2:us-east-1:123456789012:inst" in told
    assert "because no identity-based policy allows the ec2:RunInstances action" in told
    assert "Encoded" not in told
    assert "aB3_" not in told


@pytest.mark.parametrize("version", BOTH)
def test_the_zones_that_have_room_are_not_cut_off(version: str) -> None:
    assert "choosing us-east-1b, us-east-1c" in in_a_build(version, "no-capacity")


@pytest.mark.parametrize(("version", "more"), [("1.6.6", 1), ("1.16.0", 2)])
def test_of_several_errors_in_a_list_the_first_is_told_and_the_others_are_counted(version: str, more: int) -> None:
    told = in_a_build(version, "post-processors")

    assert told.startswith("Post-processor failed: Script exited with non-zero exit status: 3.")
    assert told.endswith(f" (and {more} more)")


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("unknown-block.pkr.hcl", 'Unsupported block type: Blocks of type "bar" are not expected here'),
        ("several.pkr.hcl", 'Unsupported argument: An argument named "nonsense" is not expected here (and 1 more)'),
        ("two-errors.json", "unknown configuration key: '\"a\"' (and 1 more)"),
    ],
)
def test_a_mistake_in_a_template_is_told_with_what_explains_it(case: str, told: str, version: str) -> None:
    assert before_any_build(version, case) == told


@pytest.mark.parametrize("version", BOTH)
def test_a_template_for_another_packer_is_told_with_the_version_that_ran(version: str) -> None:
    assert before_any_build(version, "too-old.pkr.hcl").endswith(f"does not support Packer version {version}")
    assert before_any_build(version, "too-old.json").endswith(f"1.99.0 or higher; using {version}")


@pytest.mark.parametrize("case", ["missing-plugin.json", "missing-plugin.pkr.hcl"])
def test_a_count_of_errors_is_never_the_line_that_is_told(case: str) -> None:
    assert before_any_build("1.6.6", case) == "ami_name must be specified (and 5 more)"


@pytest.mark.parametrize("version", BOTH)
def test_json_that_cannot_be_read_is_told_without_the_advice_above_it(version: str) -> None:
    assert "Error parsing JSON: unexpected end of JSON input" in before_any_build(version, "unclosed.json")
    assert "https://" not in before_any_build(version, "unclosed.json")


@pytest.mark.parametrize(("version", "line"), [("1.6.6", 2), ("1.16.0", 1)])
def test_the_place_is_the_one_that_packer_names_first(version: str, line: int) -> None:
    assert place_of(outcome(version, "unclosed.pkr.hcl").errors) == Place("unclosed.pkr.hcl", line)


@pytest.mark.parametrize(
    ("version", "case", "found"),
    [
        ("1.16.0", "missing-plugin.json", Unknown(("amazon-ebs",))),
        ("1.16.0", "missing-plugin.pkr.hcl", Unknown(("amazon-ebs", "ansible"))),
        ("1.16.0", "missing-required.pkr.hcl", Unknown(requirements=("github.com/hashicorp/amazon >= 1.2.8",))),
        ("1.16.0", "other-components.pkr.hcl", Unknown(("goss-ami", "goss"))),
        ("1.16.0", "other-post-processor.pkr.hcl", Unknown(("goss",))),
        ("1.16.0", "other-builder.json", Unknown(("goss",))),
        ("1.6.6", "other-builder.json", Unknown(("goss",))),
        ("1.6.6", "other-post-processor.pkr.hcl", Unknown(("goss",))),
    ],
)
def test_what_no_plugin_was_found_for_is_told_from_packers_words(version: str, case: str, found: Unknown) -> None:
    assert unknown(outcome(version, case).errors) == found


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("case", ["slip.pkr.hcl", "several.pkr.hcl", "too-old.json", "unclosed.pkr.hcl"])
def test_a_slip_of_the_pen_and_other_mistakes_are_no_missing_plugin(case: str, version: str) -> None:
    assert not unknown(outcome(version, case).errors)


NESTED = (
    "Error launching source instance: operation error EC2: RunInstances, get identity: get credentials: failed to "
    "refresh cached credentials, operation error STS: AssumeRole, https response error StatusCode: 403, RequestID: "
    "0b5e, api error AccessDenied: User: arn:aws:iam::1:user/x is not authorized to perform: sts:AssumeRole"
)
RETRIED = (
    "operation error EC2: DescribeImages, exceeded maximum number of attempts, 3, https response error "
    "StatusCode: 503, RequestID: 1f2e, api error RequestLimitExceeded: Request limit exceeded."
)
UNREACHED = (
    "operation error STS: GetCallerIdentity, https response error StatusCode: 0, RequestID: , request send failed, "
    'Post "https://sts.us-east-1.amazonaws.com/": dial tcp: lookup sts.us-east-1.amazonaws.com: no such host'
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (NESTED, "Error launching source instance: AccessDenied: User: arn:aws:iam::1:user/x is not authorized"),
        (RETRIED, "RequestLimitExceeded: Request limit exceeded. (EC2 DescribeImages, status 503, request id 1f2e)"),
        (UNREACHED, 'request send failed, Post "https://sts.us-east-1.amazonaws.com/": dial tcp: lookup sts'),
        ("2 errors occurred:\n\t* a\n\t  goes on\n\t* b\n\n", "a goes on (and 1 more)"),
        ("2 error(s) occurred:\n\n* same\n* same", "same"),
        ("1 error(s) occurred:\n\n* 1 error occurred:\n\t* deep", "deep"),
        ("5 * 3 is no list, and neither is a * b", "5 * 3 is no list, and neither is a * b"),
        ("3 error(s) occurred:", "3 error(s) occurred:"),
        ("", ""),
        ("\n \n", ""),
        ("Error: ", ""),
    ],
)
def test_causes_are_found_in_other_wordings(text: str, told: str) -> None:
    assert cause([text]).startswith(told)
    assert bool(cause([text])) == bool(told)


def test_a_cause_of_any_length_is_cut_to_one_that_can_be_told() -> None:
    told = cause(["Error: " + "x" * 5000 + "\n\n" + "y" * 5000, "Error: b"])

    assert len(told) == LONGEST
    assert told.endswith("… (and 1 more)")
