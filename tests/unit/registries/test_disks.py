"""What is read of a template that leaves a disk: what it is built on, and whether it leaves one file."""

from __future__ import annotations

import shlex
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest

from reconciler import registries
from reconciler.build.judge import unusable
from reconciler.build.workplace import found_here
from reconciler.desired.fleet import read_fleet
from reconciler.model.fleet import Fleet
from reconciler.registries.disk import accelerator, bench
from reconciler.registries.disk.accelerator import Accelerators
from reconciler.registries.disk.files import not_ours
from reconciler.registries.machines import new_key
from tests.unit.desired.conftest import MemoryTree

TEMPLATE = """\
variable "form" {{ default = null }}
variable "accelerator" {{ default = "" }}
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


def fleet(builder: str, *attributes: str, after: str = "", location: str = "/srv/images") -> Fleet:
    template = TEMPLATE.format(builder=builder, attributes="\n".join(attributes), after=after)
    files = {"desired/web/image.yaml": f"locations: [{location}]\n", "desired/web/web.pkr.hcl": template}
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


@pytest.mark.parametrize("url", ["isos/debian.iso", "./debian.iso", "ftp://example.org/debian.iso"])
def test_what_is_neither_a_whole_path_nor_an_address_is_not_pinned_and_said(url: str) -> None:
    read = fleet("qemu", f'iso_url = "{url}"', f'iso_checksum = "sha256:{SHA}"')

    assert not read.problems
    assert read.images["web"].source is None
    assert any("iso_url is neither a whole path nor an address" in one for one in read.images["web"].notes)


@pytest.mark.parametrize("after", ['post-processor "manifest" {}', 'post-processor "checksum" {}'])
def test_what_only_looks_at_a_folder_makes_no_file_of_it(after: str) -> None:
    ((problem,),) = fleet("virtualbox-iso", ISO, after=after).problems.values()

    assert problem.what == "virtualbox-iso.web leaves several files, and a disk is one"


def test_what_is_packed_is_no_disk_to_boot_or_convert() -> None:
    (packed,) = fleet("qemu", ISO, after='post-processor "compress" {}').images["web"].template.makers
    (plain,) = fleet("qemu", ISO, after='post-processor "manifest" {}').images["web"].template.makers

    assert (packed.communicator, packed.formats) == ("none", ())
    assert plain.communicator == "ssh"
    assert "qcow2" in plain.formats


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


@pytest.mark.parametrize(
    "location",
    ["s3://acme", "s3://acme/", "s3://acme//images", "s3://Acme/images", "s3://acme/a b", "images", "/", "//", "/s\0"],
)  # fmt: skip
def test_what_is_neither_a_folder_nor_a_prefix_of_a_bucket_is_no_location(location: str) -> None:
    wrong = registries.dialect_of("disk").wrong_location

    assert wrong(location) == "the whole path of a folder, as /srv/images is, or s3://bucket/prefix"
    assert wrong("s3://acme-images/linux/web") is None


@pytest.mark.parametrize(
    ("location", "shortest"),
    [
        ("/srv/images/", "/srv/images"), ("//srv/images", "/srv/images"), ("/srv//images", "/srv/images"),
        ("/srv/./images", "/srv/images"), ("/srv/images/.", "/srv/images"), ("s3://acme-images/./web", "s3://acme-images/web"),
    ],
)  # fmt: skip
def test_a_place_has_one_name_and_another_is_told_it(location: str, shortest: str) -> None:
    read = fleet("file", location=location)

    ((problem,),) = read.problems.values()
    assert problem.what == f'locations[0]: "{location}" is not the shortest name of that place, {shortest}'
    assert str(problem.where) == "desired/web/image.yaml:1:13"
    assert registries.dialect_of("disk").wrong_location(shortest) is None


@pytest.mark.parametrize("location", ["/srv/../srv/images", "/srv/images/..", "s3://acme-images/web/../web"])
def test_a_path_that_goes_back_is_refused_as_links_may_lead_it_anywhere(location: str) -> None:
    assert registries.dialect_of("disk").wrong_location(location) == 'a path without ".."'


@pytest.fixture
def without_kvm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine that has no /dev/kvm; returns what it lacks."""
    monkeypatch.setattr(accelerator, "MACHINE", Accelerators(tmp_path / "kvm"))
    return tmp_path / "kvm"


