from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.lockfile import Reason
from reconciler.model.plan import Plan, PlannedImage, PlanOptions
from reconciler.words import markdown

MakePlan = Callable[..., Plan]
MakePlanned = Callable[..., PlannedImage]


def test_what_is_invalid_is_called_so_and_not_left_alone(a_plan: MakePlan, planned: MakePlanned) -> None:
    wrong = planned("web", sync="unknown", actions=("none",), errors=["image.yaml:1:1: no"])
    unread = planned("api", sync="unknown", actions=("none",), unknown=["eu-west-1: RequestLimitExceeded"])
    head = "### reconciler: 0 images will change · 1 invalid"

    assert markdown.render(a_plan(wrong, quiet=2)).startswith(f"{head} · 2 unchanged\n")
    assert markdown.render(a_plan(wrong, unread, quiet=2)).startswith(f"{head} · 1 left alone · 2 unchanged\n")


def test_a_plan_reads_as_a_comment(a_plan: MakePlan, planned: MakePlanned) -> None:
    base = planned(
        "base", reasons=[Reason(code="source-changed", was="debian-1", now="debian-2")], estimate_seconds=360
    )
    parent = Reason(code="parent-rebuilt", was="base 20261108T020411Z-9f1c2d3", now="base (this run)")
    web = planned("web", reasons=[parent], blocked_by=["base"], estimate_seconds=300)
    api = planned("api", sync="unknown", actions=("none",), unknown=["eu-west-1: RequestLimitExceeded"])

    assert (
        markdown.render(a_plan(base, web, api, quiet=11))
        == """\
### reconciler: 2 images will change · 1 left alone · 11 unchanged

| image | action | why | details |
|---|---|---|---|
| **base** | build | source-changed | `debian-1 → debian-2` |
| **web** | build | parent-rebuilt | `base 20261108T020411Z-9f1c2d3`<br>`→ base (this run)`<br>`waits for base` |
| **api** | none | unknown | `eu-west-1: RequestLimitExceeded` |

```mermaid
graph LR
  n62617365["base"] --> n776562["web"]
```

About 11 min: base 6 min, then web 5 min (from earlier builds).

Plan `sha256:41c000000000…` for 9c0d1e200000.
"""
    )


def test_nothing_to_do_is_two_lines(a_plan: MakePlan) -> None:
    assert markdown.render(a_plan(quiet=3)) == (
        "### reconciler: 0 images will change · 3 unchanged\n\nPlan `sha256:41c000000000…` for 9c0d1e200000.\n"
    )


def test_one_image_is_no_plural_and_offline_is_said(a_plan: MakePlan, planned: MakePlanned) -> None:
    text = markdown.render(a_plan(planned("web"), options=PlanOptions(offline=True)))
    assert text.startswith("### reconciler: 1 image will change · 0 unchanged\n")
    assert "the registry was not read" in text


anything = st.text(alphabet=st.characters() | st.sampled_from("|`*_<>[]\\\n\r\t@&~"), min_size=1, max_size=40)


@given(name=anything, was=anything, file=anything, error=anything)
def test_no_name_breaks_out_of_its_cell(
    *, a_plan: MakePlan, planned: MakePlanned, name: str, was: str, file: str, error: str
) -> None:
    reasons = [Reason(code="tags-changed", was=was, now="x" * 44), Reason(code="inputs-changed", files=(file,))]
    web = planned(name, reasons=reasons, errors=[error])

    text = markdown.render(a_plan(web))

    row = text.split("\n")[4]
    assert text.count("\n") == markdown.render(a_plan(planned("web"))).count("\n")
    assert len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) == 5
    assert row.split("**")[0] == "| "
    details = row.rpartition(" | ")[2].removesuffix(" |")
    assert re.fullmatch(r"(`[^`]+`(<br>)?|<br>)*", details)


@given(name=anything, file=anything)
def test_no_name_steers_what_shows_the_comment(*, a_plan: MakePlan, planned: MakePlanned, name: str, file: str) -> None:
    web = planned(name, reasons=[Reason(code="inputs-changed", files=(file,))], blocked_by=["base"])
    child = planned("child", blocked_by=["base"])
    assert markdown.render(a_plan(web, child)).replace("\n", "").isprintable()
    assert markdown.graph([web, child]).replace("\n", "").isprintable()
    assert markdown.code("desired/web/\u202egnp.sh") == "`desired/web/\\u202egnp.sh`"


pieces = st.sampled_from([*"#@!1aG-H:/w. \\`", "://", "https://", "s3://", "www.", "GH-1"])


@given(text=st.lists(pieces).map("".join))
def test_text_in_markdown_is_no_reference_mention_or_address(text: str) -> None:
    # A host looks for them when Markdown has taken its escapes away.
    seen = re.sub(r"\\([\\`*_\[\]<>|~&$])", r"\1", markdown.escape(text))

    acts = r"#[A-Za-z0-9]|\bGH-[0-9]|(?:^|[^A-Za-z0-9_])@[A-Za-z0-9]|(?:https?|ftp)://\S|\bwww\.\S"
    assert re.search(acts, seen, re.IGNORECASE) is None


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("all passed :white_check_mark:", "all passed : white\\_check\\_mark:"),
        ("x:+1::100:", "x: +1:: 100:"),
        ("$\\text{passed}$", "\\$\\\\text{passed}\\$"),
        ("at 12:30:45, sha256:00", "at 12:30:45, sha256:00"),
    ],
)
def test_text_in_markdown_is_no_picture_and_no_formula(text: str, shown: str) -> None:
    assert markdown.escape(text) == shown
