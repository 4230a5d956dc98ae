"""`reconciler iam-policy`: what a role may do in AWS, and who may take it; and whether what is there is as strict."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from reconciler.aws.iam import several
from reconciler.cli import options
from reconciler.cli.workspace import Workspace, note
from reconciler.model.errors import DONE, FAILED, UserError
from reconciler.model.plan import PlanOptions
from reconciler.model.text import first_few, visible
from reconciler.registries.disk.dialect import BUCKET
from reconciler.registries.ec2.rights import ROLES, Account, Role, policy
from reconciler.registries.ec2.trust import TAKE, CircleCi, GitHub, github_trust, intruders, is_let_in, trust, wanted

_UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_SHAPES = {
    "--account": ("[0-9]{12}", "the 12 digits of an account's id"),
    "--organization": (_UUID, "the id in the organization's settings on CircleCI"),
    "--project": (_UUID, "the id in the project's settings on CircleCI"),
    "--repository-id": (r"[0-9]+", "the repository's number: `gh api repos/OWNER/NAME --jq .id`"),
    "--environment": (r"[\w.-]+", "an environment's name"),
    "--repository": (r"[\w.-]+(/[\w.-]+)+", "host and path, such as github.com/acme/images"),
    "--branch": (r"[^\s*?$]+", "a branch's name"),
    "--fleet": (r"[^*?$]+", "the value of the tag reconciler:fleet; `reconciler doctor` shows it"),
    "--disks": (
        r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[A-Za-z0-9!_.'()-]+)+",
        "as in `locations`: s3://bucket/prefix",
    ),
    "--subnet": ("subnet-[0-9a-f]+", "a subnet's id"),
    "--publish": (r"/?[\w./-]+", "where the names in `publish.ssm` begin, such as /images/"),
    "--parameters": (r"/?[\w./-]+", "where the names of your SSM parameters begin, such as /images/"),
}
"""What each value has to look like: in a policy `*`, `?` and `${` are no text, and would let in more."""
_LONGEST_FILE = 1 << 18


@click.command("iam-policy")
@click.argument("role", type=click.Choice(ROLES))
@click.option("--account", required=True, metavar="ID", help="The account that the role is in.")
@click.option("--fleet", help="The fleet's name. Default: this repository's.")
@click.option("--parameters", default="/images/", show_default=True, metavar="PATH", help="Where own parameters begin.")
@click.option("--publish", "published", default="", metavar="PATH", help="Where the names begin that are published.")
@click.option(
    "--disks", multiple=True, metavar="LOCATION", help="Disks are kept in s3://bucket/prefix. May be repeated."
)
@click.option("--subnet", "subnets", multiple=True, metavar="ID", help="Boot here alone. May be repeated.")
@click.option("--untagged-builds", is_flag=True, help="Also for templates without run_tags, and for Packer 1.6.")
@click.option("--trust", "trusts", is_flag=True, help="Who may take the role, in place of what it may do.")
@click.option("--organization", metavar="ID", help="With --trust: the organization on CircleCI.")
@click.option("--project", metavar="ID", help="With --trust: the project on CircleCI.")
@click.option("--repository", metavar="HOST/PATH", help="With --trust: such as github.com/acme/images.")
@click.option("--repository-id", metavar="ID", help="With --trust: its number on GitHub, whose Actions take the role.")
@click.option("--environment", default="images", show_default=True, help="With --repository-id: that of main's job.")
@click.option("--branch", default="main", show_default=True, help="With --trust: the one that state is recorded to.")
@click.option(
    "--partition", type=click.Choice(["aws", "aws-cn", "aws-us-gov"]), default="aws", help="Where not the usual AWS."
)
@click.option(
    "--check", type=click.File("rb"), metavar="FILE", help="Hold this policy (-: stdin) to what would be printed."
)
@options.directory
def command(
    role: Role,
    *,
    account: str,
    fleet: str | None,
    parameters: str,
    published: str,
    disks: tuple[str, ...],
    subnets: tuple[str, ...],
    untagged_builds: bool,
    trusts: bool,
    organization: str | None,
    project: str | None,
    repository: str | None,
    repository_id: str | None,
    environment: str,
    branch: str,
    partition: str,
    check: Any,
    directory: Path,
) -> int:
    """Print the IAM policy of a role: what it may do in AWS or, with --trust, who may take it.

    Changes nothing and asks AWS nothing. With --check a policy as it stands is held to what would be printed. Exit
    codes: 0 printed, or as strict; 1 it lets in or allows more, or less than is needed.
    """
    if not trusts:
        fleet = fleet or _fleet_of(directory, disks, says_what_is_missing=role != "plan" and not untagged_builds)
        _refuse_odd({"--account": account, "--fleet": fleet, "--parameters": parameters})
        for subnet in subnets:
            _refuse_odd({"--subnet": subnet})
        for location in disks:
            _refuse_odd({"--disks": location})
        if published:
            _refuse_odd({"--publish": published})
        at = Account(fleet, account, parameters, subnets, partition, published, disks)
        made = policy(role, at, untagged_builds=untagged_builds)
        return _print(made) if check is None else _tell(_differences(_read(check), made), role)
    if repository_id is not None and (organization is not None or project is not None):
        raise click.UsageError(
            "--repository-id is for GitHub, --organization and --project for CircleCI: give one or the other"
        )
    if repository_id is not None and repository is not None:
        _refuse_odd({"--account": account, "--repository-id": repository_id, "--environment": environment})
        _refuse_odd({"--repository": repository, "--branch": branch})
        host, _, named = repository.partition("/")
        if host != "github.com":
            raise UserError(
                f"--repository is at {host}, and GitHub Actions' tokens are github.com's",
                hint="it has to be host and path, such as github.com/acme/images",
            )
        made = github_trust(role, GitHub(account, repository_id, named, branch, environment, partition))
        return _print(made) if check is None else _tell(_differences(_read(check), made), role)
    if organization is None or project is None or repository is None:
        raise click.UsageError("--trust needs --repository, and --repository-id or --organization and --project")
    values = {"--account": account, "--organization": organization, "--project": project}
    _refuse_odd({**values, "--repository": repository, "--branch": branch})
    ci = CircleCi(account, organization, project, repository, branch, partition)
    return _print(trust(role, ci)) if check is None else _tell(_ways_in(_read(check), role, ci), role)


def _fleet_of(directory: Path, disks: tuple[str, ...], *, says_what_is_missing: bool) -> str:
    """The fleet's name; on stderr, whose builds would need more than the strict policy, and whose disks."""
    workspace = Workspace(directory)
    known = workspace.read(workspace.repository.tree(), PlanOptions())
    untagged = [name for name, image in known.fleet.images.items() if not image.template.takes("run_tags")]
    if untagged and says_what_is_missing:
        named = first_few(untagged, most=3)
        note(f"the policy allows no builds of {named}: their templates take no run_tags (or give --untagged-builds)")
    declared = (location for image in known.fleet.images.values() for location in image.locations)
    missing = sorted({one for one in declared if one.startswith(BUCKET)} - set(disks))
    if missing:
        note(f"the policy allows nothing in {first_few(missing, most=3)} (give --disks with each)")
    return known.fleet_name


