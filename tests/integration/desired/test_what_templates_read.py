"""Whatever a template can read of an exported checkout is in its image's key, or refused, or noted.

Trees and templates are made at random, of names that once were in no key. The judge of what is read is the file system:
the files of the export, as they are found there.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from reconciler.desired.fleet import read_fleet
from reconciler.git.repository import Repository
from reconciler.model.errors import ReconcilerError
from reconciler.plan.key import of_inputs

LINK, PLUGIN = b"120000", "packer-provisioner-"
DECLARED = "source: {ami: {id: ami-0abc}}\npacker: {working_dir: %s}\n"
TEMPLATE = """\
variable "source_ami" { type = string }
variable "run_tags" { type = map(string) }
source "amazon-ebs" "web" {
  region     = "us-east-1"
  source_ami = var.source_ami
}
build {
  sources = ["source.amazon-ebs.web"]
%s
}
"""
FOLDERS = (
    b"", b"desired", b"desired/web", b"desired/web/files", b"desired/web/state", b"desired/web/desired/web",
    b"desired/state", b"desired/desired", b"state", b"lib", b"lib/state", b"lib/desired/web", b"infra/state",
    b"infra/desired/api", b"lib/caf\xe9", b"lib/caf\\xe9",
)  # fmt: skip
NAMES = (
    b"a", b"b", b"run.sh", b"image.yaml", b"caf\xe9.conf", b"caf\\xe9.conf", b"web.lock.json", b"api.lock.json",
    b"packages.lock.json", b"README", b"packer-provisioner-shell", "e\u0301".encode(), "\u00e9".encode(), b"A",
)  # fmt: skip
LINKS = (b".", b"..", b"../..", b"../../lib", b"image.yaml", b"../../state", b"../../infra", b"a", b"caf\xe9.conf")
OWN = b"desired/web/web.pkr.hcl", b"desired/web/image.yaml"

Files = dict[bytes, tuple[bytes, bytes]]
"""Path to mode and content."""


@st.composite
def trees(draw: st.DrawFn) -> Files:
    """A commit's files, beside the image's own."""
    found: Files = {}
    for folder, name in draw(st.lists(st.tuples(st.sampled_from(FOLDERS), st.sampled_from(NAMES)), max_size=12)):
        path = folder + b"/" + name if folder else name
        link = draw(st.booleans()) and draw(st.booleans()) and folder.startswith((b"desired/web", b"lib"))
        found[path] = (LINK, draw(st.sampled_from(LINKS))) if link else (b"100755", b"echo 1\n")
    taken = set(found)
    return {
        path: one for path, one in found.items() if path not in OWN and not any(_is_below(two, path) for two in taken)
    }


def _is_below(path: bytes, folder: bytes) -> bool:
    return path.startswith(folder + b"/")


@dataclass(frozen=True)
class Reads:
    """A step that reads something: what it says, of a path and maybe a pattern."""

    how: str
    path: str
    pattern: str = "*"

    def __str__(self) -> str:
        path, pattern = (text.replace("\\", "\\\\") for text in (self.path, self.pattern))
        match self.how:
            case "upload":
                return f'  provisioner "file" {{\n    source = "{path}"\n    destination = "/tmp/x"\n  }}'
            case "script":
                return f'  provisioner "shell" {{ script = "{path}" }}'
            case "fileset":
                each = f'[for one in fileset("{path}", "{pattern}") : file("{path}/${{one}}")]'
                return f'  provisioner "shell" {{ inline = {each} }}'
            case function:
                return f'  provisioner "shell" {{ inline = [{function}("{path}")] }}'

    @property
    def from_template(self) -> bool:
        """Whether the path begins at the template's folder, and not where Packer runs."""
        return self.how in ("file", "fileset")


PATTERNS: dict[str, Callable[[str], bool]] = {
    "*": bool, "[^b]": lambda name: len(name) == 1 and name != "b", "\\a": lambda name: name == "a",
    "{a,b}": lambda name: name in ("a", "b"), "/a": lambda name: name == "a", "*.sh": lambda name: name.endswith(".sh"),
}  # fmt: skip


@st.composite
def reads_of(draw: st.DrawFn, files: Files, *, working_dir: str) -> Reads:
    """A step that reads something of these files, or what may be there behind a link."""
    there = {path for path in (*files, *OWN) if path.isascii()}
    folders = {path.rpartition(b"/")[0] for path in there}
    through = {folder + b"/" + name for folder in there for name in (b"a", b"web", b"image.yaml")}
    how = draw(st.sampled_from(["upload", "script", "file", "filebase64", "fileset"]))
    wanted = folders | there if how == "upload" else folders if how == "fileset" else there
    seldom = draw(st.integers(0, 3)) == 3
    path = draw(st.sampled_from(sorted(through if seldom else wanted))).decode() or "."
    if working_dir == "." or how in ("file", "fileset"):
        path = os.path.relpath(path, "desired/web")
    return Reads(how, path, draw(st.sampled_from(sorted(PATTERNS))))


