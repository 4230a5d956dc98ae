"""What patterns and conditions of IAM policies are judged to say."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.aws.iam import holds_for, matches

FEW = st.text("ab", max_size=8)
PATTERNS = st.text("ab*?", max_size=8)


@given(FEW, PATTERNS)
def test_a_pattern_matches_what_the_expression_that_says_the_same_does(text: str, pattern: str) -> None:
    same = pattern.replace("*", ".*").replace("?", ".")
    assert matches(text, pattern) is (re.fullmatch(same, text) is not None)


def test_a_pattern_of_thousands_of_stars_ends() -> None:
    assert not matches("ec2.eu-central-1.amazonaws.com", "*" * 4000 + "x")
    assert not matches("a" * 200, "*a" * 1000 + "b")
    assert matches("a" * 200, "*a" * 200)


@pytest.mark.parametrize(
    ("operator", "actual", "value", "holds"),
    [
        ("StringEquals", "222222222222", 222222222222, True),
        ("StringLike", "222222222222", 222222222222, True),
        ("StringNotEquals", "222222222222", 222222222222, False),
        ("StringLike", "true", True, True),
        ("StringEquals", "true", False, False),
        ("Bool", "true", True, True),
        ("Bool", "TRUE", "true", True),
    ],
)
def test_a_condition_s_value_is_its_text_whatever_json_it_is(
    operator: str, actual: str, value: object, *, holds: bool
) -> None:
    assert holds_for(operator, actual, [value]) is holds
