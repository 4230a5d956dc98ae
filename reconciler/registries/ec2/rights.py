"""What each role may do in AWS, as IAM policies. docs/iam holds them with words in place of names.

Everything that is made is fenced by the tags that it is made with (`aws:RequestTag`), everything that is touched by
those that it has (`aws:ResourceTag`). UNFENCED says of every other statement why it is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

Role = Literal["plan", "preview", "reconcile"]
"""Who only reads; who builds what a branch would change; who builds, records, promotes and retires."""
ROLES: tuple[Role, ...] = get_args(Role)
Policy = dict[str, Any]

UNFENCED: Mapping[str, str] = {
    "ReadImagesAndWhoUsesThem": "AWS restricts none by resource, and the Recycle Bin's rules are the account's.",
    "ReadWhoseKeysEncrypt": "A key carries no tag of ours, and is not used: who manages it is read.",
    "ReadParametersOfImages": "Sources and others' publications carry no tag of ours. Fenced by their names.",
    "EC2ReadsTexts": "Whose a parameter is no tag says. EC2 alone reads it, on behalf of the role.",
    "ReadWhatBuildsLeft": "EC2 restricts none of these Describe calls by resource.",
    "Read": "EC2 restricts none of these Describe calls by resource.",
    "BootAnyImage": "What a build starts from is others', with no tag of ours, and images are only read.",
    "BootInNamedSubnets": "A subnet is the account's, and serves several. Fenced by id with --subnet.",
    "GroupsAreMadeInAVpc": "A VPC is the account's. The group that is made in it is fenced.",
    "WithDisksAndInterfaces": "Not every template tags them. The instance is fenced, in the same call.",
    "ImagesAndSnapshotsAreMade": "Packer 1.6 tags them later. What they are made of is fenced, in the same call.",
    "TagWhatIsBeingMade": "Only within the call that makes it, which is fenced, and never in another fleet's name.",
    "BootWithoutTags": "Nothing tells these from others' instances. Never in another fleet's name.",
    "ImageAndEndWhatHasNoName": "Nothing tells these from others' that have neither a fleet nor a name.",
    "UseAndRemoveGroupsWithoutName": "Nothing tells these from others' that have neither a fleet nor a name.",
    "MakePackersKeysAndGroups": "Packer 1.6 tags neither. Keys are fenced by name.",
    "UseAndRemovePackersKeys": "Packer 1.6 tags no key. Fenced by name.",
    "ReadWhatIsPublished": "Whose a parameter is has to be found out. Fenced by name with --publish.",
    "ReadWhatConsumersLaunchOn": "AWS restricts neither of these lists by resource.",
    "LaunchWhatTemplatesName": "Only by a launch template, and that is fenced in the same call.",
    "PublishAnew": "SSM asks for no tag of what is overwritten. Fenced by name, and the controller looks first.",
    "ListDisks": "S3 asks for it without a prefix, too, before it says that there is no such object. Else by prefix.",
    "ReadDisks": "S3's objects carry no tag of ours. Fenced by bucket and prefix.",
    "StoreDisksOnce": "As above, and only where there is no object of that name yet.",
    "MarkDisks": "As above, and only marks, and only over those that were read.",
    "UploadDisksInParts": "As above; none of these calls makes an object.",
    "AbortUploadsOfDisks": "As above; nothing is lost by it but what is not complete.",
    "RetireDisks": "As above. The controller checks the fleet and the image in its marks before it asks.",
    "TagImagesOfNoFleet": "An image that is born without tags has to be tagged once. Fenced: it has no fleet's yet.",
}
"""By statement: why no tag fences it for sure. A test holds that there is no other."""

_FLEET, _PURPOSE, _VERDICT, _PHASE = (f"reconciler:{name}" for name in ("fleet", "purpose", "verdict", "phase"))
_READ = (
    "DescribeInstanceStatus", "DescribeInstanceTypeOfferings", "DescribeKeyPairs",
    "DescribeRegions", "DescribeSecurityGroups", "DescribeSubnets", "DescribeTags", "DescribeVolumes", "DescribeVpcs",
)  # fmt: skip
_MAKING = (
    "CopyImage", "CreateImage", "CreateImageUsageReport", "CreateKeyPair", "CreateSecurityGroup", "ImportKeyPair",
    "RunInstances",
)  # fmt: skip
_BUILDER = "Packer Builder"


@dataclass(frozen=True)
class Account:
    """Where the roles are, and what is theirs there."""

    fleet: str
    account: str
    parameters: str = "/images/"
    """Where the account's own SSM parameters begin that sources come from."""
    subnets: Sequence[str] = ()
    """The only ones in which builds and smoke tests boot; any, if there are none."""
    partition: str = "aws"
    published: str = ""
    """Where the names of the SSM parameters begin that channels are written to; empty where none are."""
    disks: Sequence[str] = ()
    """The prefixes of buckets that disks are kept below, as `s3://bucket/prefix`."""


