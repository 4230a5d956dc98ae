"""The pages say what is: links resolve, codes, keys and flags exist, examples are valid."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import click
import pytest
from pydantic import BaseModel

from reconciler.cli.main import VERBS, cli
from reconciler.desired.declared import declaration_model
from reconciler.desired.located import validate
from reconciler.desired.yaml_file import read_yaml
from reconciler.model import events
from reconciler.model.declaration import Settings
from reconciler.model.lockfile import ReasonCode
from reconciler.model.plan import Action, Health, Sync

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
YAML = re.compile(r"^```yaml\n# desired/(?P<file>\S+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)(?P<path>[^)#\s]*)(?:#(?P<heading>[^)\s]+))?\)")
# At the beginning of a line or span, after a prompt, or where a shell or CI begins a command: not as an argument.
COMMAND = re.compile(r"(?:^|\$ |\$\(|&& |run: |sudo )\s*reconciler((?: +(?!#)[^\s`|;&)]+)+)")


class Named(NamedTuple):
    """A `reconciler …` command in a page, in words."""

    page: str
    words: tuple[str, ...]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def code_in(text: str) -> Iterator[str]:
    """The lines of code blocks, fenced or indented, and the code spans in prose and tables."""
    fenced = False
    for line in text.splitlines():
        if line.startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line
        else:
            yield from re.findall(r"`([^`]+)`", line)


def commands() -> Iterator[Named]:
    for page in PAGES:
        # A command that goes on in the next line, as in a synopsis, is one.
        text = re.sub(r"(?<=\S)\n +(?=\[--)", " ", page.read_text())
        for code in code_in(text):
            for match in COMMAND.finditer(code):
                words = (word.strip("[]\"'") for word in match[1].split())
                yield Named(name_of(page), tuple(word for word in words if word))


def flags_of(words: tuple[str, ...]) -> tuple[set[str], set[str]]:
    """The flags that are written, and those that the named verb (and its subcommand) has."""
    command: click.Command = cli
    known: set[str] = {"--help", "--version"}
    for word in words:
        inner = command.get_command(click.Context(command), word) if isinstance(command, click.Group) else None
        if inner is None:
            break
        command = inner
        known = {"--help"}
    known |= {flag for parameter in command.params for flag in parameter.opts}
    return {word for word in words if re.match("--?[A-Za-z]", word)}, known


def keys_of(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key that a person may write, dotted. What holds others is named by them."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{field.alias or name}"
        inner = [one for one in (field.annotation, *get_args(field.annotation)) if isinstance(one, type)]
        nested = next((one for one in inner if issubclass(one, BaseModel)), None)
        if nested is None:
            yield key
        else:
            yield from keys_of(nested, f"{key}.")


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    broken = [
        match[0]
        for match in LINK.finditer(page.read_text())
        if not (page.parent / match["path"] if match["path"] else page).exists()
    ]

    assert broken == []


def headings(page: Path) -> set[str]:
    """What a link can name of a page: its headings, as GitHub makes anchors of them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE)
    }


def test_links_lead_to_headings_that_are_there() -> None:
    broken = [
        f"{name_of(page)}: {match['path']}#{match['heading']}"
        for page in PAGES
        for match in LINK.finditer(page.read_text())
        if match["heading"] is not None
        for target in [page.parent / match["path"] if match["path"] else page]
        if target.suffix == ".md" and match["heading"] not in headings(target)
    ]

    assert broken == []


def test_every_page_is_reached_from_the_index() -> None:
    index = (ROOT / "docs/index.md").read_text()

    missing = [page.name for page in (ROOT / "docs").glob("*.md") if page.name != "index.md" and page.name not in index]

    assert missing == []


@pytest.mark.parametrize("codes", [ReasonCode, Action, Sync, Health], ids=["reasons", "actions", "sync", "health"])
def test_every_code_has_a_row_in_the_concepts(codes: object) -> None:
    rows = set(re.findall(r"^\| `([a-z-]+)` \|", (ROOT / "docs/concepts.md").read_text(), re.MULTILINE))

    assert set(get_args(codes)) - rows == set()


def test_every_event_of_a_run_is_named() -> None:
    text = (ROOT / "docs/formats.md").read_text()

    assert [event.name for event in events.Event.__subclasses__() if f"`{event.name}`" not in text] == []


