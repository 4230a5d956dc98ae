"""The plan as it is printed, at 80 columns. Change the texts here only when people should see something else."""

from __future__ import annotations

from collections.abc import Callable
from io import StringIO
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from reconciler.model.lockfile import Reason
from reconciler.model.plan import Plan, PlannedImage, PlanOptions
from reconciler.words import table
from reconciler.words.plans import Steps

MakePlan = Callable[..., Plan]
MakePlanned = Callable[..., PlannedImage]


def printed(plan: Plan) -> str:
    out = StringIO()
    Console(width=80, no_color=True, file=out, highlight=False).print(table.render(plan))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def test_what_was_and_what_is_now_stand_below_each_other(a_plan: MakePlan, planned: MakePlanned) -> None:
    was, now = "debian-12-amd64-20261101 ami-0aa11bb22cc33dd44", "debian-12-amd64-20261115 ami-0ee55ff66aa77bb88"
    base = planned("base", reasons=[Reason(code="source-changed", was=was, now=now)], estimate_seconds=360)
    parent = Reason(code="parent-rebuilt", was="base 20261108T020411Z-9f1c2d3", now="base (this run)")
    web = planned("web", reasons=[parent], blocked_by=["base"], estimate_seconds=300)
    plan = a_plan(base, web, quiet=12)

    assert (
        printed(plan)
        == """
  base  build  source-changed  debian-12-amd64-20261101 ami-0aa11bb22cc33dd44
                               → debian-12-amd64-20261115 ami-0ee55ff66aa77bb88
  web   build  parent-rebuilt  base 20261108T020411Z-9f1c2d3
                               → base (this run)
                               waits for base
"""
    )
    assert table.footer(plan) == (
        "12 in sync. About 11 min: base 6 min, then web 5 min (from earlier builds).\n"
        "Run `reconciler reconcile` to build them."
    )


def test_eight_files_are_listed_and_the_others_counted(a_plan: MakePlan, planned: MakePlanned) -> None:
    files = tuple(f"desired/web/{number:02}.conf" for number in range(10))
    web = planned("web", reasons=[Reason(code="inputs-changed", was="51b0c9e", now="9c0d1e2", files=files)])

    assert (
        printed(a_plan(web))
        == """
  web  build  inputs-changed  desired/web/00.conf
                              desired/web/01.conf
                              desired/web/02.conf
                              desired/web/03.conf
                              desired/web/04.conf
                              desired/web/05.conf
                              desired/web/06.conf
                              desired/web/07.conf
                              (+2 more)
"""
    )


def test_long_names_and_every_action_at_once_still_fit(a_plan: MakePlan, planned: MakePlanned) -> None:
    reasons = [
        Reason(code="region-missing", was="eu-west-1 ami-0aa11bb22cc33dd44", now="eu-west-1 nothing"),
        Reason(code="verdict-pending-record", was="none", now="passed"),
        Reason(
            code="source-changed", was="debian-12 ami-0aa11bb22cc33dd44", now=f"Windows_Server-{'2025' * 8} ami-0ee"
        ),
    ]
    acts = ("copy", "retag", "promote", "retire", "record")
    plan = a_plan(planned("an-image-whose-name-is-as-long-as-it-may-be", actions=acts, reasons=reasons))

    assert (
        printed(plan)
        == """
  an-image-whose-name-is-as-long-as-it-may-be
    copy     region-missing          eu-west-1 ami-0aa11bb22cc33dd44
    retag                            → eu-west-1 nothing
    promote
    retire
    record
             verdict-pending-record  none → passed
             source-changed
      debian-12 ami-0aa11bb22cc33dd44
      → Windows_Server-20252025202520252025202520252025 ami-0ee
"""
    )
    assert table.footer(plan) == "Run `reconciler reconcile` to carry it out."


def test_letters_of_any_script_are_measured_as_they_are_shown(a_plan: MakePlan, planned: MakePlanned) -> None:
    files = ("desired/web/проверка/日本語.conf",)
    web = planned("web", reasons=[Reason(code="inputs-changed", was="1", now="2", files=files)])
    assert (
        printed(a_plan(web, planned("api", reasons=[Reason(code="new", now="2")])))
        == """
  web  build  inputs-changed  desired/web/проверка/日本語.conf
  api  build  new             not built yet
"""
    )