class Made:
    """A repository, and what each commit that is made in it says of the image web."""

    def __init__(self, root: Path) -> None:
        self.root = root
        subprocess.run(["git", "init", "--quiet", "--initial-branch=main", root], check=True)

    def commit(self, files: Mapping[bytes, tuple[bytes, bytes]]) -> str:
        stream = b"commit refs/heads/main\ncommitter a <a@b> 1 +0000\ndata 0\ndeleteall\n"
        for path, (mode, content) in files.items():
            named = "".join(f"\\{byte:03o}" for byte in path)
            stream += b'M %s inline "%s"\ndata %d\n%s\n' % (mode, named.encode(), len(content), content)
        subprocess.run(["git", "fast-import", "--quiet", "--force"], cwd=self.root, input=stream, check=True)
        return subprocess.run(
            ["git", "rev-parse", "refs/heads/main"], cwd=self.root, capture_output=True, text=True, check=True
        ).stdout.strip()  # fmt: skip

    def told(self, commit: str) -> tuple[str | None, str]:
        """The digest of the files that feed the image, None where it is refused; and what is noted."""
        try:
            fleet = read_fleet(Repository.open(self.root).tree(commit))
        except ReconcilerError:
            return None, ""
        image = fleet.images.get("web")
        if image is None:
            return None, ""
        return of_inputs(image.declaration, image.inputs, kind=image.kind)["files"], "\n".join(image.notes)

    def read_by(self, commit: str, reads: Reads, working_dir: str) -> dict[bytes, bool]:
        """The files that a step reads of the export, by their paths in git, and whether it names each by itself."""
        with tempfile.TemporaryDirectory() as folder:
            try:
                Repository.open(self.root).export(commit, Path(folder))
            except ReconcilerError:
                return {}
            top = Path(folder).resolve()
            template = top / "desired/web"
            runs_in = template if working_dir == "." else top
            try:
                target = ((template if reads.from_template else runs_in) / reads.path).resolve()
            except RuntimeError:  # links in a circle: nothing is read
                return {}
            found = {one.resolve(): False for one in _below(runs_in, deep=False) if one.name.startswith(PLUGIN)}
            if reads.how == "upload":
                found |= {one.resolve(): one == target for one in _below(target)}
            elif reads.how == "fileset":
                wanted = PATTERNS[reads.pattern]
                found |= {one.resolve(): False for one in _below(target, deep=False) if wanted(one.name)}
            elif target.is_file():
                found[target] = True
            return {
                os.fsencode(one.relative_to(top)): named for one, named in found.items() if one.is_relative_to(top)
            }  # fmt: skip


def _below(target: Path, *, deep: bool = True) -> Iterator[Path]:
    """A file, or all files of a folder; links in it are not followed to folders, as Packer uploads none of those."""
    if target.is_file():
        yield target
    for folder, below, names in os.walk(target):
        yield from (one for name in names if (one := Path(folder, name)).is_file())
        if not deep:
            below.clear()


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path / "repository")


@pytest.mark.thorough
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(files=trees(), working_dir=st.sampled_from([".", "/"]), data=st.data())
def test_no_byte_that_a_template_reads_is_in_no_key_unsaid(
    made: Made, files: Files, working_dir: str, data: st.DataObject
) -> None:
    reads = data.draw(reads_of(files, working_dir=working_dir))
    whole = files | {
        OWN[0]: (b"100644", (TEMPLATE % reads).encode()),
        OWN[1]: (b"100644", (DECLARED % working_dir).encode()),
    }
    commit = made.commit(whole)
    before, notes = made.told(commit)
    read = {path: named for path, named in made.read_by(commit, reads, working_dir).items() if path in whole}
    event("refused" if before is None else f"reads with {reads.how}" if read else "reads nothing")
    if before is None or not read:
        return
    path = data.draw(st.sampled_from(sorted(read)))
    mode, content = whole[path]

    # When somebody changes what is in it, or what it is called
    changed = dict(whole)
    changed[path] = (mode, content + b"# evil\n")
    renamed = dict(whole)
    other = path.replace(b"\xe9", b"\\xe9") if b"\xe9" in path else path.replace(b"\\xe9", b"\xe9")
    if other not in renamed:
        renamed[other] = renamed.pop(path)

    for after in (changed, renamed) if renamed != whole else (changed,):
        now, _ = made.told(made.commit(after))
        said = "the key" in notes and (not read[path] or path.startswith(b"state/"))
        assert now is None or now != before or said, (path, str(reads), notes)


def test_a_name_that_is_not_utf8_counts_otherwise_than_one_that_it_is_shown_as(made: Made) -> None:
    own = {OWN[0]: (b"100644", (TEMPLATE % "").encode()), OWN[1]: (b"100644", (DECLARED % ".").encode())}
    names = (
        b"desired/web/caf\xe9.conf",
        b"desired/web/caf\\xe9.conf",
        b"desired/web/caf\xe9/conf",
        b"desired/web/caf\\xe9/conf",
    )
    told = [made.told(made.commit({**own, name: (b"100644", b"same\n")}))[0] for name in names]
    assert None not in told
    assert len(set(told)) == len(names)


def test_what_a_link_leads_to_by_a_name_that_is_not_utf8_counts(made: Made) -> None:
    own = {OWN[0]: (b"100644", (TEMPLATE % "").encode()), OWN[1]: (b"100644", (DECLARED % ".").encode())}
    link = {b"desired/web/link": (LINK, b"../../lib/caf\xe9.conf")}
    one, other = (
        made.told(made.commit({**own, **link, b"lib/caf\xe9.conf": (b"100644", content)}))[0]
        for content in (b"one\n", b"two\n")
    )
    assert None not in (one, other)
    assert one != other
