"""What stops a run, and what does not."""

from __future__ import annotations

import signal

import pytest

from reconciler.cli.progress import cancelled_by_signal


@pytest.mark.usefixtures("heeded_signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_is_cancelled_when_it_is_asked_to_end_or_its_terminal_is_closed(number: signal.Signals) -> None:
    before = signal.getsignal(number)

    with cancelled_by_signal() as cancelled:
        signal.raise_signal(number)

    assert cancelled.is_set()
    assert signal.getsignal(number) is before


def test_begun_with_nohup_a_run_goes_on_when_its_terminal_is_closed() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with cancelled_by_signal() as cancelled:
            signal.raise_signal(signal.SIGHUP)

        assert not cancelled.is_set()
    finally:
        signal.signal(signal.SIGHUP, before)
