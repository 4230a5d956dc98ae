from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from reconciler.desired.edit import with_key
from reconciler.model.errors import UserError

ROW = 'hold: {build: 20261122T101530Z-1a2b3c4, reason: "works"}'
HELD = yaml.safe_load(ROW)["hold"]

COMMENTED = """\
# ours
source: {image: base}  # the parent

# why we hold it
hold:
  build: 20261101T101530Z-1a2b3c4
  # a comment inside
  reason: old

# the rest
tags:
  CostCenter: "42"
"""

VALUES = st.sampled_from(
    ["{image: base}", "\n  a: 1\n  b: [1, 2]", '"text"', "\n- {build: x}\n- {build: y}", "|\n  long\n  text"]
)
KEYS = st.lists(st.sampled_from(["source", "tags", "hold", "revoke", "description"]), unique=True)
BETWEEN = st.sampled_from(["", "\n", "# a comment\n", "\n# two\n\n"])


def test_what_stands_around_it_stays() -> None:
    changed = with_key(COMMENTED.encode(), "hold", ROW, path="image.yaml").decode()
    before, _, after = COMMENTED.partition("hold:\n")
    assert changed == f"{before}{ROW}\n\n{after[after.index('# the rest') :]}"


@pytest.mark.parametrize("content", ["", "# nothing yet\n", "---\n", "tags: {a: b}"])
def test_a_file_without_it_gets_it_at_its_end(content: str) -> None:
    changed = with_key(content.encode(), "hold", ROW, path="image.yaml").decode()
    assert changed.endswith(f"{ROW}\n")
    assert changed.startswith(content)


def test_line_ends_are_kept() -> None:
    changed = with_key(b"tags: {a: b}\r\nhold: {}\r\n", "hold", ROW, path="image.yaml")
    assert changed == f"tags: {{a: b}}\r\n{ROW}\r\n".encode()


@pytest.mark.parametrize("content", ["{source: {image: base}}\n", "  source: {image: base}\n", "{}\n{", "{}\n"])
def test_what_is_not_a_key_a_line_is_left_to_a_person(content: str) -> None:
    with pytest.raises(UserError):
        with_key(content.encode(), "hold", ROW, path="image.yaml")


@given(st.data(), KEYS)
def test_the_other_keys_say_what_they_said(data: st.DataObject, keys: list[str]) -> None:
    text = "".join(f"{data.draw(BETWEEN)}{key}: {data.draw(VALUES)}\n" for key in keys) + data.draw(BETWEEN)
    changed = yaml.safe_load(with_key(text.encode(), "hold", ROW, path="image.yaml"))
    assert changed == {**(yaml.safe_load(text) or {}), "hold": HELD}
