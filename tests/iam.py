"""What the roles of docs/iam are asked for by those who mean harm, and by those who work: for two judges of IAM."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product

from reconciler.aws.iam import Need, Value
from reconciler.registries.ec2.rights import Account, Policy, Role, policy

ACCOUNT = "123456789012"
FLEET, OTHERS = "acme/images", "others/images"
AT = Account(fleet=FLEET, account=ACCOUNT)
OURS = {"aws:ResourceTag/reconciler:fleet": FLEET}
THEIRS = {"aws:ResourceTag/reconciler:fleet": OTHERS}
MADE_OURS = {"aws:RequestTag/reconciler:fleet": FLEET}
MADE_THEIRS = {"aws:RequestTag/reconciler:fleet": OTHERS}
NAMES = {
    "image": "ami-0123456789abcdef0", "snapshot": "snap-0123456789abcdef0", "instance": "i-0123456789abcdef0",
    "security-group": "sg-0123456789abcdef0", "key-pair": "somebodys", "subnet": "subnet-0123456789abcdef0",
    "volume": "vol-0123456789abcdef0", "network-interface": "eni-0123456789abcdef0", "vpc": "vpc-0123456789abcdef0",
    "launch-template": "lt-0123456789abcdef0", "image-usage-report": "amiur-0123456789abcdef0",
}  # fmt: skip
CARE = (
    "CreateImageUsageReport", "DisableImage", "DisableImageDeprecation", "DisableImageDeregistrationProtection",
    "EnableImage", "EnableImageDeprecation", "EnableImageDeregistrationProtection", "ModifyImageAttribute",
)  # fmt: skip
"""What main does with images beside making, tagging and retiring them."""
ENDS = ("DeregisterImage", "DeleteSnapshot", "RestoreImageFromRecycleBin", "RestoreSnapshotFromRecycleBin")
"""What removes images, and brings them back."""
TOUCHED = {
    "CreateImage": ["instance"], "DeleteKeyPair": ["key-pair"], "DeleteSecurityGroup": ["security-group"],
    "AuthorizeSecurityGroupIngress": ["security-group"], "DeleteSnapshot": ["snapshot"],
    "DeregisterImage": ["image"], "DescribeImageAttribute": ["image"], "GetConsoleOutput": ["instance"],
    "ModifyInstanceAttribute": ["instance"], "StopInstances": ["instance"], "TerminateInstances": ["instance"],
    "DeleteVolume": ["volume"], "RestoreImageFromRecycleBin": ["image"], "RestoreSnapshotFromRecycleBin": ["snapshot"],
    **{action: ["image"] for action in CARE},
    "RunInstances": ["security-group", "key-pair"], "CreateTags": ["image", "snapshot", "instance", "volume"],
}  # fmt: skip
"""What each call takes of what is there already, by kind."""
MADE = {
    "CopyImage": ["image", "snapshot"], "RunInstances": ["instance"], "CreateKeyPair": ["key-pair"],
    "ImportKeyPair": ["key-pair"], "CreateSecurityGroup": ["security-group"],
}  # fmt: skip
"""What each call makes that no other part of the call fences."""
MADE_WITH_IT = (("volume", "RunInstances"), ("network-interface", "RunInstances"), ("snapshot", "CreateImage"))
"""What comes with what is fenced: it may be without tags, and never another's."""


@dataclass(frozen=True)
class Question:
    """One thing that somebody with a role asks of AWS, and whether they may have it."""

    what: str
    role: Role
    need: Need
    allowed: bool = False
    policies: tuple[Policy, ...] = field(default=(), repr=False)

    def documents(self) -> tuple[Policy, ...]:
        return self.policies or (policy(self.role, AT),)


def arn(kind: str, name: str | None = None) -> str:
    owner = "" if kind in ("image", "snapshot") else ACCOUNT
    return f"arn:aws:ec2:us-east-1:{owner}:{kind}/{name or NAMES[kind]}"


