"""A vCenter's REST interface, where its content libraries are: signed in to with the same credentials as the other.

Paths are those below `/rest`, which vCenter has had since 6.5 (vSphere Automation API reference, `com.vmware.content`).
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPException
from typing import Any

from reconciler.model.errors import Terminal, Transient
from reconciler.model.json_text import json_object
from reconciler.model.text import cut, one_line
from reconciler.registries.vsphere.session import PORT, Meaning, credentials, trust
from reconciler.registries.vsphere.wire import CALL, Connection, in_time

_SESSION = "com/vmware/cis/session"
_HEADER = "vmware-api-session-id"
_MOST = 4 << 20
"""Bytes of an answer."""
_LONGEST = 200
_TOKEN = re.compile(r"[!-~]{1,4096}")
"""A session's token: it goes with each request, in a header."""
_ENDED, _REFUSED, _ABSENT, _FIRST_OF_SERVERS = 401, 403, 404, 500
_BUSY = 429
_TAKEN = "already_exists"


class Rest:
    """One vCenter, signed in to when it is first asked. Its methods may be called from several threads."""

    def __init__(self, host: str, environment: Mapping[str, str], meaning: Meaning) -> None:
        """`host` may end in a port. `environment` has the credentials; `meaning` words what goes wrong below HTTP."""
        self._host, self._environment, self._meaning = host, environment, meaning
        self._lock = threading.Lock()
        self._session = ""

    def ask(self, doing: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The `value` of an answer; None where there is nothing under a path.

        `doing` says what is tried. Raises as `Registry` says.
        """
        with self._translated(doing):
            session = self._signed_in()
            status, answer = self._call(method, path, body, {_HEADER: session})
            if status == _ENDED:
                status, answer = self._call(method, path, body, {_HEADER: self._signed_in(instead_of=session)})
        if status == _ABSENT:
            return None
        if status >= 300:
            raise self._refusal(status, answer, doing)
        return answer.get("value")

    def sign_out(self) -> None:
        """End the session: a vCenter else keeps it for five minutes, and holds a few hundred of them at most."""
        if self._session:
            with suppress(OSError, HTTPException):
                self._call("DELETE", _SESSION, None, {_HEADER: self._session})

    def _signed_in(self, *, instead_of: str = "") -> str:
        with self._lock:
            if self._session in ("", instead_of):
                user, password = credentials(self._environment, self._host)
                known = base64.b64encode(f"{user}:{password}".encode()).decode()
                status, answer = self._call("POST", _SESSION, {}, {"Authorization": f"Basic {known}"})
                told = str(answer.get("value") or "") if status < 300 else ""
                self._session = told if _TOKEN.fullmatch(told) else ""
                if not self._session:
                    raise self._refusal(status, answer, f"signing in to {self._host}")
            return self._session

    def _call(
        self, method: str, path: str, body: Mapping[str, Any] | None, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, Any]]:  # fmt: skip
        name, _, port = self._host.partition(":")
        connection = Connection(name, int(port or PORT), timeout=CALL, context=trust(self._environment))
        try:
            content = json.dumps(body).encode() if body is not None else None
            sent = {"Accept": "application/json", "Content-Type": "application/json", **headers}
            with in_time():
                connection.request(method, f"/rest/{path}", body=content, headers=sent)
                answer = connection.getresponse()
                read = answer.read(_MOST + 1)
        finally:
            connection.close()
        if answer.length or len(read) > _MOST:
            raise HTTPException("an answer that breaks off, or is longer than any of a vCenter")
        found = json_object(read)
        if answer.status < 300 and not found and read.strip() not in (b"", b"{}"):
            raise HTTPException("an answer that is no object")  # what is not understood is not taken for nothing
        return answer.status, found

    def _refusal(self, status: int, answer: Mapping[str, Any], doing: str) -> Terminal | Transient:
        what = f"{self._host}: {doing}"
        kind = str(answer.get("type") or "").rpartition(".")[2]
        said = cut(one_line(_message(answer) or kind), _LONGEST)
        if status == _ENDED:
            return Terminal(f"{what}: the credentials are not accepted", hint="check VSPHERE_USER and VSPHERE_PASSWORD")
        if status == _REFUSED:
            return Terminal(f"{what}: not allowed: {said or 'no privilege is named'}", hint="docs/kinds.md says which")
        if status >= _FIRST_OF_SERVERS or status == _BUSY:
            return Transient(f"{what}: {said or f'it answers {status}'}")
        if kind == _TAKEN:
            return Terminal(f"{what}: the name is taken", hint="rename or remove what has it")
        return Terminal(f"{what}: {said or f'it answers {status}'}")

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (OSError, HTTPException) as error:
            raise self._meaning(error, f"{self._host}: {doing}") from error


def _message(answer: Mapping[str, Any]) -> str:
    """The first message of an error, in English as a vCenter has it."""
    value = answer.get("value")
    messages = value.get("messages") if isinstance(value, dict) else None
    first = messages[0] if isinstance(messages, list) and messages else None
    return str(first.get("default_message") or "") if isinstance(first, dict) else ""