def policy(role: Role, at: Account, *, untagged_builds: bool = False) -> Policy:
    """What a role may do. With `untagged_builds` also what builds without tags need (`untagged`)."""
    statements = _reading(at)
    if role == "plan":
        left = ["DescribeKeyPairs", "DescribeSecurityGroups", "DescribeTags", "DescribeVolumes"]
        statements += [_statement("ReadWhatBuildsLeft", left, ["*"])]
    else:
        statements += [*_images(at), *_smoke_test(at), *_builds(at)]
        statements += [*_care(at), *_retiring(at), *_votes()] if role == "reconcile" else _judged()
        statements += _untagged(at) if untagged_builds else []
    statements += _publishing(at, writes=role == "reconcile") if at.published else []
    statements += _disks(role, at) if at.disks else []
    return {"Version": "2012-10-17", "Statement": statements}


def publishing(role: Role, at: Account) -> Policy:
    """What a role needs beside it where channels are written to SSM parameters: `reconcile` to write, all to read."""
    return {"Version": "2012-10-17", "Statement": _publishing(at, writes=role == "reconcile")}


def disks(role: Role, at: Account) -> Policy:
    """What a role needs beside it where disks are kept in buckets."""
    return {"Version": "2012-10-17", "Statement": _disks(role, at)}


def untagged(at: Account) -> Policy:
    """What templates need beside it that take no `run_tags`, or that Packer 1.6 builds, which tags no keys or groups.

    It keeps away from what has a name or a fleet, and from nothing else: a template that takes them is better.
    """
    return {"Version": "2012-10-17", "Statement": _untagged(at)}


def _reading(at: Account) -> list[Policy]:
    parameters = (f"arn:{at.partition}:ssm:*::parameter/aws/service/*",
                  f"arn:{at.partition}:ssm:*:{at.account}:parameter/{at.parameters.strip('/')}/*")  # fmt: skip
    return [
        # One statement for what has no fence, and each pattern is of the two calls that it says: a role's inline
        # policies have little room.
        {"Sid": "ReadImagesAndWhoUsesThem", "Effect": "Allow",
         "Action": ["ec2:DescribeFleets", "ec2:DescribeImageReferences", "ec2:DescribeImageUsageReport*",
                    "ec2:DescribeImages", "ec2:DescribeInstances", "ec2:DescribeLaunchTemplate*",
                    "ec2:DescribeSnapshots", "ec2:DescribeSpotFleetRequests", "ec2:GetImageBlockPublicAccessState",
                    "ec2:List*InRecycleBin", "autoscaling:DescribeAutoScalingGroups",
                    "autoscaling:DescribeLaunchConfigurations", "imagebuilder:List*Recipes", "rbin:GetRule",
                    "rbin:ListRules", "ssm:DescribeParameters"],
         "Resource": "*"},
        _statement("ReadWhoMayLaunchImagesOfThisFleet", ["DescribeImageAttribute"], [_arn(at, "image")],
                   {"StringEquals": _has(at)}),
        {"Sid": "ReadWhoseKeysEncrypt", "Effect": "Allow",
         "Action": ["kms:DescribeKey", "kms:GetKeyPolicy", "kms:ListGrants"],
         "Resource": f"arn:{at.partition}:kms:*:{at.account}:key/*"},
        {"Sid": "ReadParametersOfImages", "Effect": "Allow", "Action": ["ssm:GetParameter", "ssm:GetParameters"],
         "Resource": list(parameters)},
        # EC2 reads these for itself, with the caller's rights: the texts come to nobody else.
        {"Sid": "EC2ReadsTexts", "Effect": "Allow", "Action": "ssm:GetParameters", "Resource": "*",
         "Condition": {"ForAnyValue:StringEquals": {"aws:CalledVia": "ec2-images.amazonaws.com"}}},
    ]  # fmt: skip