def tagging(kind: str, wanted: Mapping[str, str], has: Mapping[str, Value], *, at: str | None = None) -> Need:
    """A call of CreateTags; `at` names the call that makes the thing."""
    asked: dict[str, Value] = {f"aws:RequestTag/{name}": value for name, value in wanted.items()}
    born: dict[str, Value] = {"ec2:CreateAction": at} if at else {}
    return Need("ec2:CreateTags", arn(kind), {**has, **asked, **born, "aws:TagKeys": tuple(wanted)})


def votes() -> Iterator[Question]:
    """Who builds would also judge."""
    passed, pending = {"reconciler:verdict": "passed"}, {"reconciler:verdict": "pending"}
    signed = {"reconciler:verdict": "pending", "reconciler:verdict-by": "me"}
    builders: tuple[Role, ...] = ("preview", "reconcile")
    for role in builders:
        yield Question("votes", role, tagging("image", passed, OURS))
        yield Question("votes as failed", role, tagging("image", {"reconciler:verdict": "failed"}, OURS))
        yield Question("says who voted", role, tagging("image", {"reconciler:verdict-by": "me"}, OURS))
        yield Question("says so with the rest", role, tagging("image", signed, OURS))
        birth = {"reconciler:fleet": FLEET, **passed}
        yield Question("votes at birth", role, tagging("image", birth, {}, at="CopyImage"))
        yield Question("is born as passed", role, tagging("snapshot", birth, {}, at="CreateImage"))
        yield Question("tells its test", role, tagging("image", {"reconciler:smoke": "passed"}, OURS), allowed=True)
    yield Question("waits for a verdict", "reconcile", tagging("image", pending, OURS), allowed=True)
    yield Question("has a say in verdicts", "preview", tagging("image", pending, OURS))
    yield Question("takes a channel", "preview", tagging("image", {"reconciler:channel": "stable"}, OURS))
    for phase in ("candidate", "stable", "revoked"):
        wanted = {"reconciler:phase": phase}
        promoted = {**OURS, "aws:ResourceTag/reconciler:phase": phase}
        yield Question(f"promotes to {phase}", "preview", tagging("image", wanted, OURS))
        born = {**wanted, "reconciler:fleet": FLEET}
        yield Question(f"copies as {phase}", "preview", tagging("image", born, {}, at="CopyImage"))
        yield Question(
            f"rejects what is {phase}", "preview", tagging("image", {"reconciler:phase": "rejected"}, promoted)
        )
        yield Question(f"fails what is {phase}", "preview", tagging("image", {"reconciler:smoke": "failed"}, promoted))
        yield Question(f"promotes to {phase}", "reconcile", tagging("image", wanted, OURS), allowed=True)
    for verdict in ("passed", "failed"):
        judged = {**OURS, "aws:ResourceTag/reconciler:phase": "rejected", "aws:ResourceTag/reconciler:verdict": verdict}
        yield Question("takes up what failed", "preview", tagging("image", {"reconciler:phase": "preliminary"}, judged))
    preliminary = {**OURS, "aws:ResourceTag/reconciler:phase": "preliminary"}
    for phase in ("preliminary", "rejected"):
        told = tagging("image", {"reconciler:phase": phase}, preliminary)
        yield Question(f"says {phase} of its own", "preview", told, allowed=True)


