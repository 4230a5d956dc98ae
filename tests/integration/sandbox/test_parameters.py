"""SSM parameters as consumers of AMIs find them: looked up late, of a type that stays, fenced as docs/iam says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest

from reconciler.aws.clock import Clock
from reconciler.aws.session import Clients
from reconciler.model.declaration import AwsSettings
from reconciler.model.errors import Terminal
from reconciler.registries.ec2.parameters import Parameters
from reconciler.sandbox.handle import Sandbox

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

pytestmark = pytest.mark.sandbox

POLICIES = Path(__file__).parents[3] / "docs/iam"
FLEET, REGION, NAME = "acme/images", "us-east-1", "/images/web/stable"
LOOK = '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "ec2:DescribeImages", "Resource": "*"}}'


def aws(sandbox: Sandbox, service: str) -> Any:
    exported = sandbox.environment
    make: Any = boto3.client
    return make(
        service, region_name=REGION, endpoint_url=sandbox.endpoint,
        aws_access_key_id=exported["AWS_ACCESS_KEY_ID"], aws_secret_access_key=exported["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip


@contextmanager
def user(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, name: str, *documents: str) -> Iterator[None]:
    """Be a user with policies of this fleet, and have IAM enforced meanwhile."""
    iam = aws(sandbox, "iam")
    iam.create_user(UserName=name)
    for number, document in enumerate(documents):
        whole = document.replace("FLEET", FLEET).replace("ACCOUNT", "123456789012")
        iam.put_user_policy(UserName=name, PolicyName=f"p{number}", PolicyDocument=whole)
    made = iam.create_access_key(UserName=name)["AccessKey"]
    keys = {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}
    for key, value in {**sandbox.environment, **keys}.items():
        monkeypatch.setenv(key, value)
    sandbox.enforce_iam()
    yield
    sandbox.enforce_iam(enforced=False)
    iam.delete_access_key(UserName=name, AccessKeyId=made["AccessKeyId"])
    for number, _ in enumerate(documents):
        iam.delete_user_policy(UserName=name, PolicyName=f"p{number}")
    iam.delete_user(UserName=name)


@pytest.fixture
def become(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Parameters]]:
    """Be a user with policies, and have IAM enforced."""
    with ExitStack() as stack:

        def as_user(name: str, *documents: str) -> Parameters:
            stack.enter_context(user(sandbox, monkeypatch, name, *documents))
            return Parameters(Clients(AwsSettings(), attempts=1), fleet=FLEET, clock=Clock(sleep=lambda _: None))

        yield as_user


@pytest.fixture
def ssm(sandbox: Sandbox) -> Iterator[Any]:
    client = aws(sandbox, "ssm")
    yield client
    sandbox.enforce_iam(enforced=False)
    for name in (NAME, "/images/theirs", "/others/web"):
        client.delete_parameters(Names=[name])


def document(name: str) -> str:
    return (POLICIES / name).read_text()


def publish(parameters: Parameters, name: str, image: str) -> None:
    version = parameters.put(REGION, name, image, description="web stable")
    parameters.confirm(REGION, name, image, version=version)


def test_with_the_policy_channels_are_published_written_anew_and_withdrawn(
    become: Callable[..., Parameters], ssm: Any, ec2: EC2Client, debian: str
) -> None:
    other = ec2.register_image(Name="web-published")["ImageId"]
    parameters = become("publishes", LOOK, document("publish.json"))
    publish(parameters, NAME, debian)
    publish(parameters, NAME, other)
    assert parameters.read(REGION, [NAME])[NAME].value == other
    assert parameters.is_ours(REGION, NAME)
    parameters.remove(REGION, NAME)
    assert parameters.read(REGION, [NAME]) == {}


def test_without_the_right_to_look_at_images_nothing_is_written_and_that_is_asked_for(
    become: Callable[..., Parameters], ssm: Any, debian: str
) -> None:
    parameters = become("blind", document("publish.json"))
    with pytest.raises(Terminal) as caught:
        publish(parameters, NAME, debian)
    assert "ec2:DescribeImages" in caught.value.hint[0]


def test_what_others_have_stays_theirs(
    become: Callable[..., Parameters], sandbox: Sandbox, ssm: Any, debian: str
) -> None:
    theirs = {"Type": "String", "Value": "secret", "Tags": [{"Key": "reconciler:fleet", "Value": "others/images"}]}
    for name in ("/images/theirs", "/others/web"):
        ssm.put_parameter(Name=name, **theirs)
    parameters = become("curious", LOOK, document("publish.json"))
    with pytest.raises(Terminal, match="not allowed"):
        parameters.read(REGION, ["/others/web"])
    with pytest.raises(Terminal, match="not allowed"):
        parameters.put(REGION, "/others/new", debian, description="")
    with pytest.raises(Terminal, match="is not deleted"):
        parameters.remove(REGION, "/images/theirs")
    # Past our own check, which refuses before SSM could.
    with pytest.raises(Exception, match="AccessDenied"):
        parameters._ssm(REGION).delete_parameter(Name="/images/theirs")


def test_whoever_only_reads_writes_nothing(become: Callable[..., Parameters], ssm: Any, debian: str) -> None:
    parameters = become("reads", LOOK, document("publish-read.json"))
    assert parameters.read(REGION, [NAME]) == {}
    with pytest.raises(Terminal, match="not allowed: ssm:PutParameter"):
        parameters.put(REGION, NAME, debian, description="")


def test_a_data_type_stays_what_it_is(ssm: Any, debian: str) -> None:
    ssm.put_parameter(Name=NAME, Value=debian, Type="String")
    with pytest.raises(Exception, match="can't be changed"):
        ssm.put_parameter(Name=NAME, Value=debian, Type="String", DataType="aws:ec2:image", Overwrite=True)