def _images(at: Account) -> list[Policy]:
    """Copies, and the tags of what is ours."""
    both = [_arn(at, "image"), _arn(at, "snapshot")]
    made = {"StringEquals": {"ec2:CreateAction": list(_MAKING)}, "StringEqualsIfExists": _asked(at)}
    ours = {"StringEquals": _has(at), "StringEqualsIfExists": _asked(at)}
    return [
        _statement("CopyToOtherRegions", ["CopyImage"], both, {"StringEquals": _asked(at)}),
        _statement("TagWhatIsBeingMade", ["CreateTags"], ["*"], made),
        _statement("TagImagesOfThisFleet", ["CreateTags"], both, ours),
    ]  # fmt: skip


def _smoke_test(at: Account) -> list[Policy]:
    tested = {f"aws:ResourceTag/{_PURPOSE}": "smoke-test"}
    wanted = {f"aws:RequestTag/{_PURPOSE}": "smoke-test"}
    instances = [_arn(at, "instance")]
    return [
        _statement("SmokeTestBringsItsOwnKey", ["ImportKeyPair"], [_arn(at, "key-pair", "smoke-test-*")],
                   {"StringEquals": {**_asked(at), **wanted}}),
        _statement("SmokeTestReadsItsInstances", ["GetConsoleOutput"], instances,
                   {"StringEquals": {**_has(at), **tested}}),
        _statement("SmokeTestKeepsItsInstances", ["CreateTags"], instances,
                   {"StringEquals": {**_has(at), **tested}, "StringEqualsIfExists": {**_asked(at), **wanted}}),
    ]  # fmt: skip


def _builds(at: Account) -> list[Policy]:
    """What Packer's amazon-ebs and the smoke test boot and make, and end."""
    of_ours, named = {"StringEquals": _has(at)}, {"StringEquals": _asked(at)}
    at_most = {"StringEqualsIfExists": _asked(at)}
    instance, group, key = _arn(at, "instance"), _arn(at, "security-group"), _arn(at, "key-pair")
    made = [_arn(at, kind) for kind in ("network-interface", "volume")]
    subnets = [_arn(at, "subnet", one) for one in at.subnets] or [_arn(at, "subnet")]
    return [
        _statement("Read", list(_READ), ["*"]),
        _statement("MakeKeysAndGroups", ["CreateKeyPair", "CreateSecurityGroup"], [key, group], named),
        _statement("GroupsAreMadeInAVpc", ["CreateSecurityGroup"], [_arn(at, "vpc")]),
        _statement("BootInstancesOfThisFleet", ["RunInstances"], [instance], named),
        # With the instance, and gone with it: only RunInstances makes them here.
        _statement("WithDisksAndInterfaces", ["RunInstances"], made, at_most),
        _statement("WithKeysAndGroupsOfThisFleet", ["RunInstances"], [key, group], of_ours),
        # No snapshot: EC2 asks for one only where a call names it, and then it is read.
        _statement("BootAnyImage", ["RunInstances"], [_arn(at, "image")]),
        _statement("BootInNamedSubnets", ["RunInstances"], subnets),
        _statement("OpenAndRemoveGroupsOfThisFleet", ["AuthorizeSecurityGroupIngress", "DeleteSecurityGroup"],
                   [group], of_ours),
        _statement("RemoveKeysOfThisFleet", ["DeleteKeyPair"], [key], of_ours),
        _statement("ImageAndEndInstancesOfThisFleet",
                   ["CreateImage", "DeleteVolume", "ModifyInstanceAttribute", "StopInstances", "TerminateInstances"],
                   [instance, _arn(at, "volume")], of_ours),
        _statement("ImagesAndSnapshotsAreMade", ["CreateImage"], [_arn(at, "image"), _arn(at, "snapshot")], at_most),
    ]  # fmt: skip


def _care(at: Account) -> list[Policy]:
    """Who may launch what is ours, from when it is deprecated, whether it may be removed, or launched at all."""
    # Each pattern is of two calls, Disable… and Enable…: a role's inline policies have little room.
    calls = ["*ableImage", "*ableImageDeprecation", "*ableImageDeregistrationProtection", "CreateImageUsageReport",
             "ModifyImageAttribute"]  # fmt: skip
    return [
        _statement("CareForImagesOfThisFleet", calls, [_arn(at, "image")], {"StringEquals": _has(at)}),
        _statement("ReportWhoUsesThem", ["CreateImageUsageReport"], [_arn(at, "image-usage-report")],
                   {"StringEquals": _asked(at)}),
    ]  # fmt: skip


def _retiring(at: Account) -> list[Policy]:
    both = [_arn(at, "image"), _arn(at, "snapshot")]
    calls = ["DeregisterImage", "DeleteSnapshot", "Restore*FromRecycleBin"]
    return [_statement("RetireAndRestoreImagesOfThisFleet", calls, both, {"StringEquals": _has(at)})]