def others_things() -> Iterator[Question]:
    """What is not this fleet's is touched, and made in its name."""
    builders: tuple[Role, ...] = ("preview", "reconcile")
    for role, (action, kinds) in product(builders, TOUCHED.items()):
        for kind, has in product(kinds, (THEIRS, {})):
            context = {
                **has,
                **({"aws:RequestTag/Name": "x", "aws:TagKeys": ("Name",)} if action == "CreateTags" else {}),
            }
            yield Question(f"{action} of others' {kind}", role, Need(f"ec2:{action}", arn(kind), context))
    for role, (action, kinds) in product(builders, MADE.items()):
        for kind, asked in product(kinds, (MADE_THEIRS, {})):
            made = "smoke-test-x" if kind == "key-pair" else "*"
            yield Question(f"{action} makes others' {kind}", role, Need(f"ec2:{action}", arn(kind, made), asked))
            tags = {"reconciler:fleet": OTHERS}
            if asked:
                yield Question("tagged so", role, tagging(kind, tags, {}, at=action))
    for role, (kind, action) in product(builders, MADE_WITH_IT):
        need = Need(f"ec2:{action}", arn(kind, "*"), MADE_THEIRS)
        yield Question(f"{action} makes others' {kind}", role, need)
        for has in (THEIRS, {}, OURS):
            need = Need("ec2:RunInstances", arn("snapshot"), has)
            yield Question("boots with a disk made of a snapshot", role, need)
    taken = tagging("image", {"reconciler:fleet": FLEET}, {})
    yield Question("claims an image of nobody", "reconcile", taken)
    yield Question("gives one away", "reconcile", tagging("image", {"reconciler:fleet": OTHERS}, OURS))
    yield Question("deletes", "preview", Need("ec2:DeregisterImage", arn("image"), OURS))
    yield from (Question(f"{action} of ours", "preview", Need(f"ec2:{action}", arn("image"), OURS)) for action in CARE)
    for kind in ("snapshot", "instance"):
        yield Question(f"shares a {kind}", "reconcile", Need(f"ec2:Modify{kind.title()}Attribute", arn(kind), THEIRS))


def publications() -> Iterator[Question]:
    """Channels are written to parameters of one prefix, and nobody else's are touched."""

    def asked(what: str, role: Role, need: Need, *, allowed: bool = False) -> Question:
        at = replace(AT, published="/images/")
        return Question(what, role, need, allowed, (policy(role, at),))

    ours, elsewhere = parameter("images/web/stable"), parameter("database/password")
    made = {**MADE_OURS, "aws:TagKeys": ("reconciler:fleet",), "ssm:Overwrite": "false"}
    theirs = {**MADE_THEIRS, "aws:TagKeys": ("reconciler:fleet",), "ssm:Overwrite": "false"}
    anew: dict[str, Value] = {"ssm:Overwrite": "true"}
    readers: tuple[Role, ...] = ("plan", "preview", "reconcile")
    for role in readers:
        for action in ("GetParameters", "ListTagsForResource"):
            yield asked(f"{action} of what is published", role, Need(f"ssm:{action}", ours), allowed=True)
            yield asked(f"{action} of a secret", role, Need(f"ssm:{action}", elsewhere))
        writes = role == "reconcile"
        yield asked("publishes", role, Need("ssm:PutParameter", ours, made), allowed=writes)
        yield asked("publishes anew", role, Need("ssm:PutParameter", ours, anew), allowed=writes)
        yield asked("publishes as others", role, Need("ssm:PutParameter", ours, theirs))
        yield asked("publishes without a tag", role, Need("ssm:PutParameter", ours, {"ssm:Overwrite": "false"}))
        yield asked("writes a secret anew", role, Need("ssm:PutParameter", elsewhere, anew))
        yield asked("tags", role, Need("ssm:AddTagsToResource", ours, {**MADE_OURS, **OURS}), allowed=writes)
        yield asked("tags what it made", role, Need("ssm:AddTagsToResource", ours, MADE_OURS), allowed=writes)
        yield asked("claims others'", role, Need("ssm:AddTagsToResource", ours, {**MADE_OURS, **THEIRS}))
        yield asked("gives away", role, Need("ssm:AddTagsToResource", ours, {**MADE_THEIRS, **OURS}))
        yield asked("withdraws", role, Need("ssm:DeleteParameter", ours, OURS), allowed=writes)
        yield asked("deletes others'", role, Need("ssm:DeleteParameter", ours, THEIRS))
        yield asked("deletes nobody's", role, Need("ssm:DeleteParameter", ours, {}))
        yield asked("reads what templates launch on", role, Need("ec2:DescribeInstanceTypes"), allowed=True)
        for action in ("CreateLaunchTemplateVersion", "DeleteLaunchTemplateVersions", "ModifyLaunchTemplate"):
            for has, allowed in ((OURS, writes), (THEIRS, False), ({}, False)):
                need = Need(f"ec2:{action}", arn("launch-template"), has)
                yield asked(f"{action} of {has or 'nobodys'}", role, need, allowed=allowed)
        yield from _refreshes(role, asked)
        yield Question("publishes without --publish", role, Need("ssm:PutParameter", ours, made))


