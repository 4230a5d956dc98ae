"""What names an image, as AWS tells it: EC2's DescribeImageReferences, and Image Builder's recipes.

moto 5.2.5 has nothing of either. "Identify your resources referencing specified AMIs", EC2 user guide
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-ami-references.html): of this account, instances in every state
and ten versions of a launch template if nothing else is asked. That it looks at parameters of every data type is read
from "SSM parameters": no page says more. Recipes are as
https://docs.aws.amazon.com/imagebuilder/latest/APIReference/API_CreateImageRecipe.html makes them, and never change.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType, SimpleNamespace
from typing import Any

from botocore.session import Session
from moto import backend_index
from moto.core.base_backend import BackendDict, BaseBackend
from moto.core.exceptions import ServiceException
from moto.core.responses import ActionResult, BaseResponse
from moto.ec2.responses import EC2Response
from moto.ec2.responses.amis import AmisResponse
from moto.ssm.models import ssm_backends

_NAME = "imagebuilder"
_HOST = r"https?://imagebuilder\.(.+)\.amazonaws\.com"
_DEPTH = 10
_PAGE = 25
_IMAGE_RECIPE, _CONTAINER_RECIPE = "image-recipe", "container-recipe"


class _Builder(BaseBackend):
    """Image Builder of one region: its recipes, by ARN, each a version of its own."""

    def __init__(self, region_name: str, account_id: str) -> None:
        super().__init__(region_name, account_id)
        self.recipes: dict[str, dict[str, Any]] = {}

    @property
    def _url_module(self) -> Any:
        calls = ("CreateImageRecipe", "CreateContainerRecipe", "ListImageRecipes", "ListContainerRecipes")
        return SimpleNamespace(
            url_bases=[_HOST], url_paths={f"{{0}}/{call}$": _BuilderResponse.dispatch for call in calls}
        )  # fmt: skip


# botocore 1.44 lists no region of Image Builder's: it is where EC2 is, as far as this goes.
_REGIONS = Session().get_available_regions("ec2")
_builders: BackendDict[_Builder] = BackendDict(_Builder, _NAME, use_boto3_regions=False, additional_regions=_REGIONS)


def install() -> None:
    """Have moto know Image Builder, and tell what names an image."""
    register()
    for handler in HANDLERS:
        setattr(AmisResponse, handler.__name__, handler)


def register() -> None:
    """Have moto know the service: that alone changes nothing of others."""
    if f"moto.{_NAME}" not in sys.modules:
        module = ModuleType(f"moto.{_NAME}")
        module.__dict__[f"{_NAME}_backends"] = _builders  # where moto looks for a service's backends
        sys.modules[module.__name__] = module
        backend_index.backend_url_patterns.append((_NAME, re.compile(_HOST)))


class _BuilderResponse(BaseResponse):
    def __init__(self) -> None:
        super().__init__(service_name=_NAME)
        self.automated_parameter_parsing = True

    @property
    def _recipes(self) -> dict[str, dict[str, Any]]:
        return _builders[self.current_account][self.region].recipes

    def create_image_recipe(self) -> ActionResult:
        """CreateImageRecipe."""
        made = self._made(_IMAGE_RECIPE)
        return ActionResult({"clientToken": self._get_param("clientToken"), "imageRecipeArn": made})

    def create_container_recipe(self) -> ActionResult:
        """CreateContainerRecipe."""
        made = self._made(_CONTAINER_RECIPE)
        return ActionResult({"clientToken": self._get_param("clientToken"), "containerRecipeArn": made})

    def list_image_recipes(self) -> ActionResult:
        """ListImageRecipes, of this account's own."""
        return self._listed(_IMAGE_RECIPE, "imageRecipeSummaryList", ("arn", "name", "owner", "parentImage"))

    def list_container_recipes(self) -> ActionResult:
        """ListContainerRecipes, of this account's own."""
        told = ("arn", "name", "owner", "parentImage", "instanceImage", "containerType")
        return self._listed(_CONTAINER_RECIPE, "containerRecipeSummaryList", told)

    def _made(self, kind: str) -> str:
        name, version = self._get_param("name"), self._get_param("semanticVersion")
        segment = re.sub(r"[ _]", "-", name.lower())  # as ListImageRecipesRequest says of ARNs
        arn = f"arn:aws:imagebuilder:{self.region}:{self.current_account}:{kind}/{segment}/{version}"
        if arn in self._recipes:
            raise _Exists("ResourceAlreadyExistsException", f"The recipe {arn} exists already")
        instance = self._get_param("instanceConfiguration") or {}
        self._recipes[arn] = {
            "arn": arn, "name": name, "owner": self.current_account, "parentImage": self._get_param("parentImage"),
            "instanceImage": instance.get("image"), "containerType": self._get_param("containerType"),
        }  # fmt: skip
        return arn

    def _listed(self, kind: str, key: str, told: Sequence[str]) -> ActionResult:
        size, after = self._get_param("maxResults") or _PAGE, self._get_param("nextToken") or ""
        of_kind = f":{kind}/"
        found = [one for arn, one in sorted(self._recipes.items()) if of_kind in arn and arn > after]
        page = [{name: one[name] for name in told if one.get(name) is not None} for one in found[:size]]
        token = {"nextToken": page[-1]["arn"]} if len(found) > size else {}
        return ActionResult({"requestId": "sandbox", key: page, **token})


