"""Every AWS call on its way into moto: counted, disturbed when asked, and one at a time.

moto's models are plain dictionaries that threads would change under each other's hands, and an instance's start
is more than one step. So a call is answered while no other is; a delay that was asked for is waited out before.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

# What these mean is "later", and AWS says it with a 503.
_TRY_LATER = {"RequestLimitExceeded", "Unavailable", "ServiceUnavailable", "InsufficientInstanceCapacity"}
_SERVER_SIDE = {"InternalError", "InternalFailure"}


@dataclass(frozen=True)
class Call:
    """What a client asks for. `service` is AWS's short name, `action` as in `CopyImage`."""

    service: str
    action: str
    region: str


@dataclass(frozen=True)
class Fault:
    """A disturbance of the next `times` calls that match.

    `where` names parameters of the calls that are meant, as EC2's query protocol writes them:
    `{"InstanceType": "t3.micro"}`.

    With a `code` the call fails: before anything happens, or, with `after`, once it is done, as when an answer is
    lost on the way. `delay` is in seconds and comes first.
    """

    action: str
    region: str | None = None
    code: str | None = None
    status: int | None = None
    times: int = 1
    delay: float = 0.0
    after: bool = False
    where: Mapping[str, str] = field(default_factory=dict)

    def matches(self, call: Call, parameters: Mapping[str, str]) -> bool:
        """Whether this call is meant."""
        return (
            call.action == self.action
            and self.region in (None, call.region)
            and self.where.items() <= parameters.items()
        )


class Traffic:
    """The gate that all calls pass, from the HTTPS proxy and from the plain endpoint alike."""

    def __init__(self) -> None:
        self._notes = threading.Lock()
        self._turn = threading.RLock()
        self._counts: Counter[Call] = Counter()
        self._faults: list[Fault] = []

    def install(self) -> None:
        """Put the gate where moto dispatches a request, whatever door it came through."""
        from moto.core.responses import BaseResponse  # noqa: PLC0415  moto takes half a second to import

        dispatch = BaseResponse.call_action
        gate = self

        def call_action(response: Any) -> Any:
            return gate.answer(response, lambda: dispatch(response))

        BaseResponse.call_action = call_action  # type: ignore[method-assign, assignment]  # the one place

    def answer(self, response: Any, act: Callable[[], Any]) -> Any:
        """Answer one call, given moto's response object and what would answer it undisturbed."""
        call = Call(str(response.service_name), str(response._get_action()), str(response.region))  # noqa: SLF001
        asked = {name: str(values[0]) for name, values in response.querystring.items() if values}
        fault = self._note(call, asked)
        if fault is None:
            with self._turn:
                return act()
        time.sleep(fault.delay)
        if fault.code is None or fault.after:
            with self._turn:
                answer = act()
            if fault.code is None:
                return answer
        return _failure(response, fault)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Change what moto holds while no call is answered."""
        with self._turn:
            yield

    def inject(self, fault: Fault) -> None:
        """Disturb calls to come."""
        with self._notes:
            self._faults.append(fault)

    def heal(self) -> None:
        """Forget every fault that has not struck yet."""
        with self._notes:
            self._faults.clear()

    def counts(self) -> dict[Call, int]:
        """How often each call was made."""
        with self._notes:
            return dict(self._counts)

    def forget_counts(self) -> None:
        """Count from zero again."""
        with self._notes:
            self._counts.clear()

    def _note(self, call: Call, parameters: Mapping[str, str]) -> Fault | None:
        with self._notes:
            self._counts[call] += 1
            for place, fault in enumerate(self._faults):
                if fault.matches(call, parameters):
                    if fault.times > 1:
                        self._faults[place] = replace(fault, times=fault.times - 1)
                    else:
                        del self._faults[place]
                    return fault
        return None


def _failure(response: Any, fault: Fault) -> Any:
    from moto.core.exceptions import ServiceException  # noqa: PLC0415  see install
    from moto.core.responses import ActionResult  # noqa: PLC0415  see install

    # moto tells an error's service, and with it how to write it, from the module of its class.
    kind = type("Injected", (ServiceException,), {"__module__": f"moto.{response.service_name}.exceptions"})
    error = kind(fault.code, f"{fault.code}: injected by the sandbox")
    _, headers, body = response.serialized(ActionResult(error))
    return fault.status or _status(str(fault.code)), headers, body


def _status(code: str) -> int:
    if code in _TRY_LATER:
        return 503
    return 500 if code in _SERVER_SIDE else 400
