"""An image's own suite: what it may be, and how what is wrong with it is told."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from reconciler.model import events
from reconciler.model.errors import Terminal
from reconciler.model.smoke_test import FailedTest
from reconciler.ports.tester import Tested
from tests.integration.smoke.examination import Examination, Instance, Start, write

pytestmark = pytest.mark.sandbox

SUITE = "desired/web/smoke"


def failures(tested: Tested) -> dict[str, str]:
    return {one.test: one.what for one in tested.result.failed}


def test_a_suite_that_passes_counts_its_tests_beside_the_once_over(examine: Examination, instance: Instance) -> None:
    suite = write(
        examine.folder,
        {
            "test_web.py": """
import pytest
def test_it_is_there(host): assert host.file("/etc/hostname").exists
@pytest.mark.parametrize("port", [80, 443])
def test_port(host, port): pass
@pytest.mark.skip(reason="not today")
def test_later(host): assert False
""",
        },
    )

    without = examine.of(instance).result.tests
    tested = Examination(examine.folder / "with").of(instance, suite=suite)

    assert tested.result.status == "passed"
    assert tested.result.failed == ()
    assert tested.result.why is None
    assert tested.result.tests == without + 3
    document = ET.parse(tested.log.with_suffix(".xml"))  # noqa: S314 - our own file
    names = [case.attrib["name"] for case in document.iter("testcase")]
    assert f"{SUITE}/test_web.py::test_port[80]" in names


@pytest.mark.parametrize("name", ["café", "with blanks", "100%h"])
def test_the_name_of_the_folder_that_it_is_tested_in_is_nothing_against_an_image(
    instance: Instance, tmp_path: Path, name: str
) -> None:
    examine = Examination(tmp_path / name)
    suite = write(examine.folder, {"test_web.py": "def test_it(host): assert host.file('/etc/hostname').exists\n"})

    tested = examine.of(instance, suite=suite)

    assert (tested.result.status, tested.result.failed, tested.result.why) == ("passed", (), None)


def test_each_failure_is_one_line_that_says_what_was_expected(examine: Examination, instance: Instance) -> None:
    suite = write(
        examine.folder,
        {
            "test_web.py": r"""
