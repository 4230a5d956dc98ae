"""SSH that never comes, comes late, changes its key or goes: each is a failed result with one clear line."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.build.smoke.exchange import ConnectionLost, Shell
from reconciler.model import events
from reconciler.model.errors import Terminal, Transient, UserError
from reconciler.model.inventory import Inventory
from reconciler.ports.tester import Tested
from tests.integration.smoke.door import HOST, Door
from tests.integration.smoke.examination import Examination, write

pytestmark = pytest.mark.long

SUITE = {"test_web.py": "def test_one(): pass\ndef test_two(): pass\n"}


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with Door(tmp_path / "key").running() as serving:
        yield serving


def through(examine: Examination, door: Door, *, suite: Path | None = None, timeout: float = 60) -> Tested:
    return examine.at(HOST, port=door.port, user="admin", private_key=door.key, suite=suite, timeout=timeout)


def at_step(what: str, act: Callable[[], None]) -> Callable[[events.Event], None]:
    """Act once when the test enters a step."""
    done: list[str] = []

    def listen(event: events.Event) -> None:
        if isinstance(event, events.Testing) and event.what == what and not done:
            done.append(what)
            act()

    return listen


def test_nobody_listens(examine: Examination, door: Door) -> None:
    door.close()

    tested = through(examine, door, timeout=1)

    assert tested.result.status == "failed"
    assert tested.result.why == f"no SSH within 1s: {HOST} port {door.port} refuses the connection"
    assert (tested.result.failed, tested.result.tests, tested.inventory) == ((), 0, None)
    assert tested.result.why in tested.log.with_suffix(".xml").read_text()


def test_a_key_that_is_refused_to_the_end_is_not_taken_for_silence(examine: Examination, door: Door) -> None:
    door.refuses = True

    tested = through(examine, door, timeout=1)

    assert tested.result.why == (
        f"no SSH within 1s: {HOST} port {door.port} answers, and does not let admin in with the key (publickey)"
    )


def test_a_login_that_runs_no_command_says_what_it_says(examine: Examination, door: Door) -> None:
    door.forced = b'Please login as the user "admin" rather than the user "root".\n\n'

    tested = through(examine, door, timeout=1)

    assert tested.result.why is not None
    assert tested.result.why.endswith('runs no command: Please login as the user "admin" rather than the user "root".')


def test_a_key_that_is_let_in_late_is_waited_for_and_trust_begins_there(examine: Examination, door: Door) -> None:
    """A server that runs before cloud-init has done its work shows another host key, and lets nobody in."""
    door.refuses = True

    def first_boot() -> None:
        door.change_host_key()
        door.refuses = False

    door.on_refusal = first_boot
    tested = through(examine, door, suite=write(examine.folder, SUITE))

    assert tested.result.why is None
    assert tested.inventory is not None


def test_a_host_key_that_changes_while_it_is_tested_fails(examine: Examination, door: Door) -> None:
    def another_host() -> None:
        door.change_host_key()
        door.drop()

    examine.on_event = at_step("test_one", another_host)
    suite = write(examine.folder, {"test_web.py": "import time\ndef test_one(): time.sleep(600)\n"})

    tested = through(examine, door, suite=suite)

    assert tested.result.status == "failed"
    assert tested.result.failed == ()
    assert tested.result.why is not None
    assert tested.result.why.startswith(f"the host key of {HOST} port {door.port} changed, to SHA256:")
    assert tested.result.why.endswith(", while it was tested (in desired/web/smoke/test_web.py::test_one)")
    assert tested.inventory is None


def test_a_host_key_that_changes_unseen_is_found_by_a_second_login(examine: Examination, door: Door) -> None:
    examine.on_event = at_step("test_one", door.change_host_key)

    tested = through(examine, door, suite=write(examine.folder, SUITE))

    assert tested.result.status == "failed"
    assert tested.result.why is not None
    assert tested.result.why.startswith(f"after the tests: the host key of {HOST} port {door.port} changed")


def test_a_connection_that_is_lost_and_comes_back_costs_nothing(examine: Examination, door: Door) -> None:
    examine.on_event = at_step("test_one", door.drop)

    tested = through(examine, door, suite=write(examine.folder, SUITE))

    assert door.logins == 2
    assert tested.result.why is None
    assert tested.inventory is not None


def test_an_instance_that_dies_while_it_is_tested_fails_in_one_line(examine: Examination, door: Door) -> None:
    examine.on_event = at_step("test_one", door.close)
    many = "".join(f"def test_{number}(host): assert host.run('true').rc == 0\n" for number in range(40))
    suite = write(examine.folder, {"test_web.py": f"def test_one(host): host.run('true')\n{many}"})

    tested = examine.at(
        HOST, port=door.port, user="admin", private_key=door.key, suite=suite, alive=lambda: "terminated"
    )

    assert tested.result.failed == ()
    assert tested.result.why is not None
    assert tested.result.why.startswith("the instance was terminated while it was tested")


def test_an_instance_that_dies_while_its_inventory_is_taken_fails(examine: Examination, door: Door) -> None:
    def die(shell: Shell) -> Inventory:
        door.close()
        shell.run("true", timeout=30)
        raise AssertionError("the connection is lost")

    examine.take_inventory = die

    tested = examine.at(HOST, port=door.port, user="admin", private_key=door.key, alive=lambda: "terminated")

    assert tested.result.why == "the instance was terminated while its inventory was taken"
    assert tested.inventory is None


def test_a_command_after_the_connection_is_lost_says_so(examine: Examination, door: Door) -> None:
    said: list[str] = []

    def ask(shell: Shell) -> Inventory:
        door.close()
        for _ in range(2):
            try:
                shell.run("true", timeout=30)
            except ConnectionLost as error:
                said.append(error.what)
        raise Transient("nothing more can be read")

    examine.take_inventory = ask

    tested = through(examine, door)

    assert len(said) == 2
    assert tested.result.why == "the inventory could not be taken: nothing more can be read"


def test_without_an_ssh_client_the_person_is_told_what_to_install(examine: Examination, door: Door) -> None:
    examine.environment["PATH"] = str(examine.folder)

    with pytest.raises(UserError) as raised:
        through(examine, door)

    assert "no `ssh` on the PATH" in raised.value.what
    assert "apt-get install openssh-client" in raised.value.hint[0]


def test_a_key_that_is_none_is_no_fault_of_the_image(examine: Examination, door: Door) -> None:
    door.key.unlink()

    with pytest.raises(Terminal, match="could not be tested here: No such file"):
        through(examine, door)


def test_cancelled_while_it_waits_it_ends_at_once(examine: Examination, door: Door) -> None:
    door.refuses = True
    examine.on_event = at_step("waiting for SSH", examine.cancelled.set)

    with pytest.raises(Terminal, match="cancelled"):
        through(examine, door, timeout=3600)


def test_paths_may_hold_whatever_a_path_may_hold(tmp_path: Path) -> None:
    folder = tmp_path / 'a "folder" 100%h $HOME'
    folder.mkdir()
    examine = Examination(folder)
    with Door(folder / "key %d").running() as door:
        tested = through(examine, door)

    assert door.logins == 1
    assert tested.inventory is not None
    assert sorted(path.name for path in folder.iterdir()) == ["key %d", "logs", "test"]