def test_what_is_unknown_invalid_or_left_alone_is_never_silent(a_plan: MakePlan, planned: MakePlanned) -> None:
    none = ("none",)
    api = planned("api", sync="unknown", actions=none, unknown=["eu-west-1: RequestLimitExceeded after 8 tries"])
    bad = planned(
        "bad", sync="unknown", actions=none,
        errors=['desired/bad/image.yaml:7:3: unknown key "regoins"\n  did you mean "regions"?'],
    )  # fmt: skip
    old = planned("old", actions=none, reasons=[Reason(code="removed", was="3 recorded builds", now="not declared")],
                  waits_for="retired only when asked: --prune")  # fmt: skip
    plan = a_plan(api, bad, old, applyable=False)

    assert (
        printed(plan)
        == """
  api  none  unknown  eu-west-1: RequestLimitExceeded after 8 tries
  bad  none  invalid  see below
  old  none  removed  3 recorded builds → not declared
                      retired only when asked: --prune

  desired/bad/image.yaml:7:3: unknown key "regoins"
    did you mean "regions"?
"""
    )
    assert table.footer(plan) == ""


def test_what_is_unknown_of_several_for_the_same_reason_is_told_once(a_plan: MakePlan, planned: MakePlanned) -> None:
    why = "endpoint http://127.0.0.1:9/ can't be reached (EndpointConnectionError)\n  check HTTPS_PROXY"
    unknown = [f"eu-west-1: {why}", f"us-east-1: {why}"]
    images = [planned(name, sync="unknown", actions=("none",), unknown=unknown) for name in ("api", "web")]

    assert (
        printed(a_plan(*images, applyable=False))
        == """
  api  none  unknown  eu-west-1, us-east-1: endpoint http://127.0.0.1:9/ can't
                      be reached (EndpointConnectionError)
                      check HTTPS_PROXY
  web  none  unknown  as api
"""
    )


def test_a_name_steers_no_terminal_and_no_markup(a_plan: MakePlan, planned: MakePlanned) -> None:
    files = ("desired/web/\x1b[31m[bold]red[/bold]\n.conf",)
    web = planned("web", reasons=[Reason(code="inputs-changed", was="1", now="2", files=files)])
    assert (
        printed(a_plan(web))
        == """
  web  build  inputs-changed  desired/web/\\x1b[31m[bold]red[/bold]\\n.conf
"""
    )


def test_nothing_drifted_is_no_table(a_plan: MakePlan) -> None:
    assert printed(a_plan(quiet=3)) == ""
    assert table.footer(a_plan(quiet=3, applyable=False)) == ""


@pytest.mark.parametrize(
    ("options", "acts", "last_line"),
    [
        ({}, [("copy",)], "Run `reconciler reconcile` to copy it."),
        ({}, [("build",), ("build",)], "Run `reconciler reconcile` to build them."),
        (
            {"prune": True},
            [("build",), ("copy", "retire")],
            "Run `reconciler reconcile --prune` to build, copy and retire them.",
        ),
        (
            {"images": ["web", "api"], "refresh": True, "force": ["web"]},
            [("build",)],
            "Run `reconciler reconcile web api --refresh --force web` to build it.",
        ),
    ],
)  # fmt: skip
def test_the_last_line_is_the_command_that_does_just_this(
    a_plan: MakePlan, planned: MakePlanned, options: dict[str, Any], acts: list[tuple[str, ...]], last_line: str
) -> None:
    images = [planned(f"i{place}", actions=each) for place, each in enumerate(acts)]
    assert table.footer(a_plan(*images, options=PlanOptions.model_validate(options))) == last_line


def test_the_last_line_allows_what_a_person_has_to_allow(a_plan: MakePlan, planned: MakePlanned) -> None:
    plan = a_plan(planned("web", actions=("retire",)), options=PlanOptions(prune=True))
    said = "Run `reconciler reconcile --prune --max-actions 1` to retire it."
    assert table.footer(plan, Steps(to_allow=1)) == said


@given(name=st.text(min_size=1, max_size=90), texts=st.lists(st.text(max_size=200), min_size=1, max_size=3))
def test_no_line_is_ever_wider_than_the_terminal(
    a_plan: MakePlan, planned: MakePlanned, name: str, texts: list[str]
) -> None:
    web = planned(
        name, actions=("copy", "retag", "promote"), reasons=[Reason(code="source-changed", was=t, now=t) for t in texts]
    )
    assert all(cell_len(line) <= 80 for line in printed(a_plan(web)).split("\n"))


def test_findings_are_counted_and_named_below(a_plan: MakePlan, planned: MakePlanned) -> None:
    finding = {"code": "packer-key", "text": "a key stays", "hint": "clear it"}
    web = planned("web", reasons=[Reason(code="new")], findings=[finding, {**finding, "code": "logs"}])
    base = planned("base", sync="in-sync", actions=("none",), findings=[finding])

    assert table.footer(a_plan(web, base)) == (
        "1 in sync.\n"
        "3 findings of smoke tests: web (packer-key, logs), base (packer-key); `reconciler status` has them.\n"
        "Run `reconciler reconcile` to build it."
    )
