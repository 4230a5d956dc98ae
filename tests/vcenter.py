"""A vCenter to test against: VMware's own simulator, built from `tests/vcsim` once and kept in the user's cache.

It has the inventory of govmomi's model VPX: a datacenter DC0 with machines such as DC0_H0_VM0. What it proves is the
sequence of calls and what is in the inventory: no disk is copied, nothing boots, and a role has no rights to lack.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from reconciler.model.errors import Transient
from reconciler.registries.vsphere.inventory import TESTED, read
from reconciler.registries.vsphere.rest import Rest
from reconciler.registries.vsphere.session import INSECURE, PASSWORD, USER, VCenter, meaning, vim, vmodl
from tests.go_programs import built, run_go

Answer = TypeVar("Answer")

_SOURCES = Path(__file__).parent / "vcsim"
CREDENTIALS = {USER: "packer@vsphere.local", PASSWORD: "only-for-the-simulator", INSECURE: "true"}


class Simulator:
    """One that runs. `vcenter` is somebody signed in to it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process, self._lock = process, threading.Lock()
        self.host = self._answer()
        self.vcenter = VCenter(self.host, CREDENTIALS, threading.Event())
        self.rest = Rest(self.host, CREDENTIALS, meaning)

    def fails(self, method: str, fault: str, *, times: int = 1) -> None:
        """Have the next calls of a method fail, for one of the faults that `tests/vcsim` knows."""
        self._tell(f"fail {method} {fault} {times}")

    def is_now(self, name: str, state: str) -> None:
        """Have a machine be `inaccessible`, or in another of its connection's states."""
        self._tell(f"state {name} {state}")

    def at(self, location: str) -> str:
        """The inventory path of a location of it."""
        return location.removeprefix(f"vsphere://{self.host}/")

    def folder(self, name: str) -> str:
        """Make a folder below DC0's, and return its location."""
        self.ask(lambda content: content.searchIndex.FindByInventoryPath("DC0/vm").CreateFolder(name))
        return f"vsphere://{self.host}/DC0/vm/{name}"

    def template(self, name: str, location: str, *, of: str = "DC0/vm/DC0_H0_VM0") -> None:
        """Make a template, as Packer does: by cloning what is there."""

        def made(content: Any) -> None:
            origin, folder = map(content.searchIndex.FindByInventoryPath, (of, self.at(location)))
            host = read(content, origin, "runtime.host")
            pool = read(content, read(content, host, "parent"), "resourcePool")
            spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(pool=pool), template=True, powerOn=False)
            self.vcenter.wait(origin.CloneVM_Task(folder=folder, name=name, spec=spec))

        self.ask(made)

    def snapshot(self, location: str) -> None:
        """Take a snapshot of a machine, as Packer's `create_snapshot` does before it is a template."""

        def taken(content: Any) -> None:
            machine = content.searchIndex.FindByInventoryPath(self.at(location))
            self.vcenter.wait(machine.CreateSnapshot_Task("made-by-packer", "", memory=False, quiesce=False))

        self.ask(taken)

    def configuration(self, uuid: str) -> dict[str, str]:
        """What is written in a machine's configuration beyond its hardware, `guestinfo.…` among it."""

        def written(content: Any) -> dict[str, str]:
            machine = content.searchIndex.FindByUuid(None, uuid, True, True)
            return {one.key: str(one.value) for one in read(content, machine, "config.extraConfig") or ()}

        return self.ask(written)

    @contextmanager
    def guests(self, arrive: Callable[[Mapping[str, str]], str], *, of: str = TESTED) -> Iterator[None]:
        """Play the guests of machines whose names begin so, and that run.

        Each has the address that is answered to its configuration.
        """
        done, greeted = threading.Event(), set[str]()

        def watch() -> None:
            somebody = VCenter(self.host, CREDENTIALS, threading.Event())
            while not done.wait(0.1):
                for machine in somebody.ask("playing a guest", partial(_running, begins=of)):
                    if (name := machine._moId) not in greeted:
                        greeted.add(name)
                        with suppress(Transient):  # it is gone already
                            somebody.ask("playing a guest", partial(greet, machine=machine))

        def greet(content: Any, *, machine: Any) -> None:
            told = {one.key: str(one.value) for one in read(content, machine, "config.extraConfig") or ()}
            if address := arrive(told):
                self._tell(f"address {machine._moId} {address}")

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            yield
        finally:
            done.set()
            watching.join()

    def library(self, name: str) -> str:
        """Make a content library, and return its location."""
        stores = self.ask(lambda content: read(content, content.rootFolder.childEntity[0], "datastore"))
        store = stores[0]._moId
        spec = {"name": name, "type": "LOCAL", "storage_backings": [{"datastore_id": store, "type": "DATASTORE"}]}
        self.rest.ask("arranging a test", "POST", "com/vmware/content/local-library", {"create_spec": spec})
        return f"vsphere://{self.host}/content-library/{name}"

    def remove_library(self, location: str) -> None:
        """Remove a content library with what is in it."""
        found = self._library(location)
        self.rest.ask("arranging a test", "DELETE", f"com/vmware/content/local-library/id:{found}")

    def _library(self, location: str) -> str:
        spec = {"spec": {"name": location.rpartition("/")[2]}}
        found = self.rest.ask("arranging a test", "POST", "com/vmware/content/library?~action=find", spec)
        return str(found[0])

    def item(self, name: str, location: str, *, description: str = "", form: str = "ovf") -> str:
        """Make an item of a library, and return its id."""
        spec = {"library_id": self._library(location), "name": name, "type": form, "description": description}
        made = self.rest.ask("arranging a test", "POST", "com/vmware/content/library/item", {"create_spec": spec})
        return str(made)

    def destroy(self, location: str) -> None:
        """Destroy a machine, or a folder with what is in it."""
        self.ask(
            lambda content: self.vcenter.wait(content.searchIndex.FindByInventoryPath(self.at(location)).Destroy_Task())
        )

    def annotate(self, location: str, text: str) -> None:
        """Change what is said of a machine, which is a change of its configuration."""

        def changed(content: Any) -> None:
            machine = content.searchIndex.FindByInventoryPath(self.at(location))
            self.vcenter.wait(machine.ReconfigVM_Task(vim.vm.ConfigSpec(annotation=text)))

        self.ask(changed)

    def ask(self, question: Callable[[Any], Answer]) -> Answer:
        """What somebody else does, or sees, in it."""
        return self.vcenter.ask("arranging a test", question)

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with self._lock:
            self._process.stdin.write(f"{line}\n")
            self._process.stdin.flush()
            assert self._answer() == "so be it"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def _running(content: Any, *, begins: str) -> list[Any]:
    """The machines whose names begin so, and that run."""
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    try:
        return [one for one in view.view if _runs(content, one, begins=begins)]
    finally:
        view.Destroy()


def _runs(content: Any, machine: Any, *, begins: str) -> bool:
    try:
        named = (read(content, machine, "name") or "").startswith(begins)
        return named and read(content, machine, "runtime.powerState") == "poweredOn"
    except vmodl.fault.ManagedObjectNotFound:  # it went while others were looked at
        return False


@contextmanager
def simulator() -> Iterator[Simulator]:
    """Run one, on loopback and a port of its own. Skips the test where there is no Go to build it with."""
    command = [str(_built()), CREDENTIALS[USER], CREDENTIALS[PASSWORD]]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Simulator(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()  # at which it removes what its datastores hold, and ends
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()


def _built() -> Path:
    def make(go: str, draft: Path) -> None:
        run_go(go, "build", "-trimpath", "-o", str(draft), ".", folder=_SOURCES)

    return built(_SOURCES, make, what="VMware's simulator")
