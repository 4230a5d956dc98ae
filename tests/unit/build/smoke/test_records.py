"""What pytest's process writes is what is read here; anything else on the way is passed over."""

from __future__ import annotations

import pytest

from reconciler.build.smoke.records import Began, Broken, Ended, Finished, Found, Record, line, read


@pytest.mark.parametrize(
    "record",
    [
        Began("test_web.py::test_a"),
        Ended("test_web.py::test_a[ü\n\udce9]", "failed", 0.25, "what\x1b", "two\nlines"),
        Found("packer-key", "a key\n\udce9", "remove it", keys=["SHA256:a", "SHA256:b"], test="once_over.py::test_a"),
        Broken("test_web.py", 3, "SyntaxError: x"),
        Finished(1),
    ],
)
def test_a_record_survives_the_way(record: Record) -> None:
    text = line(record)

    assert text.count("\n") == 1
    assert text.isascii()
    assert read(text) == record


@pytest.mark.parametrize("text", ["", "hello", "[]", "7", "{}", '{"record": "odd"}', '{"record": "began"}', "{"])
def test_what_is_no_record_is_none(text: str) -> None:
    assert read(text) is None
