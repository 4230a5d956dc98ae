"""Lists in headers: links and ways to sign in, in every form that HTTP allows, and some that it does not."""

from __future__ import annotations

import string

import pytest
import requests.utils
from hypothesis import given
from hypothesis import strategies as st

from reconciler.registries.oci.headers import Challenge, challenges, next_page
from tests.cpu import cpu_seconds

TOKENS = st.text(string.ascii_letters + string.digits + "-._", min_size=1, max_size=8)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
BLANKS = st.sampled_from(["", " ", "\t", "  "])


def quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@st.composite
def parameters(draw: st.DrawFn, names: st.SearchStrategy[str]) -> tuple[str, str, str]:
    """A name, its value, and how they are written."""
    name = draw(names)
    bare = draw(st.booleans())
    value = draw(TOKENS if bare else TEXTS)
    written = value if bare else quoted(value)
    return name, value, f"{name}{draw(BLANKS)}={draw(BLANKS)}{written}"


@st.composite
def challenge_lists(draw: st.DrawFn) -> tuple[str, list[Challenge]]:
    """Ways to sign in, and a header that has them, or several that are joined."""
    written, expected = [], []
    for _ in range(draw(st.integers(1, 4))):
        scheme = draw(st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,8}", fullmatch=True))
        form = draw(st.sampled_from(["alone", "token", "names"]))
        says: dict[str, str] = {}
        if form == "names":
            given_ = draw(st.lists(parameters(TOKENS), min_size=1, max_size=4, unique_by=lambda one: one[0].lower()))
            says = {name.lower(): value for name, value, _ in given_ if value.strip("=")}
            between = draw(st.sampled_from([",", ", ", " , ", ",, "]))
            written.append(f"{scheme} {between.join(text for _, _, text in given_)}")
        else:
            token = draw(st.from_regex(r"[A-Za-z0-9._~+/-]{1,9}={0,2}", fullmatch=True))
            written.append(f"{scheme} {token}" if form == "token" else scheme)
        expected.append(Challenge(scheme.lower(), says))
    return draw(st.sampled_from([",", ", ", " , "])).join(written), expected


@given(challenge_lists())
def test_all_ways_to_sign_in_are_read(pair: tuple[str, list[Challenge]]) -> None:
    header, expected = pair
    assert challenges(header) == expected


def test_an_address_without_quotes_is_read_and_a_name_in_any_case() -> None:
    asked = "bearer Realm=https://auth.example.org/token?a=b, SERVICE=reg"
    assert challenges(asked) == [Challenge("bearer", {"realm": "https://auth.example.org/token?a=b", "service": "reg"})]


@given(st.text(max_size=200))
def test_no_header_ends_a_run(header: str) -> None:
    challenges(header)
    try:
        next_page(header)
    except ValueError:
        assert header.strip()


@st.composite
def link_lists(draw: st.DrawFn) -> tuple[str, str | None]:
    """A header of links, and what the first is that is the next."""
    written, expected = [], None
    for number in range(draw(st.integers(1, 4))):
        target = f"/v2/web/tags/list?last={number}{draw(st.sampled_from(['', '&n=2', ',;x', '&q=%22']))}"
        relations = draw(st.lists(st.sampled_from(["next", "NEXT", "first", "prev", "nextish"]), max_size=2))
        others = draw(st.lists(parameters(TOKENS.filter(lambda one: one.lower() != "rel")), max_size=2))
        given_ = [text for *_, text in others]
        if relations:
            rel = relations[0] if len(relations) == 1 and draw(st.booleans()) else quoted(" ".join(relations))
            given_.insert(draw(st.integers(0, len(given_))), f"{draw(st.sampled_from(['rel', 'Rel']))}={rel}")
        semicolon = draw(st.sampled_from([";", "; ", " ; "]))
        written.append(semicolon.join([f"<{target}>", *given_]))
        if expected is None and "next" in [one.lower() for one in relations]:
            expected = target
    return draw(st.sampled_from([",", ", ", " , "])).join(written), expected


@given(link_lists())
def test_of_all_links_the_next_is_found(pair: tuple[str, str | None]) -> None:
    header, expected = pair
    assert next_page(header) == expected


@given(st.lists(st.tuples(st.from_regex(r"/[a-z?=&0-9]{1,12}", fullmatch=True), st.sampled_from(["next", "first"])),
                min_size=1, max_size=3))  # fmt: skip
def test_plain_links_are_read_as_requests_reads_them(links: list[tuple[str, str]]) -> None:
    header = ", ".join(f'<{target}>; rel="{relation}"' for target, relation in links)
    theirs = requests.utils.parse_header_links(header)
    assert next_page(header) == next((one["url"] for one in theirs if one["rel"] == "next"), None)


def test_where_there_are_no_links_there_is_no_next_and_what_is_no_link_is_an_error() -> None:
    assert next_page("") is None
    with pytest.raises(ValueError, match="next"):
        next_page("/v2/web/tags/list; rel=next")


@pytest.mark.parametrize("unit", ["a", 'a="', "a=", '"', ",", "<", "<a>", "<a>;", '<a>; b="', ";", '="\\', " ", "\\"])
def test_a_header_without_end_is_read_once(unit: str) -> None:
    header = unit * (200_000 // len(unit))
    with cpu_seconds(5):
        challenges(f"Bearer {header}")
        next_page(f"<a>; {header}")
