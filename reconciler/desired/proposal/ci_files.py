"""The steps of a CI file: the folder that they run in, and what the file itself says of the values they refer to.

A job with a matrix is one job for each of its combinations; a job or a command of CircleCI is one for each call of it,
and what GitLab hides is part of what extends it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, islice, product
from typing import Any

from reconciler.desired.proposal.lines import Left
from reconciler.desired.proposal.make import CALL
from reconciler.model.errors import Place

Way = Mapping[str, str]
"""What is known of one run of a job, by names as a step writes them: `matrix.image`, `parameters.image`, `IMAGE`."""

_MOST = 64
"""Runs of one job that are told apart; of more none is."""
_MOST_NAMES = 200
"""Values that are known of a run: of an environment with more of them none is."""
_DEEPEST = 10
"""Of commands that call commands, conditions in conditions, and jobs that extend others: GitLab allows eleven."""
_REFERENCE = re.compile(r"\$\{\{\s*((?:matrix|env)\.[\w-]+)\s*\}\}|<<\s*((?:parameters|matrix)\.[\w-]+)\s*>>")
_ENVIRONMENTS = ("env", "environment", "variables")
NOTHING_KNOWN: Way = {}


@dataclass(frozen=True)
class Step:
    """A mapping of a CI file in one run of its job; most are no step of anything."""

    written: Mapping[Any, Any]
    around: object = None
    """The folder that what is around it names for its steps."""
    values: Way = field(default_factory=dict)

    @property
    def folder(self) -> str:
        """The folder that it runs in, as it is written; empty for the root."""
        own = next((self.written[key] for key in _FOLDERS if self.written.get(key)), self.around)
        return self.given(own) if isinstance(own, str) else ""

    def given(self, text: str) -> str:
        """A text with the values that are known; others stay as they are written."""
        return _given(text, self.values)


_FOLDERS = ("working-directory", "working_directory", "workingDirectory", "dir")


def steps(document: object, limit: Left | None = None) -> Iterator[Step]:
    """Every mapping in a document, once for each run of its job in which what it says comes out otherwise.

    Each once otherwise: an alias leads to what was met before, and may do so many times. Beyond the `limit`
    runs are not told apart.
    """
    limit = limit or Left()
    of_jobs = _calls(document)
    of_commands = _calls_of_commands(document, of_jobs)
    calls = {**of_jobs, **of_commands}
    left: list[tuple[object, object, tuple[Way, ...]]] = [(document, None, (NOTHING_KNOWN,))]
    met = {command for command, ways in of_commands.items() if not ways}  # what no job calls does not run
    while left:
        value, folder, ways = left.pop()
        if id(value) in met or not isinstance(value, (dict, list)):
            continue
        met.add(id(value))
        if isinstance(value, dict):
            folder = _default_folder(value) or folder
            limit.runs -= len(ways)
            ways = _runs(value, ways, calls.get(id(value), ())) if limit.runs >= 0 else (NOTHING_KNOWN,)
            ways = _in_environment(value, ways)
            yield from (Step(value, folder, way) for way in _told_apart(value, folder, ways))
        left += [(one, folder, ways) for one in (value.values() if isinstance(value, dict) else value)]


def _told_apart(step: Mapping[Any, Any], folder: object, ways: tuple[Way, ...]) -> list[Way]:
    """Of the runs of a job those in which a step differs, each with what the step refers to."""
    texts = "\n".join(_texts([*step.values(), folder]))
    make = CALL.search(texts) is not None  # it takes values from its environment that its call does not name
    names = [name for name in {name for way in ways for name in way} if name in texts or (make and name.isidentifier())]
    found: list[Way] = []
    for way in ways:
        used = {name: way[name] for name in names if name in way}
        if used not in found:
            found.append(used)
    return found


def _texts(values: Iterable[object]) -> Iterator[str]:
    """The texts among values, in lists of them, and in what an action is given `with`."""
    for value in values:
        if isinstance(value, str):
            yield value
        elif isinstance(value, (list, dict)):
            yield from (one for one in (value.values() if isinstance(value, dict) else value) if isinstance(one, str))


def _default_folder(job: Mapping[Any, Any]) -> object:
    """The `working-directory` of the steps of a job, or of a workflow, of GitHub Actions."""
    return _of(_of(_of(job, "defaults"), "run"), "working-directory")


def _runs(job: Mapping[Any, Any], ways: tuple[Way, ...], calls: tuple[Way, ...]) -> tuple[Way, ...]:
    """The runs of a job: for each combination of its matrix (GitHub, GitLab), for each call of it (CircleCI)."""
    of_github, of_gitlab = _of(_of(job, "strategy"), "matrix"), _of(_of(job, "parallel"), "matrix")
    combinations = calls
    if isinstance(of_github, dict):
        combinations = tuple({f"matrix.{name}": value for name, value in one.items()} for one in _matrix(of_github))
    elif isinstance(of_gitlab, list):
        combinations = tuple(chain.from_iterable(_products(one) for one in of_gitlab if isinstance(one, dict)))
    together = tuple({**way, **one} for way, one in product(ways, combinations)) if combinations else ways
    return together if len(together) <= _MOST else ways


def _matrix(matrix: Mapping[Any, Any]) -> list[dict[str, str]]:
    """The combinations of a matrix of GitHub Actions, with what is left out of them, added to them and put beside."""
    lists = {name: value for name, value in matrix.items() if name not in ("include", "exclude")}
    left_out = [_scalars(one) for one in _listed(matrix.get("exclude"))]
    found = [one for one in _products(lists) if not any(out.items() <= one.items() for out in left_out)]
    first = [dict(one) for one in found]
    for included in (_scalars(one) for one in islice(_listed(matrix.get("include")), _MOST)):
        fits = [one for one, before in zip(found, first, strict=False) if _keeps(before, included)]
        for fitting in fits:
            fitting.update(included)
        found += [] if fits else [included]
    return found


def _keeps(combination: Mapping[str, str], included: Mapping[str, str]) -> bool:
    """Whether something can be added to a combination of the lists without another value for any of them."""
    return all(combination.get(name, value) == value for name, value in included.items())


def _products(lists: Mapping[Any, Any]) -> list[dict[str, str]]:
    """Each way to choose one of every list; a value by itself counts as a list of it. None where there are too many."""
    named = {str(name): _plain(value) for name, value in lists.items()}
    if not named or not all(named.values()):
        return []
    found = [dict(zip(named, one, strict=True)) for one in islice(product(*named.values()), _MOST + 1)]
    return found if len(found) <= _MOST else []


def _calls(document: object) -> dict[int, tuple[Way, ...]]:
    """For each job of CircleCI, by identity, the parameters of every call of it in a workflow."""
    jobs = _of(document, "jobs")
    called: dict[int, list[Way]] = {}
    for workflow in _values(_of(document, "workflows")):
        for entry in _listed(_of(workflow, "jobs")):
            for name, says in _named(entry):
                job = _of(jobs, name)
                if isinstance(job, dict):
                    given = {**_defaults(job), **_scalars(says)}
                    of_matrix = _products(_of_dict(_of(says, "matrix"), "parameters")) or [{}]
                    called.setdefault(id(job), []).extend({**given, **one} for one in of_matrix)
    return {
        job: tuple({f"parameters.{name}": value for name, value in way.items()} for way in ways)
        for job, ways in called.items()
        if len(ways) <= _MOST
    }


def _calls_of_commands(document: object, of_jobs: Mapping[int, tuple[Way, ...]]) -> dict[int, tuple[Way, ...]]:
    """For each command of CircleCI, by identity, what is known of every call of it in a job, or in another command.

    None for one that nothing calls. One that is called in more ways than are told apart is left out.
    """
    commands = _of_dict(document, "commands") if _of_dict(document, "jobs") else {}
    found: dict[int, list[Way]] = {id(one): [] for one in commands.values() if isinstance(one, dict)}
    jobs = [job for job in _values(_of(document, "jobs")) if found and isinstance(job, dict)]
    left = [(job, way, 0) for job in jobs for way in of_jobs.get(id(job)) or (NOTHING_KNOWN,)]
    while left:
        caller, way, deep = left.pop()
        (way,) = _in_environment(caller, (way,))
        around = {name: value for name, value in way.items() if not name.startswith("parameters.")}
        for name, says in _called_in(caller.get("steps")):
            command = commands.get(name)
            if not isinstance(command, dict) or len(found[id(command)]) > _MOST or deep > _DEEPEST:
                continue
            given = {**_defaults(command), **{one: _given(value, way) for one, value in _scalars(says).items()}}
            inner = {**around, **{f"parameters.{one}": value for one, value in given.items()}}
            if inner not in found[id(command)]:
                found[id(command)].append(inner)
                left.append((command, inner, deep + 1))
    return {command: tuple(ways) for command, ways in found.items() if len(ways) <= _MOST}


def _called_in(steps: object, deep: int = 0) -> Iterator[tuple[object, object]]:
    """What steps of CircleCI call, with what they give; those that stand under a condition among them."""
    for step in _listed(steps):
        for name, says in _named(step):
            yield name, says
            if isinstance(says, dict) and deep < _DEEPEST:
                yield from _called_in(says.get("steps"), deep + 1)


def _named(entry: object) -> Iterable[tuple[object, object]]:
    """What an entry of a list names, with what it says of it: `build`, or `build: {image: web}`."""
    return tuple(entry.items()) if isinstance(entry, dict) else ((entry, {}),) if isinstance(entry, str) else ()


def jobs_of_gitlab(document: object) -> object:
    """A file of GitLab with what each job `extends` in it, and without what is hidden: by itself that does not run.

    See https://docs.gitlab.com/ci/yaml/#extends: mappings are merged, all else is replaced.
    """
    if not isinstance(document, dict):
        return document
    whole: dict[object, Mapping[Any, Any]] = {}

    def extended(name: object, deep: int) -> Mapping[Any, Any]:
        if name not in whole:
            own = _of_dict(document, name)
            extends = own.get("extends")
            found: Mapping[Any, Any] = {}
            for one in (extends if isinstance(extends, list) else [extends])[:_DEEPEST] if deep < _DEEPEST else ():
                found = _merged(found, extended(one, deep + 1)) if isinstance(one, str) and one in document else found
            whole[name] = _merged(found, own)
        return whole[name]

    return {
        name: extended(name, 0) if isinstance(value, dict) and "extends" in value else value
        for name, value in document.items()
        if not str(name).startswith(".")
    }


def _merged(under: Mapping[Any, Any], over: Mapping[Any, Any], deep: int = 0) -> Mapping[Any, Any]:
    both = {name for name in under.keys() & over.keys() if deep < _DEEPEST}
    alike = [name for name in both if isinstance(under[name], dict) and isinstance(over[name], dict)]
    return {**under, **over, **{name: _merged(under[name], over[name], deep + 1) for name in alike}}


def _defaults(job: Mapping[Any, Any]) -> dict[str, str]:
    declared = _of_dict(job, "parameters")
    return _scalars({name: _of(one, "default") for name, one in declared.items()})


def _in_environment(job: Mapping[Any, Any], ways: tuple[Way, ...]) -> tuple[Way, ...]:
    """What is known of each run with the environment that a mapping gives to the steps in it."""
    named = {name: value for key in _ENVIRONMENTS for name, value in _scalars(_of_dict(job, key)).items()}
    if not named or len(named) + max(map(len, ways)) > _MOST_NAMES:
        return ways
    return tuple(
        {**way, **{f"{before}{name}": _given(value, way) for name, value in named.items() for before in ("", "env.")}}
        for way in ways
    )


def _given(text: str, values: Way) -> str:
    return _REFERENCE.sub(lambda it: values.get(it[1] or it[2], it[0]), text)


def _of(value: object, key: object) -> object:
    return value.get(key) if isinstance(value, dict) else None


def _of_dict(value: object, key: object) -> Mapping[Any, Any]:
    found = _of(value, key)
    return found if isinstance(found, dict) else {}


def _values(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else ()


def _listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _plain(value: object) -> list[str]:
    """The values of a list as texts, or a value alone; none where one of them is no plain value."""
    every = value if isinstance(value, list) else [value]
    return [str(one) for one in every] if all(isinstance(one, (str, int, float)) for one in every) else []


def _scalars(values: object) -> dict[str, str]:
    """The plain values of a mapping as texts."""
    named = values if isinstance(values, dict) else {}
    return {str(name): str(value) for name, value in named.items() if isinstance(value, (str, int, float))}


class Written:
    """The texts of a CI file and of those that it takes in, in which the lines are found that its values begin on."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self._texts = texts
        self._left = _MOST_SEARCHED
        self._places: dict[str, Place] = {}
        for path, text in texts.items():
            for number, line in enumerate(text.splitlines(), start=1):
                value = _BEFORE_A_VALUE.sub("", line, count=1).rstrip()
                self._places.setdefault(value[:_TOLD_BY], Place(path, number))

    def place_of(self, value: str, path: str) -> Place:
        """The line that a text begins on, which YAML may have folded; just the file of a path where none is found."""
        first = next((line.strip() for line in value.splitlines() if line.strip()), "")[:_TOLD_BY]
        for begin in (first, first[:_TOLD_BY_LEAST]):  # of a text that was put together the beginning is there
            if begin not in self._places and begin and self._left > 0:
                self._left -= 1
                for file, text in self._texts.items():
                    at = text.find(begin)
                    if at >= 0:
                        self._places.setdefault(begin, Place(file, text.count("\n", 0, at) + 1))
            if begin in self._places and begin:
                return self._places[begin]
        return Place(path)


_TOLD_BY, _TOLD_BY_LEAST, _MOST_SEARCHED = 40, 14, 1_000
"""Characters that a text is found by, and texts that are searched for where no line begins with them."""
_BEFORE_A_VALUE = re.compile(r"\s*(?:-\s+)*(?:[\w.-]+:\s+)?[\"']?")
