"""The sandbox's reports of who uses an image in other accounts, as EC2 documents them."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import boto3
import botocore.session
import pytest

from reconciler.sandbox import usage_reports
from reconciler.sandbox.handle import Sandbox
from tests.integration.sandbox.conftest import check_answer

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

OTHER, US = "222222222222", "us-east-1"
TYPES = ["ec2:Instance", "ec2:LaunchTemplate"]

pytestmark = pytest.mark.sandbox


def of_another(sandbox: Sandbox) -> EC2Client:
    """EC2 as another account has it."""
    mine = {name.lower(): sandbox.environment[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    sts = boto3.client("sts", region_name=US, endpoint_url=sandbox.endpoint, **mine)  # type: ignore[call-overload]  # keys
    keys = sts.assume_role(RoleArn=f"arn:aws:iam::{OTHER}:role/theirs", RoleSessionName="theirs")["Credentials"]
    return boto3.client(
        "ec2", region_name=US, endpoint_url=sandbox.endpoint, aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"], aws_session_token=keys["SessionToken"],
    )  # fmt: skip


def ask(ec2: EC2Client, image: str, token: str, *, depth: int | None = None) -> str:
    types = [{"ResourceType": one} for one in TYPES]
    if depth is not None:
        option = {"OptionName": "version-depth", "OptionValues": [str(depth)]}
        types[1] |= {"ResourceTypeOptions": [option]}  # type: ignore[dict-item]  # what it takes
    asked = ec2.create_image_usage_report(ImageId=image, ResourceTypes=types, ClientToken=token)  # type: ignore[arg-type]  # as above
    return asked["ReportId"]


def used(ec2: EC2Client, report: str) -> dict[tuple[str, str], int]:
    ec2.describe_image_usage_reports(ReportIds=[report])
    entries = ec2.describe_image_usage_report_entries(ReportIds=[report])["ImageUsageReportEntries"]
    return {(one["AccountId"], one["ResourceType"]): one["UsageCount"] for one in entries}


def test_every_call_and_answer_is_of_the_form_that_aws_says(healthy: Sandbox, ec2: EC2Client) -> None:
    model = botocore.session.get_session().get_service_model("ec2")
    checked: set[str] = set()
    image = ec2.register_image(Name="reported")["ImageId"]
    of_another(healthy).create_launch_template(LaunchTemplateName="theirs", LaunchTemplateData={"ImageId": image})
    ec2.meta.events.register("after-call.ec2", partial(check_answer, checked))
    report = ask(ec2, image, "one", depth=10000)
    assert ask(ec2, image, "one") == report
    (first,) = ec2.describe_image_usage_reports(ImageIds=[image])["ImageUsageReports"]
    (second,) = ec2.describe_image_usage_reports(ImageIds=[image])["ImageUsageReports"]
    assert (first["State"], second["State"]) == ("pending", "available")
    assert used(ec2, report) == {(OTHER, "ec2:LaunchTemplate"): 1}
    ec2.delete_image_usage_report(ReportId=report)

    names = {model.operation_model(name).name for name in model.operation_names}
    served = {handler.__name__.replace("_", "") for handler in usage_reports.HANDLERS}
    assert {name for name in names if name.lower() in served} == checked
    of_another(healthy).delete_launch_template(LaunchTemplateName="theirs")


def test_only_other_accounts_count_and_old_versions_as_far_as_is_asked(healthy: Sandbox, ec2: EC2Client) -> None:
    image, newer = (ec2.register_image(Name=name)["ImageId"] for name in ("old", "newer"))
    theirs = of_another(healthy)
    for who in (ec2, theirs):
        who.create_launch_template(LaunchTemplateName="deep", LaunchTemplateData={"ImageId": image})
        for _ in range(3):
            who.create_launch_template_version(LaunchTemplateName="deep", LaunchTemplateData={"ImageId": newer})
    assert used(ec2, ask(ec2, image, "shallow", depth=2)) == {}
    assert used(ec2, ask(ec2, image, "deep", depth=10000)) == {(OTHER, "ec2:LaunchTemplate"): 1}
    for who in (ec2, theirs):
        who.delete_launch_template(LaunchTemplateName="deep")
