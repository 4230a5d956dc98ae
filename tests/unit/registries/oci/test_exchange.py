"""What a registry is asked again, how long is waited before that, and what ends it."""

from __future__ import annotations

import pytest

from reconciler.model.errors import Terminal, Transient
from reconciler.registries.oci.credentials import Logins
from reconciler.registries.oci.exchange import Exchange
from reconciler.registries.oci.reference import repository
from reconciler.registries.oci.transport import Answer

OF = repository("registry.example.org/acme/web")


class Asking(Exchange):
    """Whoever asks a registry that answers so, one after the other; an error is raised."""

    def __init__(self, *answers: Answer | Transient) -> None:
        super().__init__(Logins({}, lambda *_: None))  # type: ignore[arg-type] # nobody signs in
        self.answers, self.slept = list(answers), list[float]()

    def send(self, *_: object, **__: object) -> Answer:
        answer = self.answers.pop(0)
        if isinstance(answer, Transient):
            raise answer
        return answer

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def answer(status: int, **headers: str) -> Answer:
    return Answer(status, {name.replace("_", "-"): value for name, value in headers.items()}, b"")


def test_what_is_not_reached_or_busy_is_asked_again_after_longer_each_time() -> None:
    asking = Asking(Transient("no route"), answer(503), answer(200))

    assert asking.ask("GET", OF, "tags/list").status == 200
    first, second = asking.slept
    assert 0.4 <= first <= 1
    assert 0.8 <= second <= 2


@pytest.mark.parametrize(("asked", "seconds"), [("7", 7), ("3600", 20)])
def test_it_is_waited_as_long_as_is_asked_for_within_reason(asked: str, seconds: float) -> None:
    asking = Asking(answer(429, retry_after=asked), answer(200))

    asking.ask("GET", OF, "tags/list")

    assert asking.slept == [seconds]


def test_after_some_tries_the_last_answer_is_what_it_comes_to() -> None:
    asking = Asking(*(answer(503) for _ in range(5)))
    with pytest.raises(Transient, match=r"registry\.example\.org answers 503"):
        asking.ask("GET", OF, "tags/list")
    assert (len(asking.answers), len(asking.slept)) == (1, 3)

    asking = Asking(*(Transient(f"no route {number}") for number in range(5)))
    with pytest.raises(Transient, match="no route 3"):
        asking.ask("GET", OF, "tags/list")


def test_what_is_refused_or_answered_is_not_asked_again() -> None:
    refused = Asking(answer(403), answer(200))
    with pytest.raises(Terminal):
        refused.ask("GET", OF, "tags/list")
    wanted = Asking(answer(416), answer(200))

    assert wanted.ask("GET", OF, "tags/list", also=(416,)).status == 416
    assert (refused.slept, wanted.slept) == ([], [])