def _publishing(at: Account, *, writes: bool) -> list[Policy]:
    """Parameters below one prefix, and launch templates and Auto Scaling groups that are tagged so.

    PutParameter has no key for the tags of what is there, only whether it is there. Before a refresh Auto Scaling tries
    a launch with the caller's rights ("Permissions validation for ec2:RunInstances and iam:PassRole",
    https://docs.aws.amazon.com/autoscaling/ec2/userguide/ec2-auto-scaling-launch-template-permissions.html): what a
    build may launch anyhow, disks and interfaces and images, is not said again.
    """
    prefix = at.published.strip("/")
    names = [f"arn:{at.partition}:ssm:*:{at.account}:parameter/{prefix}/*" if prefix else "*"]

    def statement(sid: str, *actions: str, **conditions: Mapping[str, str]) -> Policy:
        said = _statement(sid, actions, names, conditions or None)
        return {**said, "Action": _alone([f"ssm:{action}" for action in actions])}

    reading = [
        statement("ReadWhatIsPublished", "GetParameters", "ListTagsForResource"),
        {"Sid": "ReadWhatConsumersLaunchOn", "Effect": "Allow",
         "Action": ["autoscaling:DescribeInstanceRefreshes", "ec2:DescribeInstanceTypes"], "Resource": "*"},
    ]  # fmt: skip
    if not writes:
        return reading
    return [
        *reading,
        statement(
            "PublishForTheFirstTime",
            "AddTagsToResource",
            "PutParameter",
            StringEquals=_asked(at),
            StringEqualsIfExists=_has(at),
        ),
        statement("PublishAnew", "PutParameter", StringEquals={"ssm:Overwrite": "true"}),
        statement(
            "KeepWhatThisFleetPublished",
            "*LabelParameterVersion",  # of two calls: to label, and to take a label off
            "DeleteParameter",
            "GetParameterHistory",
            StringEquals=_has(at),
        ),
        {
            # One statement for what one fence is round: a role's inline policies have little room.
            "Sid": "UseTemplatesAndGroupsOfThisFleet",
            "Effect": "Allow",
            "Action": [
                "autoscaling:RollbackInstanceRefresh",
                "autoscaling:StartInstanceRefresh",
                "ec2:CreateLaunchTemplateVersion",
                "ec2:DeleteLaunchTemplateVersions",
                "ec2:ModifyLaunchTemplate",
                "ec2:RunInstances",
            ],
            "Resource": [
                f"arn:{at.partition}:autoscaling:*:{at.account}:autoScalingGroup:*",
                _arn(at, "launch-template"),
            ],
            "Condition": {"StringEquals": _has(at)},
        },
        _statement(
            "LaunchWhatTemplatesName",
            ["RunInstances"],
            [_arn(at, kind) for kind in ("instance", "key-pair", "security-group", "subnet")],
            {"Null": {"ec2:LaunchTemplate": "false"}},
        ),
    ]


def _disks(role: Role, at: Account) -> list[Policy]:
    """Objects below prefixes, each written once, and marks beside them, each over those that were read.

    After "Enforce conditional writes on Amazon S3 buckets" (S3 user guide): calls of an upload in parts take no
    condition but the last, and are told by `s3:ObjectCreationOperation`.
    """
    below = [(*one.removeprefix("s3://").partition("/")[::2],) for one in at.disks]
    buckets = sorted({f"arn:{at.partition}:s3:::{bucket}" for bucket, _ in below})
    objects = [f"arn:{at.partition}:s3:::{bucket}/{prefix}/sha256:*" for bucket, prefix in below]

    def statement(
        sid: str, *actions: str, on: Sequence[str] = objects, condition: Mapping[str, Any] | None = None
    ) -> Policy:  # fmt: skip
        return {
            **_statement(sid, actions, on, condition), "Action": _alone([f"s3:{action}" for action in actions])
        }  # fmt: skip

    prefixes = sorted({f"{prefix}/*" for _, prefix in below})
    reading = [
        statement("ListDisks", "ListBucket", on=buckets, condition={"StringLikeIfExists": {"s3:prefix": prefixes}}),
        statement("ReadDisks", "GetObject"),
    ]
    if role == "plan":
        return reading
    return [
        *reading,
        statement("StoreDisksOnce", "PutObject", condition={"Null": {"s3:if-none-match": "false"}}),
        statement("MarkDisks", "PutObject", on=[f"{one}.json" for one in objects],
                  condition={"Null": {"s3:if-match": "false"}}),
        statement("UploadDisksInParts", "PutObject", condition={"Bool": {"s3:ObjectCreationOperation": "false"}}),
        statement("AbortUploadsOfDisks", "AbortMultipartUpload"),
        *([statement("RetireDisks", "DeleteObject")] if role == "reconcile" else []),
    ]  # fmt: skip


