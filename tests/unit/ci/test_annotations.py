"""What GitHub shows of a run: errors at their places, a summary, and no command of anybody else's."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest

from reconciler.ci.github import Annotations, summarize
from reconciler.model.errors import Place, UserError


def test_an_error_is_shown_at_its_place_with_what_would_end_the_line_escaped(tmp_path: Path) -> None:
    stream = StringIO()
    marks = Annotations(stream, workspace=tmp_path)
    error = UserError("100 %: no\nsuch key", where=Place("desired/a,b:c/image.yaml", 3, 5), hint="take it away")
    with marks.only_ours():
        marks.mark(error, folder=tmp_path / "images")
    shown = [line for line in stream.getvalue().splitlines() if line.startswith("::error")]
    assert shown == [
        (
            "::error title=reconciler,file=images/desired/a%2Cb%3Ac/image.yaml,line=3,col=5::"
            "100 %25: no%0Asuch key%0A  take it away"
        )
    ]


def test_an_error_outside_of_the_checkout_is_shown_without_a_place(tmp_path: Path) -> None:
    stream = StringIO()
    Annotations(stream, workspace=tmp_path / "work").mark(UserError("no", where=Place("../x", 1)), folder=tmp_path)
    assert "::error title=reconciler::no\n" in stream.getvalue()


def test_what_others_print_meanwhile_is_no_command(tmp_path: Path) -> None:
    stream = StringIO()
    with Annotations(stream, workspace=tmp_path).only_ours():
        stream.write("::add-mask::all\n")
    first, middle, last = stream.getvalue().splitlines()
    assert first.startswith("::stop-commands::")
    assert middle == "::add-mask::all"
    assert last == f"::{first.removeprefix('::stop-commands::')}::"
    assert len(last) > 32, "nobody guesses it"


def test_between_the_lines_of_an_error_nobody_else_has_his_say(tmp_path: Path) -> None:
    # Given somebody who prints a command at each moment that he can
    class Shared(StringIO):
        def write(self, text: str, /) -> int:
            return super().write(text + "::add-mask::all\n")

    stream = Shared()
    marks = Annotations(stream, workspace=tmp_path)
    with marks.only_ours():
        marks.mark(UserError("no"), folder=tmp_path)

    stopped, heard = "", []
    for line in stream.getvalue().splitlines()[:-1]:
        if not stopped and line.startswith("::stop-commands::"):
            stopped = line.removeprefix("::stop-commands::")
        elif line == f"::{stopped}::":
            stopped = ""
        elif not stopped:
            heard.append(line)
    assert heard == ["::error title=reconciler::no"]


def test_a_summary_is_added_to_what_is_there_as_long_as_github_shows_it(tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    environment = {"GITHUB_STEP_SUMMARY": str(file)}
    summarize(environment, lambda: "# One\n")
    summarize(environment, lambda: "x" * (1 << 20))
    summarize(environment, lambda: "# Two\n")
    assert file.read_text(encoding="utf-8") == "# One\n# Two\n"
    summarize({}, lambda: pytest.fail("nothing shows it"))
    summarize({"GITHUB_STEP_SUMMARY": str(tmp_path)}, lambda: "a folder")