import pytest
@pytest.fixture
def broken(host): raise OSError("no such thing")
def test_said(host): assert host.file("/nowhere").exists, "the site is not there"
def test_shown(host): assert host.file("/nowhere").exists
def test_compared(host): assert host.check_output("echo 1") == "2"
def test_raised(host): host.check_output("exit 3")
def test_in_setup(broken): pass
def test_coloured(host): pytest.fail("\x1b[31mred\x1b[0m " + "long " * 200)
""",
        },
    )

    tested = examine.of(instance, suite=suite)

    found = {name.rpartition("::")[2]: what for name, what in failures(tested).items()}
    assert found.keys() == {"test_said", "test_shown", "test_compared", "test_raised", "test_in_setup", "test_coloured"}
    assert found["test_said"] == "the site is not there"
    assert found["test_shown"].startswith("assert False, where False = <file /nowhere>.exists")
    assert found["test_compared"] == "assert '1' == '2'"
    assert "Unexpected exit code 3" in found["test_raised"]
    assert found["test_in_setup"] == "in setup: OSError: no such thing"
    assert found["test_coloured"].startswith(r"\x1b[31mred\x1b[0m long")
    assert max(map(len, found.values())) <= 320
    assert tested.result.status == "failed"
    assert any("the site is not there" in line for line in tested.tail)
    assert tested.inventory is not None


@pytest.mark.parametrize(
    ("files", "failed"),
    [
        pytest.param(
            {"test_web.py": "def test_a(host):\n    assert (1\n"},
            {f"{SUITE}/test_web.py:2": "SyntaxError: '(' was never closed"},
            id="syntax",
        ),
        pytest.param(
            {"test_web.py": "import os\nimport nothing_like_it\ndef test_a(host): pass\n"},
            {f"{SUITE}/test_web.py:2": "ModuleNotFoundError: No module named 'nothing_like_it'"},
            id="import",
        ),
        pytest.param(
            {"conftest.py": "import os\n1 / 0\n", "test_web.py": "def test_a(host): pass\n"},
            {f"{SUITE}/conftest.py:2": "ZeroDivisionError: division by zero"},
            id="conftest",
        ),
        pytest.param(
            {"sub/conftest.py": "x = = 1\n", "sub/test_web.py": "def test_a(host): pass\n"},
            {f"{SUITE}/sub/conftest.py:1": "SyntaxError: invalid syntax"},
            id="conftest-below",
        ),
        pytest.param(
            {"test_web.py": "def test_a(hots): pass\n"},
            {f"{SUITE}/test_web.py::test_a": "in setup: fixture 'hots' not found"},
            id="fixture",
        ),
        pytest.param(
            {"conftest.py": "pytest_plugins = ['nothing_like_it']\n", "test_web.py": "def test_a(host): pass\n"},
            {f"{SUITE}/conftest.py": "No module named 'nothing_like_it'"},
            id="plugin",
        ),
    ],
)
def test_a_suite_that_cannot_be_read_fails_at_its_line_and_hides_nothing(
    examine: Examination, instance: Instance, files: dict[str, str], failed: dict[str, str]
) -> None:
    tested = examine.of(instance, suite=write(examine.folder, files))

    assert failures(tested).keys() == failed.keys()
    for name, what in failed.items():
        assert what in failures(tested)[name]
    assert tested.result.tests >= 5  # the once-over's
    assert tested.tail != ()
    assert tested.inventory is not None


@pytest.mark.parametrize(
    ("files", "why"),
    [
        pytest.param({"README.md": "soon"}, f"the suite {SUITE} holds no test", id="none"),
        pytest.param({"test_web.py": "x = 1\n"}, f"the suite {SUITE} holds no test", id="none-in-it"),
        pytest.param(
            {"test_web.py": "import pytest\ndef test_a(): pytest.skip('later')\ndef test_b(): pytest.xfail('later')\n"},
            f"the suite {SUITE} tested nothing: all 2 of its tests were skipped",
            id="skipped",
        ),
        pytest.param(
            {"test_web.py": "import pytest\npytest.skip('never', allow_module_level=True)\n"},
            f"the suite {SUITE} holds no test",
            id="skipped-whole",
        ),
        pytest.param(
            {"conftest.py": "import os\nos._exit(0)\n", "test_web.py": "def test_a(): pass\n"},
            f"the suite {SUITE} ended itself (exit code 0)",
            id="left",
        ),
        pytest.param(
            {"test_web.py": "import os\ndef test_a(): pass\ndef test_b(): os._exit(0)\n"},
            f"the suite {SUITE} ended itself, in {SUITE}/test_web.py::test_b (exit code 0)",
            id="left-in-a-test",
        ),
        pytest.param(
            {"test_web.py": "import os, signal\ndef test_a(): os.kill(os.getpid(), signal.SIGKILL)\n"},
            f"the suite {SUITE} broke off, in {SUITE}/test_web.py::test_a (signal 9)",
            id="killed",
        ),
        pytest.param(
            {"test_web.py": "import pytest\ndef test_a(): pass\ndef test_b(): pytest.exit('enough')\n"},
            f"the suite {SUITE} broke off",
            id="exit",
        ),
        pytest.param(
            {"test_web.py": "import sys\nsys.exit(0)\n"},
            f"the suite {SUITE} broke off",
            id="exit-at-import",
        ),
    ],
)
def test_a_suite_that_tests_nothing_or_leaves_has_failed(
    examine: Examination, instance: Instance, files: dict[str, str], why: str
) -> None:
    tested = examine.of(instance, suite=write(examine.folder, files))

    assert tested.result.status == "failed"
    assert tested.result.failed == ()
    assert tested.result.why is not None
    assert tested.result.why.startswith(why)


def test_a_suite_that_is_not_in_the_commit_has_failed(examine: Examination, instance: Instance) -> None:
    tested = examine.of(instance, suite=examine.folder / SUITE)

    assert tested.result.status == "failed"
    assert tested.result.why == f"the suite {SUITE} is not in the commit"


def test_one_file_is_a_suite(examine: Examination, instance: Instance) -> None:
    suite = write(
        examine.folder, {"checks.py": "def test_a(host): assert 0\n", "test_b.py": "def test_b(): assert 0\n"}
    )

    tested = examine.of(instance, suite=suite / "checks.py")

    assert failures(tested) == {f"{SUITE}/checks.py::test_a": "assert 0"}


def test_only_the_suites_own_settings_count(examine: Examination, instance: Instance) -> None:
    suite = write(
        examine.folder,
        {
            "conftest.py": "import pytest\n@pytest.fixture\ndef ours(): return 7\n",
            "test_web.py": "from words import SEVEN\ndef test_a(host, ours): assert ours == SEVEN\n",
            "words.py": "SEVEN = 7\n",
            "random.py": "raise RuntimeError('shadows a module of Python')\n",
        },
    )
    export = examine.folder / "export"
    (export / "conftest.py").write_text("raise RuntimeError('not of the suite')\n")
    (export / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    (export / "pyproject.toml").write_text("[tool.pytest.ini_options]\naddopts = '--no-such-option'\n")
    (suite / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    examine.environment["PYTEST_ADDOPTS"] = "--no-such-option"

    tested = examine.of(instance, suite=suite)

    assert tested.result.status == "passed", tested.log.read_text()
    assert not list(suite.rglob("__pycache__"))


def test_a_suite_gets_no_secret_from_the_environment(examine: Examination, instance: Instance) -> None:
    seen = examine.folder / "seen.json"
    suite = write(
        examine.folder,
        {
            "test_web.py": "import json, os, pathlib\n"
            f"def test_a(): pathlib.Path({str(seen)!r}).write_text(json.dumps(dict(os.environ)))\n",
        },
    )
    names = ("AWS_SECRET_ACCESS_KEY", "CIRCLE_TOKEN", "GITHUB_TOKEN", "SSH_AUTH_SOCK", "HTTPS_PROXY", "PYTHONSTARTUP")
    examine.environment.update(dict.fromkeys(names, "hunter2-value"))

    tested = examine.of(instance, suite=suite)

    environment = json.loads(seen.read_text())
    assert tested.result.status == "passed"
    assert "hunter2-value" not in environment.values()
    assert {name for name in environment if name.startswith("RECONCILER_")} == {
        "RECONCILER_BUILD", "RECONCILER_HOST_KEY", "RECONCILER_IMAGE", "RECONCILER_OWN_START",
        "RECONCILER_PACKER_KEYS", "RECONCILER_PUBLIC_KEY",
    }  # fmt: skip
    assert environment["RECONCILER_IMAGE"] == "web"
    assert environment["HOME"] != os.environ["HOME"]


def test_a_suite_that_hangs_is_ended_and_its_results_stay(examine: Examination, instance: Instance) -> None:
    child = examine.folder / "child"
    suite = write(
        examine.folder,
        {
            "test_web.py": "import pathlib, signal, subprocess, time\n"
            "def test_a(): assert 0\n"
            "def test_b():\n"
            "    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
            "    process = subprocess.Popen(\n"
            "        ['sh', '-c', 'trap \"\" TERM; sleep 1000; sleep 1000'], start_new_session=True\n"
            "    )\n"
            f"    pathlib.Path({str(child)!r}).write_text(str(process.pid))\n"
            "    process.wait()\n",
        },
    )

    # Time is up as soon as it hangs.
    examine.clock = lambda: time.monotonic() + (1e6 if child.exists() else 0)

    tested = examine.of(instance, suite=suite, timeout=600)

    assert tested.result.status == "failed"
    assert tested.result.failed == (
        FailedTest(test=f"{SUITE}/test_web.py::test_a", what="assert 0"),
        FailedTest(test=f"{SUITE}/test_web.py::test_b", what="timed out after 10m"),
    )
    assert tested.inventory is not None
    assert_ended(int(child.read_text()))


def test_cancelled_nothing_runs_on(examine: Examination, instance: Instance) -> None:
    child = examine.folder / "child"
    suite = write(
        examine.folder,
        {
            "test_web.py": "import pathlib, subprocess\n"
            "def test_a():\n"
            "    process = subprocess.Popen(['sleep', '1000'])\n"
            f"    pathlib.Path({str(child)!r}).write_text(str(process.pid))\n"
            "def test_b(host): host.run('sleep 1000')\n",
        },
    )

    def cancel(event: events.Event) -> None:
        if isinstance(event, events.Testing) and event.what == "test_b":
            examine.cancelled.set()

    examine.on_event = cancel

    with pytest.raises(Terminal, match="cancelled"):
        examine.of(instance, suite=suite)

    assert_ended(int(child.read_text()))
    assert connections(examine) == []
    assert "smoke-test-watch" not in {thread.name for thread in threading.enumerate()}


def test_an_instance_that_is_terminated_while_it_is_tested_fails_in_one_line(
    examine: Examination, started: Start
) -> None:
    many = "".join(f"def test_{number}(host): assert host.run('true').rc == 0\n" for number in range(30))
    suite = write(examine.folder, {"test_web.py": f"def test_one(host): host.run('sleep 600')\n{many}"})
    instance = started()

    def terminate(event: events.Event) -> None:
        if isinstance(event, events.Testing) and event.what == "test_one":
            instance.terminate()

    examine.on_event = terminate

    tested = examine.of(instance, suite=suite)

    assert tested.result.status == "failed"
    assert tested.result.failed == ()
    assert tested.result.why is not None
    assert tested.result.why.startswith("the instance was terminated while it was tested")
    assert tested.inventory is None


def test_what_is_kept_shows_no_secret(examine: Examination, instance: Instance) -> None:
    suite = write(
        examine.folder,
        {
            "test_web.py": f"key = open({str(instance.key)!r}).read()\n"
            "def test_a(host):\n    print(key)\n    assert key == 'correct horse battery staple'\n",
        },
    )
    secret = instance.key.read_text()

    tested = examine.of(instance, suite=suite, secrets=frozenset({"correct horse battery staple"}))

    kept = [tested.log.read_text(), tested.log.with_suffix(".xml").read_text(), str(tested)]
    assert tested.result.status == "failed"
    for text in kept:
        assert "correct horse" not in text
        for line in secret.splitlines()[1:-1]:
            assert line[:40] not in text


def test_progress_is_told_step_by_step(examine: Examination, instance: Instance) -> None:
    suite = write(examine.folder, {"test_web.py": "def test_nginx_serves(host): pass\n"})

    examine.of(instance, suite=suite)

    steps = [event.what for event in examine.events if isinstance(event, events.Testing)]
    assert steps[0] == "waiting for SSH"
    assert "once-over: checking that the clock is right" in steps
    assert steps[-2:] == ["test_nginx_serves", "taking the inventory"]


def assert_ended(pid: int) -> None:
    """The process is gone, or only waits for its parent to notice."""
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:  # noqa: PTH123 - a process, not a file
            assert stat.read().rpartition(")")[2].split()[0] == "Z"
    except (ProcessLookupError, FileNotFoundError):
        return


def connections(examine: Examination) -> list[int]:
    """Processes whose command line names this test's settings of the SSH client."""
    found = []
    config = str(examine.folder / "test" / "ssh_config").encode()
    for pid in [int(name) for name in os.listdir("/proc") if name.isdigit()]:  # noqa: PTH208 - names, not paths
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as line:  # noqa: PTH123
                if config in line.read():
                    found.append(pid)
        except OSError:
            continue
    return found
