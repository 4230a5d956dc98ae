"""What a text holds is shown on a terminal, and never sent to it."""

from __future__ import annotations

from reconciler.model.printable import visible


def test_what_steers_a_terminal_is_shown_and_not_sent() -> None:
    assert visible("a\x1b[2J\u202eb\tc\u200b") == "a\\x1b[2J\\u202eb\\tc\\u200b"
    assert visible("naïve 日本語 → ok") == "naïve 日本語 → ok"