def _refreshes(role: Role, asked: Callable[..., Question]) -> Iterator[Question]:
    """Groups are refreshed, for which Auto Scaling tries a launch with the rights of whoever asks."""
    writes = role == "reconcile"
    group = f"arn:aws:autoscaling:us-east-1:{ACCOUNT}:autoScalingGroup:11111111-0000:autoScalingGroupName/web"
    yield asked("reads refreshes", role, Need("autoscaling:DescribeInstanceRefreshes"), allowed=True)
    for has, whose in ((OURS, "our"), (THEIRS, "others'"), ({}, "nobody's")):
        ours = writes and has is OURS
        for action in ("StartInstanceRefresh", "RollbackInstanceRefresh"):
            yield asked(f"{action} of {whose} group", role, Need(f"autoscaling:{action}", group, has), allowed=ours)
        need = Need("ec2:RunInstances", arn("launch-template"), has)
        yield asked(f"launches by {whose} template", role, need, allowed=ours)
    by: dict[str, Value] = {"ec2:LaunchTemplate": arn("launch-template")}
    yield asked("reads a snapshot by a template", role, Need("ec2:RunInstances", arn("snapshot"), {**THEIRS, **by}))
    for kind in ("key-pair", "security-group"):
        launch = Need("ec2:RunInstances", arn(kind), {**THEIRS, **by})
        yield asked(f"launches with others' {kind} in a template", role, launch, allowed=writes)
        yield asked(f"launches with others' {kind}", role, Need("ec2:RunInstances", arn(kind), THEIRS))
    launch = Need("ec2:RunInstances", arn("instance", "*"), by)
    yield asked("launches what a template names", role, launch, allowed=writes)
    yield asked("launches without a template", role, Need("ec2:RunInstances", arn("instance", "*")))


DISKS = replace(AT, disks=["s3://acme-images/appliance"])


def kept_disks() -> Iterator[Question]:
    """Disks below a prefix are stored once, marked over what was read, and retired by main alone."""
    disk = f"sha256:{'0' * 64}"
    ours, marks, elsewhere = (
        f"arn:aws:s3:::acme-images/{name}" for name in (f"appliance/{disk}", f"appliance/{disk}.json", "payroll/x")
    )

    def asked(what: str, role: Role, need: Need, *, allowed: bool = False) -> Question:
        return Question(what, role, need, allowed, (policy(role, DISKS),))

    whole: dict[str, Value] = {"s3:ObjectCreationOperation": "true"}
    new: dict[str, Value] = {**whole, "s3:if-none-match": "*"}
    over: dict[str, Value] = {**whole, "s3:if-match": '"0"'}
    readers: tuple[Role, ...] = ("plan", "preview", "reconcile")
    for role in readers:
        writes = role != "plan"
        bucket = "arn:aws:s3:::acme-images"
        lists = {
            prefix: Need("s3:ListBucket", bucket, {"s3:prefix": prefix}) for prefix in (f"appliance/{disk}", "pay")
        }
        yield asked("lists disks", role, lists[f"appliance/{disk}"], allowed=True)
        yield asked("lists what is beside them", role, lists["pay"])
        yield asked("is told that there is none", role, Need("s3:ListBucket", bucket), allowed=True)
        yield asked("lists another bucket", role, Need("s3:ListBucket", "arn:aws:s3:::payroll"))
        for what, named in (("a disk", ours), ("marks", marks)):
            yield asked(f"reads {what}", role, Need("s3:GetObject", named), allowed=True)
            yield asked(f"stores {what}", role, Need("s3:PutObject", named, new), allowed=writes)
            yield asked(f"writes over {what}", role, Need("s3:PutObject", named, whole))
            yield asked(f"retires {what}", role, Need("s3:DeleteObject", named), allowed=role == "reconcile")
        yield asked("writes over marks that it read", role, Need("s3:PutObject", marks, over), allowed=writes)
        yield asked("writes over a disk that it read", role, Need("s3:PutObject", ours, over))
        part: dict[str, Value] = {"s3:ObjectCreationOperation": "false"}
        yield asked("uploads a part", role, Need("s3:PutObject", ours, part), allowed=writes)
        yield asked("aborts", role, Need("s3:AbortMultipartUpload", ours), allowed=writes)
        yield asked("reads what is beside", role, Need("s3:GetObject", elsewhere))
        yield asked("stores beside", role, Need("s3:PutObject", elsewhere, new))
        yield asked("deletes beside", role, Need("s3:DeleteObject", elsewhere))
        for action in ("PutBucketPolicy", "DeleteBucket", "PutLifecycleConfiguration"):
            yield asked(f"{action}", role, Need(f"s3:{action}", bucket))
        yield asked("takes an ACL", role, Need("s3:PutObjectAcl", ours))
        yield asked("deletes a version", role, Need("s3:DeleteObjectVersion", ours))
        yield Question("reads without --disks", role, Need("s3:GetObject", ours))


