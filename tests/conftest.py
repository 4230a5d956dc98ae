"""What all tests share."""

from __future__ import annotations

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module
from types import ModuleType

import pytest
from botocore.loaders import Loader
from hypothesis import settings

from reconciler.aws.session import PlainModels
from reconciler.ci.job import telling
from tests import made_once
from tests.command import Command, forking
from tests.forms import leave_forms
from tests.left_out import pytest_runtest_makereport, pytest_terminal_summary
from tests.needs import MARKS, Watch
from tests.packers import GET, NONE, NONE_FITS, installed_packers, lacking, put_on_path, runs_of
from tests.sharing import arrange, groups_in_ids

__all__ = ["pytest_runtest_makereport", "pytest_terminal_summary"]

# No example fails for the time that it takes on a machine that is shared.
settings.register_profile("shared machine", deadline=None)
# `make quick` tries fewer examples, where a test does not say how many; `make test` all.
settings.register_profile("quick", deadline=None, max_examples=30)
settings.load_profile("shared machine")

IN_CI = bool(os.environ.get("CI"))
# Before moto is imported, which asks for the regions of each service by a session of its own: as the sandbox does.
Loader.FILE_LOADER_CLASS = PlainModels
made_once.install()
# A quarter of what it takes to import six hundred modules, of which nothing is garbage: on again when they are there.
gc.disable()


def _syntax_of_iris(name: str = "rfc3987_syntax") -> ModuleType:
    """A module that is what jsonschema asks whether something is an IRI, and imports that when it is first asked.

    It makes forty parsers when it is imported: a second's work in each worker, and no format of ours is an IRI.
    """

    @cache
    def asked() -> Callable[[str, str], bool]:
        del sys.modules[name]
        answer: Callable[[str, str], bool] = import_module(name).is_valid_syntax
        return answer

    def is_valid_syntax(term: str, text: str) -> bool:
        return asked()(term, text)

    module = ModuleType(name)
    module.__dict__["is_valid_syntax"] = is_valid_syntax
    return module


sys.modules.setdefault("rfc3987_syntax", _syntax_of_iris())


@pytest.fixture(scope="session", autouse=True)
def _run_by_a_person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Whatever CI runs the tests, what they run is told of none that they don't name themselves.

    A pytest that a test runs has a folder of its own: it sweeps what earlier ones left, which can be gigabytes.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_DEBUG_TEMPROOT", str(tmp_path_factory.mktemp("pytest")))
        for name in telling(os.environ):
            patch.delenv(name)
        yield


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the longest tests, and have marks select which forms of a test are tried."""
    leave_forms(items)
    arrange(items)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect garbage again from then on: also where xdist's workers import, and this process does not."""
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collection_finish(session: pytest.Session) -> Iterator[None]:
    """Tell xdist, which reads the ids here, which tests belong together."""
    # Six thousand tests and all modules stay to the end: no collection of garbage has to walk them again.
    gc.collect()
    gc.freeze()
    if session.config.getoption("loadgroup", default=False):
        with groups_in_ids(session.items):
            return (yield)
    return (yield)


@pytest.fixture(scope="session")
def _watch(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    return Watch(tmp_path_factory.mktemp("watch"))


@pytest.fixture(autouse=True)
def _marked_by_what_it_needs(
    request: pytest.FixtureRequest, _watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    marked = {mark.name for mark in request.node.iter_markers()}
    if "packer" not in marked:
        monkeypatch.setenv("PATH", str(_watch.folder), prepend=os.pathsep)
    yield
    lacking = _watch.begun() - marked
    assert not lacking, f"it {' and '.join(MARKS[one] for one in sorted(lacking))}, and no mark says so"


def pytest_report_header() -> str:
    """Say which Packers the tests run on."""
    versions = [packer.version_text for packer in installed_packers()]
    return f"Packer: {', '.join(versions) or 'none'}" + ("" if len(versions) > 1 else f" ({GET})")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Have every test that runs Packer run on each one that this machine has, or on those that its mark names."""
    marker = metafunc.definition.get_closest_marker("packer")
    if marker is not None:
        names, runs = runs_of(metafunc.module.__name__, **marker.kwargs)
        metafunc.parametrize(names, runs, indirect=["packer_on_path"], scope="session")


@pytest.fixture(scope="session", autouse=True)
def packer_on_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str | None]:
    """The version of Packer that is first on the PATH; None in a test that runs none.

    What a fixture of more than one test builds with Packer has to ask for this one, so that each Packer builds its own.
    """
    version = getattr(request, "param", None)
    if version is not None and IN_CI and (lacks := lacking()) is not None:
        pytest.fail(lacks)  # a test that is not run in CI is one that was lost
    if version in (NONE, NONE_FITS):
        pytest.skip(lacking() or "no archive of this machine has a Packer that is old enough")
    with pytest.MonkeyPatch.context() as patch:
        for packer in installed_packers() if version is not None else ():
            if packer.version_text == version:
                for name, value in put_on_path(packer, tmp_path_factory.mktemp("packer")).items():
                    patch.setenv(name, value)
        yield version


@pytest.fixture(scope="session")
def command() -> Iterator[Command]:
    """The `reconciler` command, in a fork of a Python that has imported it (tests/command.py)."""
    with forking() as command:
        yield command


@pytest.fixture
def heeded_signals() -> Iterator[None]:
    """What ends a command at a terminal does so, also where the tests were begun with `nohup`, or in the background."""
    before = {signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL)}
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
