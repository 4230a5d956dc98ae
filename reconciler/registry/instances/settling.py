"""Patience with what was made a moment ago: EC2 may not know it yet (EC2 developer guide, "Eventual consistency")."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeVar

from botocore.exceptions import ClientError
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from reconciler.registry.clock import Clock
from reconciler.registry.errors import code_of

_TRIES = 5
"""With a pause of 1, 2, 4 and 8 seconds between them."""

_Result = TypeVar("_Result")


def settled(act: Callable[[], _Result], *, not_yet: Collection[str], clock: Clock) -> _Result:
    """Do something that needs what is new. The codes in `not_yet` are believed only after five tries."""

    def too_early(error: BaseException) -> bool:
        return isinstance(error, ClientError) and code_of(error) in not_yet

    return Retrying(
        retry=retry_if_exception(too_early),
        wait=wait_exponential(max=8),
        stop=stop_after_attempt(_TRIES),
        sleep=clock.sleep,
        reraise=True,
    )(act)