@pytest.mark.parametrize(
    ("said", "given", "refused"),
    [
        ("accelerator = var.accelerator", {"accelerator": "tcg"}, False),
        ('accelerator = "kvm"', {}, True),
        ('accelerator = "tcg"', {}, False),
        ('accelerator = "hvf"', {}, False),
        ("", {}, False),  # Packer takes emulation then
        ("accelerator = null", {}, False),
    ],
)
def test_a_machine_runs_on_what_is_there_and_a_template_that_wants_more_is_told_where(
    without_kvm: Path, *, said: str, given: dict[str, str], refused: bool
) -> None:
    image = fleet("qemu", ISO, said).images["web"]

    found = unusable([image])

    assert found_here(image) == given
    assert set(found) == ({"web"} if refused else set())
    for error in found.values():
        assert error.what == f'qemu.web has accelerator = "kvm", and there is no {without_kvm}'
        assert str(error.where) == "desired/web/web.pkr.hcl:6:1"
    told = [one for one in image.notes if "names no accelerator" in one]
    assert bool(told) == (said in ("", "accelerator = null"))


def test_a_folder_that_can_not_hold_what_is_made_is_found_out_before_packer_runs(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()

    def refused(location: Path | str) -> dict[str, str]:
        found = fleet("file", location=str(location)).images
        return {name: error.what for name, error in unusable(found.values()).items()}

    assert refused(tmp_path / "there") == refused(tmp_path / "new") == refused("s3://acme-images/web") == {}
    assert not (tmp_path / "new").exists()
    away = tmp_path / "away" / "new"
    assert refused(away) == {"web": f"{away} is not there, nor is {away.parent} to make it in: is it mounted?"}


@pytest.mark.usefixtures("without_kvm")
def test_a_value_that_somebody_gave_is_what_counts() -> None:
    template = TEMPLATE.format(builder="qemu", attributes=f"{ISO}\naccelerator = var.accelerator", after="")
    declared = "locations: [/srv/images]\npacker: {variables: {accelerator: kvm}}\n"
    files = {"desired/web/image.yaml": declared, "desired/web/web.pkr.hcl": template}
    image = read_fleet(MemoryTree(files, {})).images["web"]

    assert found_here(image) == {}
    assert set(unusable([image])) == {"web"}


def test_what_boots_nothing_asks_nothing_of_the_machine() -> None:
    image = fleet("file").images["web"]

    assert (image.template.builders[0].machine, found_here(image)) == (None, {})


def test_whoever_asks_for_a_machines_key_without_end_takes_no_more_than_a_few_threads(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Given somebody on this machine who connects, and says nothing
    monkeypatch.setattr(bench, "_HEARD_SECONDS", 0.1)
    seed = bench._seed(SimpleNamespace(name="web", user="admin"), new_key())  # type: ignore[arg-type]
    before = threading.active_count()
    silent = [socket.create_connection(("127.0.0.1", seed.server_port)) for _ in range(100)]

    # When they are all there, then few are heard, and soon others are
    try:
        time.sleep(0.2)
        assert threading.active_count() - before <= 16
        answer, until = b"", time.monotonic() + 30
        while not answer and time.monotonic() < until:
            with socket.create_connection(("127.0.0.1", seed.server_port)) as asked, suppress(OSError):
                asked.sendall(b"GET /meta-data HTTP/1.0\r\n\r\n")
                answer = asked.recv(100)
        assert answer.startswith(b"HTTP/1.0 200")
    finally:
        for one in silent:
            one.close()
        seed.shutdown()
        seed.server_close()


def test_a_command_that_a_hint_names_runs_nothing_of_what_a_folder_is_called() -> None:
    words = not_ours("/disks/$(touch x);y").hint[0].split("`")
    assert shlex.split(words[1]) == ["touch", "/disks/$(touch x);y/.reconciler"]