# moto tells an error's service from the module of its class.
_Exists = type("_Exists", (ServiceException,), {"__module__": f"moto.{_NAME}.exceptions"})


# https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribeImageReferences.html


def describe_image_references(self: EC2Response) -> ActionResult:
    """DescribeImageReferences, of up to ten images, in one page."""
    self.error_on_dryrun()
    asked = {one["ResourceType"]: one for one in self._get_param("ResourceTypes", [])}
    if str(self._get_param("IncludeAllResourceTypes") or "").lower() == "true":
        asked = {kind: {} for kind in _KINDS} | asked
    found = [
        {"ImageId": image, "ResourceType": kind, "Arn": arn}
        for image in self._get_param("ImageIds", [])
        for kind, one in asked.items()
        for arn in sorted(set(_KINDS[kind](self.ec2_backend, image, one)))
    ]
    return ActionResult({"ImageReferences": found})


def _instances(backend: Any, image: str, asked: Mapping[str, Any]) -> Iterator[str]:
    states = _option(asked, "state-name")
    for one in backend.all_instances():
        if one.image_id == image and (not states or one.state in states):
            yield f"arn:aws:ec2:{backend.region_name}:{backend.account_id}:instance/{one.id}"


def _templates(backend: Any, image: str, asked: Mapping[str, Any]) -> Iterator[str]:
    depth = int((_option(asked, "version-depth") or [str(_DEPTH)])[0])
    for one in backend.launch_templates.values():
        newest = sorted(one.versions, key=lambda version: -int(version.number))[:depth]
        if any(version.data.get("ImageId") == image for version in newest):
            yield f"arn:aws:ec2:{backend.region_name}:{backend.account_id}:launch-template/{one.id}"


def _parameters(backend: Any, image: str, _: Mapping[str, Any]) -> Iterator[str]:
    there = ssm_backends[backend.account_id][backend.region_name]
    for name, versions in there._parameters.items():  # noqa: SLF001  moto's
        if versions and versions[-1].parameter_type == "String" and versions[-1].value == image:
            yield f"arn:aws:ssm:{backend.region_name}:{backend.account_id}:parameter/{name.removeprefix('/')}"


def _image_recipes(backend: Any, image: str, _: Mapping[str, Any]) -> Iterator[str]:
    return _recipes(backend, image, _IMAGE_RECIPE, key="parentImage")


def _container_recipes(backend: Any, image: str, _: Mapping[str, Any]) -> Iterator[str]:
    return _recipes(backend, image, _CONTAINER_RECIPE, key="instanceImage")


def _recipes(backend: Any, image: str, kind: str, *, key: str) -> Iterator[str]:
    there = _builders[backend.account_id][backend.region_name].recipes
    of_kind = f":{kind}/"
    return (arn for arn, one in there.items() if of_kind in arn and one[key] == image)


def _option(asked: Mapping[str, Any], name: str) -> Sequence[str]:
    options = {one["OptionName"]: one["OptionValues"] for one in asked.get("ResourceTypeOptions") or []}
    found: Sequence[str] = options.get(name, [])
    return found


_KINDS = {
    "ec2:Instance": _instances, "ec2:LaunchTemplate": _templates, "ssm:Parameter": _parameters,
    "imagebuilder:ImageRecipe": _image_recipes, "imagebuilder:ContainerRecipe": _container_recipes,
}  # fmt: skip
HANDLERS = (describe_image_references,)