def _votes() -> list[Policy]:
    """Who builds does not judge: it says that there is no verdict yet, and no more."""
    voted = {"Null": {f"aws:RequestTag/{_VERDICT}": "false"},
             "StringNotEquals": {f"aws:RequestTag/{_VERDICT}": "pending"}}  # fmt: skip
    return [_deny("NoVoteOfABuilder", voted), _no_evidence()]


def _judged() -> list[Policy]:
    """A preview's artifacts are nobody's candidate, and what main promoted, or somebody judged, is not its to tag."""
    promoted = ["candidate", "stable", "revoked"]
    keys = {"ForAnyValue:StringEquals": {"aws:TagKeys": [_VERDICT, "reconciler:channel"]}}
    return [
        _no_evidence(),
        _deny("NoWordOfVerdictsAndChannels", keys),
        _deny("PromotesNothing", {"StringEquals": {f"aws:RequestTag/{_PHASE}": promoted}}),
        _deny("TouchesNothingPromoted", {"StringEquals": {f"aws:ResourceTag/{_PHASE}": promoted}}),
        _deny("TouchesNothingJudged", {"StringEquals": {f"aws:ResourceTag/{_VERDICT}": ["passed", "failed"]}}),
    ]


def _no_evidence() -> Policy:
    return _deny("NoEvidenceOfABuilder", {"ForAnyValue:StringLike": {"aws:TagKeys": [f"{_VERDICT}-*"]}})


def _untagged(at: Account) -> list[Policy]:
    """Packer 1.6 names instances, and the current one leaves them without a name: whoever has another is safe."""
    of_ours = {"StringEqualsIfExists": _has(at)}
    unnamed = {"StringEqualsIfExists": {**_has(at), "aws:ResourceTag/Name": _BUILDER}}
    made = {"StringEqualsIfExists": {**_asked(at), "aws:RequestTag/Name": _BUILDER}}
    nobodys = {"Null": {f"aws:ResourceTag/{_FLEET}": "true"}, "StringEqualsIfExists": _asked(at)}
    instance, group, keys = _arn(at, "instance"), _arn(at, "security-group"), _arn(at, "key-pair", "packer_*")
    return [
        _statement("BootWithoutTags", ["RunInstances"], [instance], made),
        _statement("ImageAndEndWhatHasNoName",
                   ["CreateImage", "ModifyInstanceAttribute", "StopInstances", "TerminateInstances"],
                   [instance], unnamed),
        _statement("MakePackersKeysAndGroups", ["CreateKeyPair", "CreateSecurityGroup"], [keys, group],
                   {"StringEqualsIfExists": _asked(at)}),
        _statement("UseAndRemovePackersKeys", ["DeleteKeyPair", "RunInstances"], [keys], of_ours),
        _statement("UseAndRemoveGroupsWithoutName",
                   ["AuthorizeSecurityGroupIngress", "DeleteSecurityGroup", "RunInstances"], [group], unnamed),
        _statement("TagImagesOfNoFleet", ["CreateTags"], [_arn(at, "image"), _arn(at, "snapshot")], nobodys),
    ]  # fmt: skip


def _statement(
    sid: str, actions: Sequence[str], resources: Sequence[str], condition: Mapping[str, Any] | None = None
) -> Policy:
    named = [f"ec2:{action}" for action in actions]
    said: Policy = {"Sid": sid, "Effect": "Allow", "Action": _alone(named), "Resource": _alone(resources)}
    return {**said, "Condition": dict(condition)} if condition else said


def _deny(sid: str, condition: Mapping[str, Any]) -> Policy:
    return {"Sid": sid, "Effect": "Deny", "Action": "ec2:CreateTags", "Resource": "*", "Condition": dict(condition)}


def _alone(values: Sequence[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)


def _arn(at: Account, kind: str, name: str = "*") -> str:
    owner = "" if kind in ("image", "snapshot") else at.account
    return f"arn:{at.partition}:ec2:*:{owner}:{kind}/{name}"


def _has(at: Account) -> dict[str, str]:
    return {f"aws:ResourceTag/{_FLEET}": at.fleet}


def _asked(at: Account) -> dict[str, str]:
    return {f"aws:RequestTag/{_FLEET}": at.fleet}
