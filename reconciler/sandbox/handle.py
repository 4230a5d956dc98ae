"""A running sandbox, as its users hold it: what to export, and the levers of its control endpoint."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from reconciler.model.errors import UserError

REGIONS = ("us-east-1", "us-west-2", "eu-west-1", "ap-southeast-1")
_STOP_SECONDS = 20
# Straight to loopback, whatever proxy the caller's environment names.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox.

    `environment` is what a client exports to be inside; `endpoint` is for those that want AWS_ENDPOINT_URL instead.
    Both hold the sandbox's token: whoever has it may be root of this machine.
    """

    directory: Path
    pid: int
    environment: dict[str, str] = field(repr=False)
    endpoint: str = field(repr=False)
    control: str
    token: str = field(repr=False)
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False, compare=False)

    def publish(
        self,
        name: str,
        *,
        creation_date: datetime | None = None,
        run: str | None = None,
        regions: Sequence[str] = REGIONS,
    ) -> dict[str, str]:
        """Publish an upstream image in every region; return its id in each of `regions`.

        The name says who publishes it (`debian-12-amd64-…`). Its SSM parameter follows, if it is the newest.
        `creation_date` defaults to six in the morning, UTC, of the date in the name. `run` is a shell command that root
        runs in the image before it is published: what upstream changed.

        Raises:
            UserError: nobody publishes under such a name, it is taken, or the command fails.
        """
        created = creation_date.isoformat() if creation_date else None
        answer: dict[str, str] = self._pull(
            "/publish", {"name": name, "creation_date": created, "run": run, "regions": list(regions)}
        )
        return answer

    def inject(
        self,
        *,
        action: str,
        region: str | None = None,
        code: str | None = None,
        status: int | None = None,
        times: int = 1,
        delay: float = 0.0,
        after: bool = False,
        where: Mapping[str, str] | None = None,
    ) -> None:
        """Disturb the next `times` calls of `action`: fail with `code`, or come `delay` seconds late, or both.

        With `after` the call takes effect, and only its answer is the error. With `where` only calls with these
        parameters are meant: there is no room for `{"InstanceType": "t3.micro"}`, or in `{"SubnetId": "subnet-…"}`.
        """
        self._pull(
            "/inject",
            {
                "action": action,
                "region": region,
                "code": code,
                "status": status,
                "times": times,
                "delay": delay,
                "after": after,
                "where": dict(where or {}),
            },
        )

    def heal(self) -> None:
        """Forget every fault that has not struck yet."""
        self._pull("/heal")

    def kill(self, instance_id: str) -> None:
        """Let a running instance die, as when its hardware fails: its connections end, and EC2 has it terminated.

        Raises:
            UserError: no such instance runs.
        """
        self._pull("/kill", {"instance": instance_id})

    def change_host_key(self, instance_id: str) -> None:
        """End a running instance's connections, and show those to come another host key, as an impostor would.

        Raises:
            UserError: no such instance runs.
        """
        self._pull("/change-host-key", {"instance": instance_id})

    def enforce_iam(self, *, enforced: bool = True) -> None:
        """Ask IAM about every call: only keys that IAM made are let in, and only to what their policies allow.

        The keys in `environment` are none of these. So make users first; `enforced=False` lets everybody in again.
        """
        self._pull("/iam", {"enforced": enforced})

    def calls(self) -> dict[tuple[str, str, str], int]:
        """How often each (service, action, region) was called since the start, or since `forget_calls`."""
        counts: list[Any] = self._pull("/calls")
        return {(call["service"], call["action"], call["region"]): count for call, count in counts}

    def forget_calls(self) -> None:
        """Count calls from zero again."""
        self._pull("/forget-calls")

    def layers(self, image_id: str) -> tuple[str, ...]:
        """The names of an image's file layers, oldest first; none if there is no such image."""
        return tuple(self._pull("/layers", {"image": image_id}))

    def stop(self) -> None:
        """End the sandbox and all that runs in it; return when it is gone. A gone one is no error.

        Raises:
            UserError: it does not end.
        """
        try:
            watch = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            signal.pidfd_send_signal(watch, signal.SIGTERM)
            if self.process is not None:
                self.process.wait(timeout=_STOP_SECONDS)
            else:
                _wait(watch)
        except (subprocess.TimeoutExpired, TimeoutError) as error:
            raise UserError(
                f"the sandbox (process {self.pid}) does not end", mend=f"kill -9 {self.pid}: it leaves nothing behind"
            ) from error
        except ProcessLookupError:
            return
        finally:
            os.close(watch)

    def _pull(self, lever: str, asked: dict[str, object] | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310  our own loopback URL
            f"{self.control}{lever}",
            data=json.dumps(asked or {}).encode(),
            headers={"Authorization": f"Bearer {self.token}"},
        )
        try:
            with _opener.open(request) as answer:
                return json.load(answer)
        except HTTPError as error:
            with error:
                if error.code != HTTPStatus.BAD_REQUEST:
                    raise
                told = json.load(error)
            raise UserError(told["what"], mend=told["mend"]) from error


def _wait(watch: int) -> None:
    ready, _, _ = select.select([watch], [], [], _STOP_SECONDS)
    if not ready:
        raise TimeoutError
