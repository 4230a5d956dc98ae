"""What is read of a template that leaves a disk: what it is built on, and whether it leaves one file."""

from __future__ import annotations

import pytest

from reconciler import registries
from reconciler.desired.fleet import read_fleet
from reconciler.model.fleet import Fleet
from tests.unit.desired.conftest import MemoryTree

TEMPLATE = """\
variable "form" {{ default = null }}
source "{builder}" "web" {{
{attributes}
}}
build {{
  sources = ["source.{builder}.web"]
{after}
}}
"""
SHA = "ab" * 32
ISO = f'iso_url = "https://example.org/debian.iso"\niso_checksum = "sha256:{SHA}"'
OVF = f'source_path = "https://example.org/base.ova"\nchecksum = "sha256:{SHA}"'
OVA = 'format = "ova"'


def fleet(builder: str, *attributes: str, after: str = "") -> Fleet:
    template = TEMPLATE.format(builder=builder, attributes="\n".join(attributes), after=after)
    files = {"desired/web/image.yaml": "locations: [/srv/images]\n", "desired/web/web.pkr.hcl": template}
    return read_fleet(MemoryTree(files, {}))


@pytest.mark.parametrize(
    ("builder", "begins", "url"),
    [
        ("qemu", ISO, "https://example.org/debian.iso"),
        ("virtualbox-iso", ISO, "https://example.org/debian.iso"),
        ("vmware-iso", ISO, "https://example.org/debian.iso"),
        ("virtualbox-ovf", OVF, "https://example.org/base.ova"),
    ],
)
def test_what_a_builder_names_with_its_digest_is_what_it_is_built_on(builder: str, begins: str, url: str) -> None:
    read = fleet(builder, begins, OVA)

    assert not read.problems
    source = read.images["web"].source
    assert read.images["web"].kind.name == "disk"
    assert source is not None
    assert source.upstream == ("disk", {"url": url, "checksum": f"sha256:{SHA}"})


def test_what_nobody_has_a_digest_of_is_not_pinned_and_said() -> None:
    read = fleet("vmware-vmx", 'source_path = "/srv/base/base.vmx"', OVA)

    assert read.images["web"].source is None
    assert any("source_path is several files, of which no digest is given" in one for one in read.images["web"].notes)


@pytest.mark.parametrize("builder", ["virtualbox-iso", "virtualbox-ovf", "vmware-iso", "vmware-vmx"])
@pytest.mark.parametrize("form", ["", 'format = "ovf"'])
def test_a_builder_that_leaves_a_folder_of_files_is_refused_and_told_how_it_leaves_one(builder: str, form: str) -> None:
    ((problem,),) = fleet(builder, form).problems.values()

    assert problem.what == f"{builder}.web leaves several files, and a disk is one"
    assert problem.hint == ('set format = "ova" in the builder',)


@pytest.mark.parametrize(
    ("form", "after"), [("format = var.form", ""), ("", 'post-processor "compress" {}'), (OVA, "")]
)  # fmt: skip
def test_one_that_may_leave_one_file_is_not(form: str, after: str) -> None:
    assert not fleet("virtualbox-iso", ISO, form, after=after).problems


@pytest.mark.parametrize("location", ["s3://acme", "s3://acme/", "s3://Acme/images", "s3://acme/a b", "images", "/"])
def test_what_is_neither_a_folder_nor_a_prefix_of_a_bucket_is_no_location(location: str) -> None:
    wrong = registries.dialect_of("disk").wrong_location

    assert wrong(location) == "the whole path of a folder, as /srv/images is, or s3://bucket/prefix"
    assert wrong("s3://acme-images/linux/web") is None
