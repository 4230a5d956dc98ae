"""The archive of the sandbox's Debian is what apt itself, the judge here, knows to be Debian's own."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from reconciler.model.errors import UserError
from reconciler.sandbox import archive, kernel

pytestmark = pytest.mark.skipif(
    None in map(shutil.which, ("apt-get", "gpg", "gpgconf")), reason="this machine has no apt, or no gpg to sign with"
)

DVD = "cdrom:[Debian GNU/Linux 12.5.0 _Bookworm_ - Official amd64 DVD Binary-1 with firmware 20240210-11:28]/"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None: ...


@dataclass(frozen=True)
class Machine:
    """A machine's apt: its sources, what it has downloaded, and a few archives on the web."""

    folder: Path
    web: str

    def publish(self, place: str, *, origin: str, label: str = "Debian", suite: str = "bookworm") -> str:
        """Put an archive of a suite on the web; return its address."""
        suite_folder = self.folder / "web" / place / "dists" / suite
        index = suite_folder / "main/binary-amd64/Packages"
        index.parent.mkdir(parents=True, exist_ok=True)
        index.write_text("Package: hello\nVersion: 1\nArchitecture: amd64\n")
        fields = [f"Origin: {origin}", f"Label: {label}", f"Suite: {suite}", f"Codename: {suite}", "Components: main"]
        digest = hashlib.sha256(index.read_bytes()).hexdigest()
        listed = f" {digest} {index.stat().st_size} main/binary-amd64/Packages"
        date = "Date: Thu, 26 Nov 2026 10:00:00 UTC"
        release = "\n".join([*fields, "Architectures: amd64", date, "SHA256:", listed, ""])
        (suite_folder / "Release").write_text(release)
        return f"{self.web}/{place}"

    def sources(self, *lines: str) -> None:
        (self.folder / "sources.list").write_text("".join(f"{line}\n" for line in lines))

    def updates(self) -> None:
        """Have its apt download the lists."""
        (self.folder / "lists/partial").mkdir(parents=True)
        subprocess.run(["apt-get", "update"], check=True, capture_output=True)

    def signs(self, place: str) -> None:
        """Sign an archive's suites with a key, which is Debian's here."""
        home = self.folder / "gpg"
        gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
        if not home.exists():
            home.mkdir(mode=0o700)
            subprocess.run([*gpg, "--quick-generate-key", "archive@example", "ed25519"], check=True)
            exported = subprocess.check_output([*gpg, "--export"])
            (self.folder / "debians.gpg").write_bytes(exported)
        for release in (self.folder / "web" / place).glob("dists/*/Release"):
            signed = str(release.with_name("InRelease"))
            subprocess.run([*gpg, "--clearsign", "--output", signed, str(release)], check=True)
            release.unlink()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    (tmp_path / "web").mkdir()
    tmp_path.chmod(0o755)
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path / "web")))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    settings = {
        "APT::Architecture": "amd64",
        "APT::Architectures": "amd64",
        "APT::Sandbox::User": "root",
        "Acquire::Languages": "none",
        "Acquire::http::Proxy": "DIRECT",
        "Acquire::Retries": "0",
        "Dir::Cache": str(tmp_path / "apt-cache"),
        "Dir::Etc::main": "/dev/null",
        "Dir::Etc::parts": "/dev/null",
        "Dir::Etc::sourcelist": str(tmp_path / "sources.list"),
        "Dir::Etc::sourceparts": "-",
        "Dir::Etc::trusted": "/dev/null",
        "Dir::Etc::trustedparts": "/dev/null",
        "Dir::State": str(tmp_path),
    }
    (tmp_path / "apt.conf").write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    monkeypatch.setenv("APT_CONFIG", str(tmp_path / "apt.conf"))
    monkeypatch.delenv(archive.MIRROR, raising=False)
    monkeypatch.setattr(kernel, "_KEYRINGS", (str(tmp_path / "debians.gpg"),))
    monkeypatch.setattr(archive, "OLD_KEYRING", tmp_path / "none")
    yield Machine(tmp_path, f"http://127.0.0.1:{server.server_port}")
    server.shutdown()
    thread.join()
    server.server_close()
    if (tmp_path / "gpg").exists():
        subprocess.run(["gpgconf", "--homedir", str(tmp_path / "gpg"), "--kill", "gpg-agent"], check=False)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    (tmp_path / "roots").mkdir()
    return tmp_path / "roots"