def parameter(name: str) -> str:
    """The ARN of a parameter; its name without the first slash."""
    return f"arn:aws:ssm:us-east-1:{ACCOUNT}:parameter/{name}"


def work() -> Iterator[Question]:
    """What has to go on."""
    builders: tuple[Role, ...] = ("preview", "reconcile")
    for role, (action, kinds) in product(builders, TOUCHED.items()):
        for kind in kinds:
            if action in (*ENDS, *CARE) and role == "preview":
                continue
            has = {**OURS, "aws:ResourceTag/reconciler:purpose": "smoke-test"}
            if action == "CreateTags":
                if kind != "volume":
                    need = tagging(kind, {"reconciler:keep-until": "x"}, has)
                    yield Question(f"tags our {kind}", role, need, allowed=True)
                continue
            yield Question(f"{action} of our {kind}", role, Need(f"ec2:{action}", arn(kind), has), allowed=True)
    for role, (action, kinds) in product(builders, MADE.items()):
        for kind in kinds:
            name = "smoke-test-x" if kind == "key-pair" else "*"
            asked = {**MADE_OURS, "aws:RequestTag/reconciler:purpose": "smoke-test"}
            yield Question(
                f"{action} makes our {kind}", role, Need(f"ec2:{action}", arn(kind, name), asked), allowed=True
            )
    readers: tuple[Role, ...] = ("plan", "preview", "reconcile")
    for role in readers:
        yield Question("looks", role, Need("ec2:DescribeImages"), allowed=True)
        for whose, has in (("ours", OURS), ("theirs", THEIRS)):
            need = Need("ec2:DescribeImageAttribute", arn("image"), has)
            yield Question(f"looks who may launch {whose}", role, need, allowed=has is OURS)
        yield Question("boots nothing", role, Need("ec2:RunInstances", arn("instance", "*")))


def reports() -> Iterator[Question]:
    """Reports of who uses an image in other accounts."""
    roles: tuple[Role, ...] = ("plan", "preview", "reconcile")
    whose = {"ours": MADE_OURS, "theirs": MADE_THEIRS, "nobody's": {}}
    for role, (name, asked) in product(roles, whose.items()):
        need = Need("ec2:CreateImageUsageReport", arn("image-usage-report", "*"), asked)
        yield Question(f"makes a report that is {name}", role, need, allowed=(role, name) == ("reconcile", "ours"))


def texts() -> Iterator[Question]:
    """Parameters, whoever's they are: EC2 reads them to tell what names an image, and nobody else does."""
    roles: tuple[Role, ...] = ("plan", "preview", "reconcile")
    for role in roles:
        for via, allowed in (("ec2-images.amazonaws.com", True), ("cloudformation.amazonaws.com", False)):
            need = Need("ssm:GetParameters", parameter("database/password"), {"aws:CalledVia": (via,)})
            yield Question(f"has {via} read a parameter", role, need, allowed=allowed)
        yield Question("reads a parameter itself", role, Need("ssm:GetParameters", parameter("database/password")))


def questions() -> list[Question]:
    """All of them."""
    return [*votes(), *others_things(), *publications(), *kept_disks(), *work(), *reports(), *texts()]
