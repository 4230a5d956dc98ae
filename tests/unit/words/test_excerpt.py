from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.words.markdown import excerpt

LINE = "a line of a log\n"
PIECES = [
    "# heading\n",
    LINE,
    "```\n",
    "```hcl\n",
    "~~~\n",
    "<details><summary>s</summary>\n",
    "</details>\n",
    "\n",
    "é",
]


def test_what_fits_is_left_as_it_is() -> None:
    assert excerpt("x" * 1000, longest=1000, whole=None) == "x" * 1000


def test_both_ends_stay_in_whole_lines() -> None:
    short = excerpt("first\n" + LINE * 200 + "last\n", longest=1000, whole=None)

    before, _, after = short.partition("\n\n*")
    assert set(before.splitlines()) == {"first", LINE.strip()}
    assert after.endswith("\nlast\n")
    assert set(after.partition("\n\n")[2].splitlines()) == {LINE.strip(), "last"}


def test_what_was_left_out_is_counted_and_found() -> None:
    markdown = LINE * 200
    short = excerpt(markdown, longest=1000, whole="https://ci.example.org/1")

    kept = short.count(LINE.strip()) * len(LINE)
    assert f"*{len(markdown) - kept} characters are left out here; the whole is at https://ci.example.org/1.*" in short


def test_without_an_address_the_log_is_named() -> None:
    assert "the log of the job has the whole" in excerpt(LINE * 200, longest=1000, whole=None)


@pytest.mark.parametrize("fence", ["```", "~~~"])
def test_code_that_the_cut_goes_through_is_code_on_both_sides(fence: str) -> None:
    short = excerpt(f"{fence}text\n{LINE * 200}{fence}\nlast\n", longest=1000, whole=None)

    before, _, after = short.partition("\n\n*")
    assert before.endswith(f"\n{fence}")
    assert after.partition("\n\n")[2].startswith(f"{fence}\n{LINE}")
    assert short.count(fence) == 4


def test_the_notice_is_not_folded_away() -> None:
    short = excerpt(f"<details>\n{LINE * 200}</details>\nlast\n", longest=1000, whole=None)

    assert "</details>" in short.partition("*")[0]


def test_one_endless_line_is_cut_within() -> None:
    short = excerpt("x" * 5000, longest=1000, whole=None)

    assert len(short) <= 1000
    assert short.startswith("xxx")
    assert short.endswith("xxx")


@given(st.lists(st.sampled_from(PIECES), max_size=600), st.integers(400, 2000))
def test_it_never_grows_beyond_its_measure(pieces: list[str], longest: int) -> None:
    assert len(excerpt("".join(pieces), longest=longest, whole="https://ci.example.org/1")) <= longest
