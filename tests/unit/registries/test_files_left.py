"""What of all that Packer reports is its result, where that is a file: in the words of Packer 1.6.6."""

from __future__ import annotations

import pytest

from reconciler.build.output import ArtifactField, ArtifactReader, parse_line
from reconciler.ports.dialect import Made
from reconciler.registries.plain import files_left

BUILT = ("packer.file", "File", "big.qcow2")
COMMITTED = ("packer.docker", "sha256:0123")
SAVED = ("packer.post-processor.artifice", "", "final.raw")
PACKED = ("packer.post-processor.compress", "", "final.gz")
SUMMED = ("packer.post-processor.checksum", "", "big.qcow2", "big.sum")
SUMMED_PACKED = ("packer.post-processor.checksum", "", "final.gz", "final.sum")
BOXED = ("mitchellh.post-processor.vagrant", "libvirt", "big.box")
TAGGED = ("packer.post-processor.docker-tag", "acme/web:1")


def read(*reported: tuple[str, ...]) -> tuple[Made, ...]:
    """What is read of artifacts that Packer reports, each by its builder, its id and its files."""
    reader = ArtifactReader()
    for number, (builder_id, identity, *files) in enumerate(reported):
        told = [f"builder-id,{builder_id}", f"id,{identity}", f"files-count,{len(files)}"]
        told += [f"file,{at},{file}" for at, file in enumerate(files)]
        for field in (*told, "end"):
            line = parse_line(f"1796038758,file.x,artifact,{number},{field}")
            assert isinstance(line, ArtifactField)
            reader.take(line)
    return reader.complete


@pytest.mark.parametrize(
    ("reported", "left"),
    [
        ([BUILT], ["big.qcow2"]),
        ([BUILT, BUILT], ["big.qcow2"]),
        ([BUILT, BUILT, SAVED], ["final.raw"]),
        ([BUILT, SAVED, BUILT], ["final.raw"]),
        ([PACKED], ["final.gz"]),
        ([BUILT, SUMMED], ["big.qcow2"]),
        ([BUILT, SUMMED, BUILT], ["big.qcow2"]),
        ([BUILT, BUILT, PACKED, SUMMED_PACKED, SUMMED_PACKED], ["final.gz"]),
        ([BUILT, SAVED, PACKED], ["final.raw", "final.gz"]),
        ([BUILT, BOXED], ["big.box"]),
        ([COMMITTED, TAGGED, SAVED], ["final.raw"]),
        ([COMMITTED, TAGGED], []),
        ([BUILT, SUMMED_PACKED], ["final.gz", "final.sum"]),
    ],
)
def test_what_post_processors_made_is_what_counts(reported: list[tuple[str, ...]], left: list[str]) -> None:
    made = read(*reported)

    assert [file for one in files_left(made) for file in one.files] == left


def test_what_has_neither_an_id_nor_files_is_nothing() -> None:
    assert read(("packer.post-processor.artifice", "")) == ()
    assert [one.id for one in read(PACKED, BUILT, TAGGED)] == ["final.gz", "big.qcow2", "acme/web:1"]
