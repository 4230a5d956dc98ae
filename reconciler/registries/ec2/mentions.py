"""What names an AMI by its id in this account: SSM parameters, of whichever data type, and Image Builder's recipes.

A role that reads the texts of all of an account's parameters reads what is none of our business, so none of docs/iam
may. Where one may not be read, EC2 is asked, which reads them itself with the caller's rights, for itself alone
("Identify your resources referencing specified AMIs", EC2 user guide: it says "SSM parameters", of no data type).
"""

from __future__ import annotations

from collections.abc import Container, Iterator
from typing import TYPE_CHECKING, Any, Literal

from botocore.config import Config
from botocore.exceptions import ClientError

from reconciler.aws.errors import BY_CODE, NOT_ALLOWED, code_of
from reconciler.aws.session import Clients
from reconciler.model.text import visible
from reconciler.model.usage import INSTEAD, Use
from reconciler.registries.ec2.parameters import AMI_ID, DATA_TYPE, MOST_NAMES

if TYPE_CHECKING:
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_ssm.type_defs import ParameterMetadataTypeDef

_PATIENT = Config(retries={"mode": "standard", "total_max_attempts": 8})
_MOST_IDS = 10
"""Of images in one DescribeImageReferences (EC2's API reference)."""
_PAGE = 100
_PARAMETER: Literal["ssm:Parameter"] = "ssm:Parameter"


def parameters(clients: Clients, location: str, wanted: frozenset[str]) -> Iterator[Use]:
    """The parameters that hold an AMI's id now, alone or in a longer text. SecureStrings are not looked at.

    Costs one DescribeParameters for fifty parameters of the region and one GetParameters for ten. Where one of them may
    not be read, what is asked in place of that is one DescribeImageReferences for ten AMIs.
    """
    ssm = clients.ssm(location)
    kinds = ["String", "StringList"]
    pages = ssm.get_paginator("describe_parameters").paginate(
        ParameterFilters=[{"Key": "Type", "Option": "Equals", "Values": kinds}], PaginationConfig={"PageSize": 50}
    )
    listed = {one["Name"]: one for page in pages for one in page["Parameters"]}
    try:
        held = _held(ssm, list(listed))
    except ClientError as error:
        if BY_CODE.get(code_of(error)) is not NOT_ALLOWED:
            raise
        held = _by_reference(clients, location, sorted(wanted), listed)
    for name in sorted(held):
        for image in sorted(held[name] & wanted):
            yield Use((location, image), f"parameter {visible(name)}", _hint(location, name, listed), parameter=name)


def _held(ssm: SSMClient, names: list[str]) -> dict[str, frozenset[str]]:
    """The ids in the texts of parameters, by name."""
    found: dict[str, frozenset[str]] = {}
    for start in range(0, len(names), MOST_NAMES):
        for one in ssm.get_parameters(Names=names[start : start + MOST_NAMES])["Parameters"]:
            found[one["Name"]] = frozenset(AMI_ID.findall(one["Value"]))
    return found


def _by_reference(clients: Clients, location: str, ids: list[str], listed: Container[str]) -> dict[str, frozenset[str]]:
    """The ids of these that parameters hold, by name, as EC2 tells it."""
    ec2, found = clients.ec2(location), dict[str, frozenset[str]]()
    for start in range(0, len(ids), _MOST_IDS):
        pages = ec2.get_paginator("describe_image_references").paginate(
            ImageIds=ids[start : start + _MOST_IDS], ResourceTypes=[{"ResourceType": _PARAMETER}]
        )
        for one in (one for page in pages for one in page["ImageReferences"] if one["ResourceType"] == _PARAMETER):
            name = one["Arn"].partition(":parameter/")[2]  # a path's first slash is not in it twice
            name = name if name in listed else f"/{name}"
            found[name] = found.get(name, frozenset()) | {one["ImageId"]}
    return found


def _hint(location: str, name: str, listed: dict[str, ParameterMetadataTypeDef]) -> str:
    of = listed.get(name)
    data_type = of.get("DataType", "text") if of is not None else DATA_TYPE
    if data_type != DATA_TYPE:
        return f"have it name another: `aws ssm get-parameter --region {location} --name {name}` shows what it holds"
    return (
        f"`aws ssm put-parameter --region {location} --name {name} --data-type aws:ec2:image --overwrite "
        f"--value {INSTEAD}`"
    )


def recipes(clients: Clients, location: str, wanted: frozenset[str]) -> Iterator[Use]:
    """This account's recipes of Image Builder, in every version, that build on an AMI or on an instance of it.

    Costs one ListImageRecipes and one ListContainerRecipes for a hundred of each.
    """
    builder = clients.client("imagebuilder", location, config=_PATIENT)
    asked = (
        ("list_image_recipes", "imageRecipeSummaryList", "parentImage", "image"),
        ("list_container_recipes", "containerRecipeSummaryList", "instanceImage", "container"),
    )
    for call, listed, key, what in asked:
        pages = builder.get_paginator(call).paginate(owner="Self", PaginationConfig={"PageSize": _PAGE})
        for one in (one for page in pages for one in page[listed] if one.get(key) in wanted):
            yield Use((location, one[key]), f"{what} recipe {_versioned(one)}", _MAKE_ANOTHER)


_MAKE_ANOTHER = (
    "make a version of it that names another image, have its pipelines build by that, then delete this one: "
    "a recipe can't be changed"
)


def _versioned(recipe: Any) -> str:
    """A recipe's name and version: `arn:…:image-recipe/web/1.0.2` is `web 1.0.2`."""
    return visible(" ".join(str(recipe["arn"]).split("/")[1:3]))
