"""Notes are told once, whichever number of images they are said of."""

from __future__ import annotations

from reconciler.cli.validate import grouped_notes
from reconciler.model.declaration import Declaration
from reconciler.model.errors import Place
from reconciler.model.fleet import Builder, Image, Template
from reconciler.registries.ec2.dialect import AMI


def image(name: str, *notes: str, builders: tuple[str, ...] = ()) -> Image:
    template = Template(
        format="hcl2",
        files=(f"desired/{name}/t.pkr.hcl",),
        builders=tuple(Builder(one, "amazon-ebs", Place("t")) for one in builders or (f"amazon-ebs.{name}",)),
    )
    return Image(name, f"desired/{name}", Declaration(), template, AMI, None, (), (), notes)


def test_what_is_said_of_one_image_stays_as_it_is() -> None:
    assert list(grouped_notes([image("web", "amazon-ebs.web: not encrypted")])) == [
        "web: amazon-ebs.web: not encrypted"
    ]


def test_what_is_said_of_several_images_is_one_line_without_their_builders() -> None:
    images = [image("base", "amazon-ebs.base: not encrypted", "own"), image("web", "amazon-ebs.web: not encrypted")]
    assert list(grouped_notes(images)) == ["base, web: not encrypted", "base: own"]


def test_of_several_builders_each_is_named() -> None:
    two = ("amazon-ebs.a", "amazon-ebs.b")
    images = [image(name, *(f"{one}: not encrypted" for one in two), builders=two) for name in ("base", "web")]
    assert list(grouped_notes(images)) == [f"base, web: {one}: not encrypted" for one in two]


def test_the_place_in_an_image_s_own_file_does_not_set_it_apart_but_one_in_the_defaults_is_kept() -> None:
    for place, shown in (("desired/{}/image.yaml:1:1", "k is ignored"), ("d.yaml:2:2", "k is ignored (d.yaml:2:2)")):
        images = [image(name, f"k is ignored ({place.format(name)})") for name in ("base", "web")]
        assert list(grouped_notes(images)) == [f"base, web: {shown}"]


def test_of_many_images_eight_are_named() -> None:
    images = [image(f"i{n:03}", "the same") for n in range(100)]
    assert list(grouped_notes(images)) == ["i000, i001, i002, i003, i004, i005, i006, i007 and 92 more: the same"]
    assert list(grouped_notes(images[:8])) == ["i000, i001, i002, i003, i004, i005, i006, i007: the same"]
