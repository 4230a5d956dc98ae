"""What `publish:` in image.yaml may say, and what is refused of it with its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from reconciler.model.errors import Place
from reconciler.model.fleet import Fleet
from reconciler.plan.launch_templates import templates_of
from reconciler.plan.publishing import declared_at, names_of
from reconciler.plan.rollout import group_places, groups_of
from tests.unit.desired.conftest import HCL, SOURCE

Read = Callable[..., Fleet]


def published(template: str) -> str:
    return f'{SOURCE}publish: {{ssm: "{template}"}}\n'


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("/images/web/{channel}", {"/images/web/candidate": "candidate", "/images/web/stable": "stable"}),
        ("/images/{image}/{channel}", {"/images/web/candidate": "candidate", "/images/web/stable": "stable"}),
        ("/{channel}/{image}", {"/candidate/web": "candidate", "/stable/web": "stable"}),
        ("golden-{image}", {"golden-web": "stable"}),
    ],
)
def test_a_name_is_that_of_each_channel_or_of_stable(web: Read, template: str, names: dict[str, str]) -> None:
    image = web(published(template)).images["web"]
    assert names_of(image) == names
    assert image.ruled_at["publish"] == Place("desired/web/image.yaml", SOURCE.count("\n") + 1, 11)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("/aws/{channel}", "SSM keeps names that begin with aws or ssm for itself"),
        ("SSM-web", "SSM keeps names that begin with aws or ssm for itself"),
        ("images/{channel}", "a name in levels begins with /"),
        ("/images//{channel}", "it has a level without a name"),
        ("/images/{channel}/", "it has a level without a name"),
        ("/" + "/".join("abcdefghijklmnop"), "it has 16 levels, and SSM takes 15"),
        ("/images/{chanel}", "is not the name of an SSM parameter such as /images/{image}/{channel}"),
        ("/images/{channel} ", "is not the name of an SSM parameter"),
    ],
)
def test_what_ssm_would_refuse_is_told_with_its_place(web: Read, template: str, why: str) -> None:
    told = [str(one) for one in web(published(template)).problems["web"]]
    assert all(one.startswith("desired/web/image.yaml:") for one in told)
    assert any(why in one for one in told), told


def test_two_images_that_write_to_one_parameter_are_both_told_of_both_places(read: Read) -> None:
    files = {
        "desired/web/image.yaml": published("/images/{channel}"), "desired/web/web.pkr.hcl": HCL,
        "desired/api/image.yaml": published("/images/stable"), "desired/api/api.pkr.hcl": HCL,
        "desired/db/image.yaml": published("/images/db"), "desired/db/db.pkr.hcl": HCL,
    }  # fmt: skip
    fleet = read(files)
    at = f":{SOURCE.count(chr(10)) + 1}:11"
    assert sorted(fleet.images) == ["db"]
    for one, other in (("api", "web"), ("web", "api")):
        (problem,) = fleet.problems[one]
        assert str(problem).startswith(f"desired/{one}/image.yaml{at}: publish.ssm: {other} would write to")
        assert f"too (desired/{other}/image.yaml{at})" in str(problem)


def test_in_other_locations_they_do_not_meet(read: Read) -> None:
    files = {
        "desired/web/image.yaml": published("/images/stable") + "regions: [us-east-1]\n",
        "desired/web/web.pkr.hcl": HCL,
        "desired/api/image.yaml": published("/images/stable") + "regions: [eu-west-1]\n",
        "desired/api/api.pkr.hcl": HCL.replace("us-east-1", "eu-west-1"),
    }
    assert read(files).problems == {}


def test_as_a_default_it_is_refused_for_what_is_no_ami_and_can_be_taken_back(read: Read) -> None:
    docker = 'source "docker" "a" {\n  image = "debian:12"\n  commit = true\n}\n'
    docker += 'build { sources = ["source.docker.a"] }\n'
    settings = 'defaults:\n  publish: {ssm: "/images/{image}/{channel}"}\n'
    site = "source: {oci: debian}\nlocations: [registry.example.org/site]\n"
    files = {
        "desired/reconciler.yaml": settings, "desired/site/site.pkr.hcl": docker,
        "desired/web/image.yaml": SOURCE, "desired/web/web.pkr.hcl": HCL,
    }  # fmt: skip
    fleet = read({**files, "desired/site/image.yaml": site})
    assert "web" in fleet.images
    told = "\n".join(map(str, fleet.problems["site"]))
    assert "desired/reconciler.yaml:2:13: publish.ssm: a parameter holds an AMI's id, and site is a container" in told
    assert "takes it back" in told
    assert "site" in read({**files, "desired/site/image.yaml": f"{site}publish:\n"}).images


def templated(templates: str) -> str:
    return f"{SOURCE}publish: {{launch_templates: {templates}}}\n"


@pytest.mark.parametrize(
    ("written", "templates"),
    [
        ("[web]", {"web": False}),
        ('["{image}-spot", {name: other, set_default: true}]', {"web-spot": False, "other": True}),
    ],
)
def test_a_template_is_named_alone_or_with_whether_it_is_the_default(
    web: Read, written: str, templates: dict[str, bool]
) -> None:
    image = web(templated(written)).images["web"]
    assert templates_of(image) == templates
    assert image.ruled_at["publish.launch_templates"].line == SOURCE.count("\n") + 1


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("[we]", '"we" has 2 characters, and a launch template'),
        ('["web spot"]', "is not the name of a launch template"),
        ("[{set_default: true}]", "name"),
        ('[web, {name: "{image}", set_default: true}]', '"web" is there twice'),
    ],
)
def test_what_ec2_would_refuse_of_a_template_is_told_with_its_place(web: Read, written: str, why: str) -> None:
    told = [str(one) for one in web(templated(written)).problems["web"]]
    assert all(one.startswith("desired/web/image.yaml:") for one in told)
    assert any(why in one for one in told), told


def grouped(groups: str, waves: str = "[]", templates: str = "[web]") -> str:
    written = f"launch_templates: {templates}, auto_scaling_groups: {groups}, waves: {waves}"
    return f"{SOURCE}regions: [us-east-1, eu-west-1]\npublish: {{{written}}}\n"


def test_groups_are_named_alone_or_with_how_they_are_refreshed_and_where(web: Read) -> None:
    settings = '{name: "{image}-spot", regions: [us-east-1], min_healthy: 100, bake: 30m, checkpoints: [10, 50]}'
    image = web(grouped(f"[web, {settings}]")).images["web"]
    assert [(one.location, one.name) for one in group_places(image)] == [
        ("eu-west-1", "group web"), ("us-east-1", "group web"), ("us-east-1", "group web-spot")
    ]  # fmt: skip
    spot = groups_of(image)["web-spot"]
    assert (spot.min_healthy, spot.bake, spot.checkpoints, spot.checkpoint_wait) == (100, 1800, (10, 50), None)
    assert image.ruled_at["publish.auto_scaling_groups"].line == SOURCE.count("\n") + 2


@pytest.mark.parametrize(
    ("groups", "waves", "templates", "why"),
    [
        ('["a:b"]', "[]", "[web]", "is not the name of an Auto Scaling group"),
        ('[web, "{image}"]', "[]", "[web]", '"web" is there twice'),
        ("[{name: web, min_healthy: 101}]", "[]", "[web]", "100"),
        ("[{name: web, bake: 3d}]", "[]", "[web]", "Auto Scaling waits for 2d at most, and this is 3d"),
        ("[{name: web, checkpoints: [50, 10]}]", "[]", "[web]", "checkpoints 50, 10 do not rise"),
        ("[{name: web, checkpoint_wait: 10m}]", "[]", "[web]", "checkpoint_wait without checkpoints"),
        (
            "[{name: web, min_healthy: 50, max_healthy: 180}]",
            "[]",
            "[web]",
            "180 is more than 100 above min_healthy 50",
        ),
        ('[{name: web, alarms: [""]}]', "[]", "[web]", "alarms[0]"),
        (f"[{'a' * 256}]", "[]", "[web]", "at most 255"),
        ("[{name: web, regions: [ap-south-1]}]", "[]", "[web]", '"web": web is not in ap-south-1'),
        ("[web]", "[]", "[]", "a group goes over to a numbered version of its launch template"),
        ("[web]", "[{groups: [api]}]", "[web]", 'no group "api" is declared'),
        ("[web]", "[{groups: [web], regions: [ap-south-1]}]", "[web]", "web is not in ap-south-1"),
        ("[web, api]", "[{groups: [web]}]", "[web]", "eu-west-1 group api is in no wave"),
        ("[web]", "[{groups: [web, '{image}']}]", "[web]", 'publish.waves: "web" is there twice'),
        ("[web]", "[{regions: [us-east-1, us-east-1]}]", "[web]", '"us-east-1" is there twice'),
        ("[web]", "[{groups: [web]}, {groups: [web]}]", "[web]", "eu-west-1 group web is in waves 1 and 2"),
        ("[web]", "[{groups: [web]}, {regions: [us-east-1]}]", "[web]", "us-east-1 group web is in waves 1 and 2"),
    ],
)
def test_groups_and_waves_that_make_no_sense_are_told_with_their_place(
    web: Read, groups: str, waves: str, templates: str, why: str
) -> None:
    told = [str(one) for one in web(grouped(groups, waves, templates)).problems["web"]]
    assert all(one.startswith("desired/web/image.yaml:") for one in told)
    assert any(why in one for one in told), told


def test_two_images_in_one_group_are_both_refused(read: Read) -> None:
    written = "publish: {{launch_templates: [{}], auto_scaling_groups: [shared]}}\n"
    files = {
        "desired/web/image.yaml": SOURCE + written.format("web"), "desired/web/web.pkr.hcl": HCL,
        "desired/api/image.yaml": SOURCE + written.format("api"), "desired/api/api.pkr.hcl": HCL,
    }  # fmt: skip
    fleet = read(files)
    for one, other in (("api", "web"), ("web", "api")):
        (problem,) = fleet.problems[one]
        assert f'publish.auto_scaling_groups: {other} would write to "group shared"' in str(problem)


def test_two_images_in_one_template_are_both_refused(read: Read) -> None:
    files = {
        "desired/web/image.yaml": templated("[shared]"), "desired/web/web.pkr.hcl": HCL,
        "desired/api/image.yaml": templated("[shared]"), "desired/api/api.pkr.hcl": HCL,
    }  # fmt: skip
    fleet = read(files)
    for one, other in (("api", "web"), ("web", "api")):
        (problem,) = fleet.problems[one]
        assert f'publish.launch_templates: {other} would write to "launch template shared"' in str(problem)


def test_a_version_is_made_of_no_other_kind(read: Read) -> None:
    docker = 'source "docker" "a" {\n  image = "debian:12"\n  commit = true\n}\n'
    docker += 'build { sources = ["source.docker.a"] }\n'
    site = "source: {oci: debian}\nlocations: [registry.example.org/site]\npublish: {launch_templates: [site]}\n"
    fleet = read({"desired/site/site.pkr.hcl": docker, "desired/site/image.yaml": site})
    told = "\n".join(map(str, fleet.problems["site"]))
    assert "publish.launch_templates: a version of a launch template holds an AMI's id, and site is a container" in told


DOCKER = 'source "docker" "a" {\n  image = "debian:12"\n  commit = true\n}\nbuild { sources = ["source.docker.a"] }\n'
SITE = "source: {oci: debian}\nlocations: [registry.example.org/site, mirror.example.org/site]\n"


def site(tag: str, *, name: str = "site") -> dict[str, str]:
    """The files of a container image whose channels are published as a tag."""
    return {
        f"desired/{name}/image.pkr.hcl": DOCKER,
        f"desired/{name}/image.yaml": f'{SITE}publish: {{tag: "{tag}"}}\n',
    }  # fmt: skip


@pytest.mark.parametrize(
    ("template", "names"),
    [
        ("{channel}", {"candidate": "candidate", "stable": "stable"}),
        ("{image}-{channel}", {"site-candidate": "candidate", "site-stable": "stable"}),
        ("latest", {"latest": "stable"}),
        ("_{image}.1", {"_site.1": "stable"}),
    ],
)
def test_a_channel_is_a_tag_in_every_repository(read: Read, template: str, names: dict[str, str]) -> None:
    image = read(site(template)).images["site"]

    assert names_of(image) == names
    assert [one.text for one in declared_at(image)] == [
        f"{host}.example.org/site:{name}" for name in sorted(names) for host in ("mirror", "registry")
    ]
    assert image.ruled_at["publish.tag"] == Place("desired/site/image.yaml", 3, 11)


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{chanel}", "is not a tag such as {channel} or {image}-{channel}"),
        ("-{channel}", "is not a tag such as"),
        ("a/b", "is not a tag such as"),
        ("", "is not a tag such as"),
        ("a" * 129, "it has 129 characters, and a tag at most 128"),
        ("{channel}.reconciler", "tags that end in .reconciler are those of the marks of images"),
        (f"sha256-{'0' * 64}", "tags that begin with a digest are those of what refers to an image"),
        (f"sha256-{'0' * 64}.sig", "tags that begin with a digest are those of what refers to an image"),
        *(
            (f"{algorithm}-{digits}{after}", "tags that begin with a digest are those of what refers to an image")
            for algorithm in ("sha256", "sha512", "blake3")
            for digits in ("abc", "0" * 64)
            for after in ("", ".sig")
        ),
        (f"sha256-{'0' * 64}-1", "tags that begin with a digest are those of what refers to an image"),
        ("ünicode", "is not a tag such as"),
        ("a:b", "is not a tag such as"),
        (".a", "is not a tag such as"),
        (f"sha256-{'0' * 64}.reconciler", "tags that end in .reconciler"),
        ("{image}-20261122T101530Z-1a2b3c4", "it has the form of the tag of a build"),
        ("other-20261122T101530Z-1a2b3c4", "it has the form of the tag of a build"),
    ],
)
def test_what_is_no_tag_or_is_anothers_is_told_with_its_place(read: Read, template: str, why: str) -> None:
    told = [str(one) for one in read(site(template)).problems["site"]]

    assert all(one.startswith("desired/site/image.yaml:3:") for one in told)
    assert any(why in one for one in told), told


def test_two_images_with_one_tag_in_one_repository_are_both_refused(read: Read) -> None:
    fleet = read({**site("{channel}"), **site("stable", name="shop"), **site("{image}", name="blog")})

    assert sorted(fleet.images) == ["blog"]
    for one, other in (("shop", "site"), ("site", "shop")):
        (problem,) = fleet.problems[one]
        assert f'publish.tag: {other} would write to "stable" in mirror.example.org/site, too' in str(problem)
        assert "{image} stands for the image's" in str(problem)


@pytest.mark.parametrize("kind", ["ami", "disk"])
def test_where_a_registry_has_no_tags_none_is_published(read: Read, kind: str) -> None:
    qemu = 'source "qemu" "a" {\n  iso_url = "https://example.org/debian.qcow2"\n  disk_image = true\n}\n'
    qemu += 'build { sources = ["source.qemu.a"] }\n'
    declared, template, artifact = {
        "ami": (SOURCE, HCL, "an AMI"),
        "disk": ("locations: [/srv/disks]\n", qemu, "a disk"),
    }[kind]
    files = {"desired/web/web.pkr.hcl": template, "desired/web/image.yaml": f"{declared}publish: {{tag: stable}}\n"}

    told = "\n".join(map(str, read(files).problems["web"]))

    assert f"publish.tag: a tag is there in a container registry alone, and web is {artifact}" in told


def test_nothing_of_it_is_in_the_key(web: Read) -> None:
    from reconciler.plan.key import wanted  # noqa: PLC0415 - the one test that needs it

    plain, other = (web(one).images["web"] for one in (SOURCE, published("/images/{channel}")))
    assert wanted(plain, None).key == wanted(other, None).key