@pytest.mark.parametrize(
    ("model", "prefix"),
    [(declaration_model(), ""), (Settings, "")],
    ids=["image.yaml", "reconciler.yaml"],
)
def test_every_key_is_explained(model: type[BaseModel], prefix: str) -> None:
    text = (ROOT / "docs/desired.md").read_text()
    explained = {
        key for row in re.findall(r"^\|([^|]+)\|", text, re.MULTILINE) for key in re.findall(r"`([^`]+)`", row)
    }
    mentioned = explained | set(re.findall(r"`([a-z_]+\.[a-z_]+)`", text))

    missing = [key for key in keys_of(model, prefix) if key not in mentioned]

    assert missing == [], "keys that docs/desired.md has not: add a row to its tables for each"


@pytest.mark.parametrize(
    ("page", "file", "text"),
    [(name_of(page), match["file"], match["text"]) for page in PAGES for match in YAML.finditer(page.read_text())],
)
def test_every_example_is_valid(page: str, file: str, text: str) -> None:
    document = read_yaml(text.encode(), file)

    _, problems = validate(Settings if file == "reconciler.yaml" else declaration_model(), document.root)

    assert [str(problem) for problem in (*document.problems, *problems)] == [], f"an example of {page} is not valid"


def test_there_are_examples_and_commands_to_check() -> None:
    """Or the tests here would pass for a pattern that finds nothing."""
    examples = [match["file"] for page in PAGES for match in YAML.finditer(page.read_text())]

    assert "reconciler.yaml" in examples
    assert "web/image.yaml" in examples
    assert {command.words[0] for command in commands()} >= set(VERBS)


def test_every_command_that_is_shown_exists() -> None:
    unknown = {(page, words[0]) for page, words in commands() if words[0] not in VERBS and words[0][0].islower()}

    assert unknown == set(), "pages that show a verb that is none: correct them"


def test_every_make_target_that_is_shown_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    shown = {
        (name_of(page), target)
        for page in PAGES
        for code in code_in(page.read_text())
        for words in re.findall(r"^\s*make((?: +[a-z]+)+)\s*(?:[#>].*)?$", code)
        for target in words.split()
    }

    assert {target for _, target in shown} >= {"demo", "test"}
    assert [(page, target) for page, target in sorted(shown) if target not in targets] == []


def test_every_flag_that_is_shown_exists() -> None:
    unknown = [
        (page, " ".join(words), sorted(written - known))
        for page, words in commands()
        for written, known in [flags_of(words)]
        if written - known
    ]

    assert unknown == [], "pages that show flags that their verb has not: correct them"


def test_every_flag_that_exists_is_explained() -> None:
    text = (ROOT / "docs/cli.md").read_text()

    missing = [
        (verb, flag)
        for verb in VERBS
        for flag in flags_of((verb,))[1]
        if flag.startswith("--") and flag != "--help" and f"{flag}" not in text.partition(f"\n## {verb}\n")[2]
    ]

    assert missing == [], "flags that docs/cli.md does not explain: add each to its verb's section"


ACTORS = (
    "the author of a fork",
    "the author of a branch",
    "who reviews and merges",
    "who may tag AMIs",
    "who holds `preview`",
    "who holds `reconcile`",
    "a local user",
    "a receiver",
    "a git host",
    "a booted image",
    "Packer, its plugins",
)


def test_every_test_that_a_page_names_is_there() -> None:
    named = [
        (name_of(page), match["file"].removeprefix("tests/"), match["test"])
        for page in PAGES
        for match in re.finditer(r"`(?P<file>[\w/]*\btest_\w+\.py)(?:::(?P<test>\w+))?`", page.read_text())
    ]

    missing = [
        (page, file, test)
        for page, file, test in named
        if not (ROOT / "tests" / file).is_file()
        or (test and not re.search(rf"^def {test}\(", (ROOT / "tests" / file).read_text(), re.MULTILINE))
    ]

    assert missing == []
    assert named


def test_of_each_who_could_mean_harm_the_threat_model_says_what_holds_and_what_does_not() -> None:
    page = (ROOT / "docs/security.md").read_text()
    rows = re.findall(r"^\|([^|]*)\|[^|]*\|([^|]*)\|([^|]*)\|$", page, re.MULTILINE)
    without_a_test = [row for row in rows if "::test_" not in row[2] and row[2].strip() not in ("test", "---")]
    not_held = page[page.index("## Not held") :].split("\n## ")[0]

    unheld = [who for who in ACTORS if not any(row[0].strip().startswith(who) for row in rows)]
    unsaid = [who for who in ("role", *ACTORS) if who.split(" `")[0].lower() not in not_held.lower()]

    assert (without_a_test, unheld, unsaid) == ([], [], [])