def _refuse_odd(values: Mapping[str, str]) -> None:
    for option, value in values.items():
        pattern, meant = _SHAPES[option]
        if re.fullmatch(pattern, value) is None:
            raise UserError(f"{option} is {visible(value)!r}", hint=f"it has to be {meant}")


def _print(document: Mapping[str, Any]) -> int:
    click.echo(json.dumps(document, indent=2))
    return DONE


def _tell(found: Iterator[str], role: Role) -> int:
    told = list(found)
    for line in told:
        click.echo(visible(line))
    if not told:
        note(f"{role}: as it would be made")
    return FAILED if told else DONE


def _read(file: Any) -> dict[str, Any]:
    """A policy's document. Raises UserError for what is none, or none that can be judged."""
    hint = "give the document alone, as `aws iam get-role --query Role.AssumeRolePolicyDocument` prints it"
    try:
        document: Any = json.loads(file.read(_LONGEST_FILE))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file.name} is no JSON", hint=hint) from error
    said = several(document.get("Statement", [])) if isinstance(document, dict) else []
    # What follows looks into statements, and never at anything of another shape.
    if not said or not all(
        isinstance(one, dict) and one.get("Effect") in ("Allow", "Deny") and "Action" in one and _is_plain(one)
        for one in said
    ):
        raise UserError(f"{file.name} is no policy with statements that have an Effect and an Action", hint=hint)
    return {**document}


def _is_plain(statement: Mapping[str, Any]) -> bool:
    condition = statement.get("Condition", {})
    texts = [*several(statement["Action"]), *several(statement.get("Resource", "*"))]
    if not isinstance(condition, dict) or not all(isinstance(keys, dict) for keys in condition.values()):
        return False
    texts += [one for keys in condition.values() for values in keys.values() for one in several(values)]
    return all(isinstance(one, (str, bool)) for one in texts)


def _differences(document: Mapping[str, Any], made: Mapping[str, Any]) -> Iterator[str]:
    """Statements of one that the other has not, whatever their order and names."""
    there = {_meaning(one): one for one in several(document["Statement"])}
    needed = {_meaning(one): one for one in several(made["Statement"])}
    for meaning, one in there.items():
        if meaning not in needed:
            yield f"more than it would be: {_name(one)}"
    for meaning, one in needed.items():
        if meaning not in there:
            yield f"not there: {_name(one)}"


def _meaning(statement: Mapping[str, Any]) -> str:
    """A statement without its name, and with what is a list in one order."""

    def sorted_out(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: sorted_out(one) for key, one in value.items()}
        return sorted(str(one) for one in several(value))

    return json.dumps({key: sorted_out(one) for key, one in statement.items() if key != "Sid"}, sort_keys=True)


def _name(statement: Mapping[str, Any]) -> str:
    actions = ", ".join(str(one) for one in several(statement["Action"]))
    return f"{statement['Effect']} {actions} ({statement.get('Sid', 'a statement without a name')})"


def _ways_in(document: Mapping[str, Any], role: Role, ci: CircleCi) -> Iterator[str]:
    """Who gets past a trust policy and should not, and who should and does not."""
    own = {"Federated": f"arn:{ci.partition}:iam::{ci.account}:oidc-provider/{ci.provider}"}
    for statement in several(document["Statement"]):
        if statement["Effect"] == "Allow" and (statement.get("Principal") != own or statement["Action"] != TAKE):
            yield f"lets in others than CircleCI's jobs: {_name(statement)}"
    try:
        yield from (f"lets in {subject}" for subject in dict.fromkeys(intruders(role, ci, document)))
        yield from (f"keeps out {subject}" for subject in wanted(role, ci) if not is_let_in(document, subject, ci))
    except NotImplementedError as error:
        raise UserError(str(error), hint="make it anew: the same command without --check prints it") from error
