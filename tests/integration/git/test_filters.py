"""Files that go through filters: refused where a build would need them, and Git LFS by its real client."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from reconciler.git.export import filters
from reconciler.git.recorder import Recorder
from reconciler.git.repository import Repository
from reconciler.model.errors import Place, ReconcilerError, Terminal, Transient, UserError
from reconciler.model.tree import TreeEntry
from tests.integration.git.conftest import Origin, commit, git, writing

pytestmark = pytest.mark.long

CONTENT = b"\x00ISO 9660\xff" * 1000


def pointer_to(content: bytes) -> str:
    digest = hashlib.sha256(content).hexdigest()
    return f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(content)}\n"


@pytest.fixture
def large(origin: Origin, clone: Path) -> Path:
    """A clone whose file desired/web/disk.iso is in LFS, pushed; and one without it, as CI makes them."""
    git(clone, "lfs", "install", "--local", "--skip-repo")
    commit(clone, {".gitattributes": "*.iso filter=lfs diff=lfs merge=lfs -text\n"})
    commit(clone, {"desired/web/disk.iso": CONTENT, "elsewhere/disk.iso": CONTENT + b"2"})
    git(clone, "lfs", "push", "--all", "origin")
    git(clone, "push", "--quiet", "origin", "HEAD:main")
    return origin.clone("fresh")


def refusal(directory: Path, tmp_path: Path, *used: str) -> ReconcilerError:
    with pytest.raises(ReconcilerError) as raised:
        Repository.open(directory).export("HEAD", tmp_path / "tree", used=used)
    return raised.value


def test_what_is_used_is_fetched_and_other_pointers_stay(large: Path, tmp_path: Path) -> None:
    export = Repository.open(large).export("HEAD", tmp_path / "tree", used=["desired/web/disk.iso"])

    assert export.directory.joinpath("desired/web/disk.iso").read_bytes() == CONTENT
    assert export.directory.joinpath("elsewhere/disk.iso").read_text() == pointer_to(CONTENT + b"2")
    assert large.joinpath("desired/web/disk.iso").read_text() == pointer_to(CONTENT)


@pytest.mark.usefixtures("large")
def test_a_fleet_in_a_folder_gets_the_content_of_what_it_uses(origin: Origin, clone: Path, tmp_path: Path) -> None:
    commit(clone, {"infra/desired/web/web.pkr.hcl": "source {}\n", "infra/desired/web/own.iso": CONTENT + b"3"})
    git(clone, "lfs", "push", "--all", "origin")
    git(clone, "push", "--quiet", "--no-verify", "origin", "HEAD:main")
    fleet = Repository.open(origin.clone("nested") / "infra")

    export = fleet.export("HEAD", tmp_path / "tree", used=["desired/web/own.iso", "../desired/web/disk.iso"])

    assert export.directory.joinpath("infra/desired/web/own.iso").read_bytes() == CONTENT + b"3"
    assert export.directory.joinpath("desired/web/disk.iso").read_bytes() == CONTENT
    assert export.directory.joinpath("elsewhere/disk.iso").read_text() == pointer_to(CONTENT + b"2")


@pytest.mark.parametrize(
    "habit",
    [
        {"lfs.fetchexclude": "*"},
        {"lfs.fetchinclude": "other/**"},
        {"lfs.skipdownloaderrors": "true"},
        {"filter.lfs.smudge": "git-lfs smudge --skip -- %f"},
        {"filter.lfs.process": "git-lfs filter-process --skip"},
    ],
)
def test_what_a_person_leaves_out_of_their_checkouts_is_fetched_all_the_same(
    habit: Mapping[str, str], large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in habit.items():
        git(large, "config", name, value)
    monkeypatch.setenv("GIT_LFS_SKIP_SMUDGE", "1")

    export = Repository.open(large).export("HEAD", tmp_path / "tree", used=["desired/web/disk.iso"])

    assert export.directory.joinpath("desired/web/disk.iso").read_bytes() == CONTENT


def test_a_pointer_is_fetched_wherever_the_attribute_got_lost(large: Path, tmp_path: Path) -> None:
    git(large, "rm", "--quiet", "--cached", ".gitattributes")
    git(large, "commit", "--quiet", "--message", "Lose the attributes")

    export = Repository.open(large).export("HEAD", tmp_path / "tree", used=["desired/web/disk.iso"])

    assert export.directory.joinpath("desired/web/disk.iso").read_bytes() == CONTENT


def test_a_file_that_was_committed_past_lfs_is_that_file(clone: Path, tmp_path: Path) -> None:
    made = commit(clone, {"disk.iso": CONTENT})
    made = commit(clone, {".gitattributes": "*.iso filter=lfs\n"})

    export = Repository.open(clone).export(made, tmp_path / "tree", used=["disk.iso"])

    assert export.directory.joinpath("disk.iso").read_bytes() == CONTENT


def test_without_git_lfs_a_pointer_is_refused_and_not_built(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _only_git_on_the_path(tmp_path, monkeypatch)

    error = refusal(large, tmp_path, "desired/web/disk.iso", "elsewhere/disk.iso")

    assert isinstance(error, UserError)
    assert error.what == (
        "desired/web/disk.iso and 1 more are kept in Git LFS, and git-lfs is not here: "
        "the build would get a pointer of 130 bytes"
    )
    assert "install git-lfs" in error.hint[0]


def test_without_git_lfs_a_commit_is_exported_that_needs_nothing_of_it(
    large: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _only_git_on_the_path(tmp_path, monkeypatch)

    Repository.open(large).export("HEAD", tmp_path / "tree", used=["desired/web/web.pkr.hcl"])


class Lfs(ThreadingHTTPServer):
    """An LFS server that answers each request for objects with one status, or each object with one content."""

    def __init__(self, answer: int | bytes) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.answer = answer


class _Answers(BaseHTTPRequestHandler):
    server: Lfs

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["objects"]
        answer, here = self.server.answer, f"http://127.0.0.1:{self.server.server_port}/object"
        if isinstance(answer, bytes):
            actions = {"actions": {"download": {"href": here}}}
            self._send(200, json.dumps({"objects": [{**one, **actions} for one in asked]}).encode())
        elif answer == 404:
            missing = {"error": {"code": 404, "message": "Object does not exist on the server"}}
            self._send(200, json.dumps({"objects": [{**one, **missing} for one in asked]}).encode())
        else:
            words = {403: "Access forbidden. Check your access level.", 503: "come back later"}
            self._send(answer, json.dumps({"message": words[answer]}).encode())

    def do_GET(self) -> None:
        self._send(200, self.server.answer if isinstance(self.server.answer, bytes) else b"")

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/vnd.git-lfs+json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(request: pytest.FixtureRequest, large: Path) -> Iterator[Path]:
    """The fresh clone, with its LFS on a server of the answer that the test is given."""
    with Lfs(request.param) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        git(large, "config", "lfs.url", f"http://127.0.0.1:{server.server_port}")
        git(large, "config", "lfs.transfer.maxretries", "1")
        yield large
        server.shutdown()


@pytest.mark.parametrize(
    ("served", "kind", "said"),
    [
        (404, UserError, "the content of desired/web/disk.iso is not on the LFS server"),
        (403, Terminal, "the LFS server refuses these credentials for desired/web/disk.iso"),
        (503, Transient, "git-lfs could not fetch desired/web/disk.iso"),
    ],
    indirect=["served"],
)
def test_why_content_cannot_be_had_is_told(
    served: Path, kind: type[ReconcilerError], said: str, *, tmp_path: Path
) -> None:
    error = refusal(served, tmp_path, "desired/web/disk.iso")

    assert type(error) is kind
    assert error.what.startswith(said)
    assert error.hint


@pytest.mark.parametrize("served", [b"something else of another size", CONTENT[::-1]], indirect=True)
def test_what_is_not_what_the_pointer_names_is_never_built(served: Path, tmp_path: Path) -> None:
    error = refusal(served, tmp_path, "desired/web/disk.iso")

    assert type(error) in (Terminal, Transient)
    assert "desired/web/disk.iso" in error.what


FILTERED = {
    ".gitattributes:1": {".gitattributes": "secret.yml filter=git-crypt diff=git-crypt\n"},
    ".gitattributes:3": {".gitattributes": "# secrets\n*.yml -filter\n/a/*/secret.yml\tfilter=git-crypt\n"},
    "a/.gitattributes:2": {".gitattributes": "* filter=lfs\n", "a/.gitattributes": "\n** filter=git-crypt\r\n"},
    "a/b/.gitattributes:1": {
        "a/.gitattributes": "* filter=one\n", "a/b/.gitattributes": '"secre\\164.yml" filter=git-crypt',
    },
    ".gitattributes:4": {
        ".gitattributes": "x filter=x\n*.yml reconciler-place=0\n# filter=z\n*.yml\t-text\rfilter=git-crypt\r\n",
    },
    ".gitattributes:2": {".gitattributes": "*.txt text\n[attr]crypt filter=git-crypt\n*.yml crypt\n"},
}  # fmt: skip


@pytest.mark.parametrize("place", FILTERED)
def test_any_other_filter_is_refused_with_the_line_that_sets_it(place: str, clone: Path, tmp_path: Path) -> None:
    commit(clone, {"a/b/secret.yml": "cipher", "a/b/plain.sh": "1", **FILTERED[place]})

    error = refusal(clone, tmp_path, "a/b/secret.yml")

    assert isinstance(error, UserError)
    assert str(error.where) == place
    assert error.what.startswith('a/b/secret.yml goes through the filter "git-crypt"')


@pytest.mark.parametrize(
    "attributes",
    [
        "secret.yml filter=git-crypt\nsecret.yml -filter\n",
        "secret.yml filter=git-crypt\nsecret.yml !filter\n",
        "secret.yml filter\n",
        "# secret.yml filter=git-crypt\n",
        "secret.yml my-filter=git-crypt\n",
        "other.yml filter=git-crypt\n",
        "secret.yml/ filter=git-crypt\n",
    ],
)
def test_a_file_that_goes_through_no_filter_is_exported(attributes: str, clone: Path, tmp_path: Path) -> None:
    made = commit(clone, {"a/secret.yml": "text", ".gitattributes": attributes})

    export = Repository.open(clone).export(made, tmp_path / "tree", used=["a/secret.yml"])

    assert export.directory.joinpath("a/secret.yml").read_text() == "text"


def test_filters_of_files_that_are_not_used_and_of_links_stop_nothing(clone: Path, tmp_path: Path) -> None:
    clone.joinpath("link").symlink_to("README.md")
    commit(clone, {"secret": "cipher", ".gitattributes": "/secret filter=git-crypt\n/link filter=git-crypt\n"})

    Repository.open(clone).export("HEAD", tmp_path / "tree", used=["README.md", "link"])


@pytest.mark.parametrize("where", [".git/info/attributes", "../../home/.config/git/attributes", ".gitattributes"])
def test_a_persons_own_filters_are_their_own(where: str, clone: Path, tmp_path: Path) -> None:
    attributes = tmp_path.joinpath("owner", "clone", where)
    attributes.parent.mkdir(parents=True, exist_ok=True)
    attributes.write_text("* filter=upper\n")
    git(clone, "config", "filter.upper.smudge", "tr a-z A-Z")

    export = Repository.open(clone).export("HEAD", tmp_path / "tree", used=["README.md"])

    assert export.directory.joinpath("README.md").read_text() == "fleet\n"


def test_where_a_filter_is_set_is_known_without_a_checkout(clone: Path) -> None:
    commit(clone, {"a.yml": "1", "b.yml": "1", "c.iso": "1", ".gitattributes": "*.iso filter=lfs\nb.yml filter=x\n"})

    found = filters(Repository.open(clone).tree(), ["a.yml", "b.yml", "c.iso", "gone"])

    assert {path: (one.name, one.place) for path, one in found.items()} == {
        "b.yml": ("x", Place(".gitattributes", 2)),
        "c.iso": ("lfs", Place(".gitattributes", 1)),
    }


def test_attributes_of_a_tree_that_leads_elsewhere_are_written_nowhere(tmp_path: Path) -> None:
    tree = Leading({"a/../../../out/.gitattributes": b"* filter=x\n", "a/../../../out/file": b"1"})

    assert filters(tree, tree.entries) == {}
    assert not tmp_path.parent.joinpath("out").exists()


class Leading:
    """A tree with names that no checkout would make."""

    oid = "0" * 40
    below = ""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files
        self.entries = {path: TreeEntry(path, "100644", path) for path in files}

    def read(self, oids: Iterable[str], *, most: int | None = None) -> Mapping[str, bytes]:
        return {oid: self.files[oid] for oid in oids if most is None or len(self.files[oid]) <= most}


def test_a_checkout_whose_filter_is_missing_says_which_program(
    origin: Origin, large: Path, recorder_in: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is pushed; only the checkout can't follow, since git has to write a file of LFS there."""
    assert callable(recorder_in)
    other = origin.clone("other")
    git(other, "lfs", "install", "--local", "--skip-repo")
    commit(other, {"desired/web/disk.iso": CONTENT + b"new"})
    git(other, "push", "--quiet", "--no-verify", "origin", "HEAD:main")
    git(large, "lfs", "install", "--local", "--skip-repo", "--skip-smudge")
    _only_git_on_the_path(tmp_path, monkeypatch)
    recorder: Recorder = recorder_in(large)

    result = recorder.record(writing("web", "{}\n"))

    assert result is not None
    assert origin.head() == result.commit
    assert result.left_behind == "git status needs the program git-lfs, which is not here"


def _only_git_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with git and a shell, and without git-lfs."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("git", "sh", "env", "git-upload-pack", "git-receive-pack"):
        programs.joinpath(name).symlink_to(Path("/usr/bin") / name)
    monkeypatch.setenv("PATH", str(programs))
