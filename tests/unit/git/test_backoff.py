from __future__ import annotations

from reconciler.git.recorder import TRIES, wait_seconds


def test_the_longest_waits_grow_by_half_up_to_the_cap() -> None:
    longest = [wait_seconds(tries, chance=1) for tries in range(1, TRIES)]

    assert longest[:3] == [1, 1.5, 2.25]
    assert longest == sorted(longest)
    assert wait_seconds(50, chance=1) == 30


def test_a_wait_is_drawn_from_nothing_to_the_longest() -> None:
    assert wait_seconds(1, chance=0) == 0
    assert wait_seconds(1, chance=0.25) == 0.25
