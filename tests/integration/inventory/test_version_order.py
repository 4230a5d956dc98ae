"""The order of versions, against the package managers themselves."""

from __future__ import annotations

import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.plan.difference import order

UNTIMED = settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])

# What dpkg takes for a version (deb-version(7)): it begins with a digit, and only what has a revision has a hyphen.
upstream = st.from_regex(r"[0-9][0-9A-Za-z.+~]{0,6}", fullmatch=True)
revision = st.from_regex(r"[0-9A-Za-z.+~]{1,4}", fullmatch=True)
debs = st.one_of(
    upstream,
    st.builds("{}-{}".format, upstream, revision),
    st.builds("{}:{}-{}".format, st.integers(0, 3), upstream, revision),
)


@pytest.mark.long
@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs dpkg")
@UNTIMED
@given(debs, debs)
def test_debs_are_ordered_as_dpkg_itself_orders_them(one: str, other: str) -> None:
    def dpkg(relation: str) -> bool:
        return subprocess.run(["dpkg", "--compare-versions", one, relation, other], check=False).returncode == 0

    assert order("deb", one, other) == (-1 if dpkg("lt") else 1 if dpkg("gt") else 0)