def named(lines: Sequence[str]) -> str:
    return f"debian-{hashlib.sha256(repr(list(lines)).encode()).hexdigest()}"


def found(cache: Path) -> list[str]:
    return archive.found(cache, named=named)


def test_what_a_third_party_has_under_the_same_names_is_not_debians(machine: Machine, cache: Path) -> None:
    # Given HashiCorp's archive, as its documentation has it added, and before Debian's own
    packers, debians = machine.publish("packer", origin="Artifactory"), machine.publish("deb", origin="Debian")
    security = machine.publish("sec", origin="Debian", label="Debian-Security", suite="bookworm-security")
    machine.sources(
        f"deb [trusted=yes] {packers} bookworm main",
        f"deb [trusted=yes] {debians} bookworm main",
        f"deb [trusted=yes] {security} bookworm-security main",
    )
    machine.updates()

    assert found(cache) == [f"deb {debians}/ bookworm main", f"deb {security}/ bookworm-security main"]


def test_where_only_a_third_party_has_the_suite_it_is_debians_own_archive(machine: Machine, cache: Path) -> None:
    # As on a machine of another release
    machine.sources(f"deb [trusted=yes] {machine.publish('packer', origin='Artifactory')} bookworm main")
    machine.updates()

    assert found(cache) == []


def test_of_a_list_of_mirrors_it_is_the_first_on_the_web(machine: Machine, cache: Path) -> None:
    # As Debian's own cloud images have it
    listed = machine.folder / "mirrors.list"
    listed.write_text(f"{machine.publish('deb', origin='Debian')}\n")
    machine.sources(f"deb [trusted=yes] mirror+file:{listed} bookworm main")
    machine.updates()
    listed.write_text(f"# ours\nfile:/srv/debian\n{machine.web}/deb\tpriority:1\nhttp://other.example\n")

    assert found(cache) == [f"deb {machine.web}/deb/ bookworm main"]


def test_a_list_of_mirrors_without_one_leads_to_debians_own_archive(machine: Machine, cache: Path) -> None:
    listed = machine.folder / "mirrors.list"
    listed.write_text(f"{machine.publish('deb', origin='Debian')}\n")
    machine.sources(f"deb [trusted=yes] mirror+file:{listed} bookworm main")
    machine.updates()
    listed.write_text("file:/srv/debian\n")

    assert found(cache) == []


@pytest.mark.parametrize("address", ["file:{folder}/web/deb", "copy:{folder}/web/deb"])
def test_an_archive_on_this_machines_disk_is_in_no_image(machine: Machine, cache: Path, address: str) -> None:
    machine.publish("deb", origin="Debian")
    machine.sources(f"deb [trusted=yes] {address.format(folder=machine.folder)} bookworm main")
    machine.updates()

    assert found(cache) == []


def test_an_installation_dvd_is_passed_over(machine: Machine, cache: Path) -> None:
    debians = machine.publish("deb", origin="Debian")
    machine.signs("deb")
    machine.sources(f"deb {DVD} bookworm main contrib", f"deb {debians} bookworm main")

    assert found(cache) == [f"deb {debians}/ bookworm main"]


def test_an_installation_dvd_whose_lists_are_there_is_passed_over(
    machine: Machine, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As apt tells of one that apt-cdrom has read
    debians = machine.publish("deb", origin="Debian")
    told = "".join(f"{archive._BETWEEN.join(('Debian', 'Debian', 'bookworm', 'main', at))}\n" for at in (DVD, debians))
    ended = subprocess.CompletedProcess([], 0, told, "")
    monkeypatch.setattr(archive, "_apt", lambda *_, **__: ended)

    assert found(cache) == [f"deb {debians}/ bookworm main"]


@pytest.fixture
def container(machine: Machine) -> Machine:
    """A machine whose lists were removed, as in most containers: a company's mirror, and HashiCorp's archive."""
    machine.publish("mirror", origin="Debian")
    machine.publish("mirror", origin="Debian", suite="bookworm-updates")
    machine.publish("packer", origin="Artifactory")
    machine.publish("forged", origin="Debian")  # which has no signature
    machine.signs("mirror")
    machine.signs("packer")
    places = [("packer", "bookworm"), ("forged", "bookworm"), ("mirror", "bookworm"), ("mirror", "bookworm-updates")]
    machine.sources(*(f"deb {machine.web}/{place} {suite} main" for place, suite in places))
    return machine


def test_without_lists_the_machines_own_archive_is_asked_what_it_is(container: Machine, cache: Path) -> None:
    mirror = f"{container.web}/mirror/"

    assert found(cache) == [f"deb {mirror} bookworm main", f"deb {mirror} bookworm-updates main"]
    assert not (container.folder / "lists").exists()


def test_without_lists_and_network_it_is_what_a_debian_was_made_of(container: Machine, cache: Path) -> None:
    # Given a Debian that was made of it while there were lists, one of another archive, and one that was changed
    lines = [f"deb {container.web}/mirror/ bookworm main", f"deb {container.web}/mirror/ bookworm-updates main"]
    others = ["deb http://other.example/ bookworm main"]
    changed = [f"deb {container.web}/packer/ bookworm main"]
    for root, written in ((named(lines), lines), (named(others), others), ("debian-0", changed)):
        (cache / root / "etc/apt").mkdir(parents=True)
        (cache / root / "etc/apt/sources.list").write_text("\n\n".join(written) + "\n")
    shutil.rmtree(container.folder / "web")

    assert found(cache) == lines


def test_without_lists_and_network_it_is_debians_own_archive_and_one_made_of_it_is_not_made_again(
    container: Machine, cache: Path
) -> None:
    (cache / named([])).mkdir()

    assert found(cache) == []


def test_an_apt_that_can_tell_nothing_is_said(machine: Machine, cache: Path) -> None:
    machine.sources("deb")

    with pytest.raises(UserError, match="this machine's apt can't tell which archive it uses: E: Malformed") as caught:
        found(cache)

    assert archive.MIRROR in " ".join(caught.value.hint)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small one")
def test_where_apt_has_no_room_for_temporary_files_it_takes_the_caches(
    machine: Machine, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Given lists that are signed, out of which it writes what is
    debians = machine.publish("deb", origin="Debian")
    machine.signs("deb")
    machine.sources(f"deb [signed-by={machine.folder / 'debians.gpg'}] {debians} bookworm main")
    machine.updates()
    full = machine.folder / "full"
    full.mkdir()
    kernel.mount("small", full, kind="tmpfs", options="size=4k")
    try:
        (full / "all").write_bytes(bytes(4096))
        monkeypatch.setenv("TMPDIR", str(full))

        assert found(cache) == [f"deb {debians}/ bookworm main"]

        with pytest.raises(UserError, match=r"can't tell which archive it uses: .*No space left") as caught:
            found(full)
        assert caught.value.hint[0] == f"make room in {full}"
    finally:
        kernel.unmount(full)


def test_an_apt_without_room_for_its_cache_tells_of_its_sources(
    container: Machine, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where /tmp is full: apt can't look into what it downloaded
    real = archive._apt
    failed = subprocess.CompletedProcess(["apt-get"], 100, "", "E: Unable to mkstemp /tmp/fileutl.message.x")

    def without_room(*arguments: str, scratch: Path | None = None) -> subprocess.CompletedProcess[str]:
        if arguments[0] == "indextargets" and "--no-release-info" not in arguments:
            return failed
        return real(*arguments, scratch=scratch)

    monkeypatch.setattr(archive, "_apt", without_room)

    assert found(cache)[0] == f"deb {container.web}/mirror/ bookworm main"
