"""A vCenter that one signs in to: calls bounded in time, and what its faults mean here.

Faults are as in the vSphere Web Services API reference (vim.fault, vmodl.fault). One that stands in no rule is
Terminal: an error nobody knows is not one to retry.
"""

from __future__ import annotations

import shlex
import ssl
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from http.client import HTTPException
from importlib import import_module
from typing import Any, TypeVar
from xml.parsers.expat import ExpatError, ParserCreate

from reconciler.model.errors import NoCredentials, ReconcilerError, Terminal, Transient, UserError
from reconciler.model.text import cut, one_line
from reconciler.registries.allowance import Allowance, Tls, UsedUp
from reconciler.registries.vsphere.wire import CALL, Connection, in_time

try:
    _library: Any = import_module("pyVmomi")
except ImportError as missing:
    raise UserError(
        "images in a vCenter need the Python package pyvmomi, which is not installed",
        hint=(
            "install reconciler anew with its extra `vsphere` (docs/installing.md)",
            f"or add it to what there is: {shlex.quote(sys.executable)} -m pip install pyvmomi",
        ),
    ) from missing

vim: Any = _library.vim
vmodl: Any = _library.vmodl

Answer = TypeVar("Answer")

USER, PASSWORD, INSECURE = "VSPHERE_USER", "VSPHERE_PASSWORD", "VSPHERE_INSECURE"
SERVER = "VSPHERE_SERVER"
"""Which vCenters the credentials are for, with blanks or commas between; without it, all that are declared."""
PORT = 443
_TASK = 3600
"""Seconds for which a task is waited for: a clone copies the disks."""
_QUESTION = 3 * _TASK
"""The same of all that is asked, and waited for, in one question: a copy is two tasks."""
_CLEANING = 300
"""The same of one that removes what a run made."""
_LEAVING = 5
"""Seconds that a vCenter is given to end a session."""
_LOOK = 0.5
"""Seconds between two looks at a task."""
_API = "vim.version.v7_0"
"""What is spoken: that of vCenter 7.0, which all later ones speak. When a machine was made is told since 6.7."""
_LONGEST = 200

_LOST = (OSError, HTTPException, ExpatError)
"""What a call raises where no vCenter answers, or what answers is none."""
_ODD = (AttributeError, LookupError, TypeError, ValueError)
"""What is raised over an answer in which something is missing, or of another type than it is to be."""


def _parser(*given: Any, **named: Any) -> Any:
    """A parser of answers: one with a document type is none, as SOAP has it ("SOAP 1.1", section 3).

    In one a few bytes can be declared to be gigabytes, as expat takes up to a hundred times as much as it is sent.
    """
    parser = ParserCreate(*given, **named)
    parser.StartDoctypeDeclHandler = _refuse_doctype
    return parser


def _refuse_doctype(*declared: Any) -> None:
    del declared
    raise ExpatError("an answer that declares a document type")


vars(import_module(_library.SoapStubAdapter.__module__))["ParserCreate"] = _parser  # it offers no other way to it


class VCenter:
    """One vCenter, signed in to when it is first asked. Its methods may be called from several threads."""

    def __init__(self, host: str, environment: Mapping[str, str], cancelled: threading.Event) -> None:
        """`host` may end in a port. `environment` has the credentials, and `cancelled` ends waits."""
        self.host, self._environment, self._cancelled = host, environment, cancelled
        self._lock = threading.Lock()
        self._content: Any = None

    def ask(self, doing: str, question: Callable[[Any], Answer]) -> Answer:
        """What a question finds in the vCenter's content, asked anew where the session had ended meanwhile.

        `doing` says what is tried. Raises as `Registry` says.
        """
        with self._translated(doing), Allowance(_QUESTION, what=doing).holds():
            content = self._signed_in()
            try:
                return question(content)
            except vim.fault.NotAuthenticated:
                return question(self._signed_in(instead_of=content))

    def wait(self, task: Any, *, cleaning_up: bool = False) -> Any:
        """What a task made, once it is through. Raises its fault, and Transient after an hour or when cancelled.

        What cleans up is waited for whether cancelled or not, and for some minutes at most.
        """
        most = _CLEANING if cleaning_up else _TASK
        deadline = time.monotonic() + most
        while (state := task.info.state) in ("queued", "running"):
            if time.monotonic() > deadline:
                raise Transient(f"{self.host}: {task.info.descriptionId} is not through after {most // 60} minutes")
            if cleaning_up:
                time.sleep(_LOOK)
            elif self._cancelled.wait(_LOOK):
                raise Transient(f"{self.host}: {task.info.descriptionId} was not waited for")
        if state == "error":
            raise task.info.error
        return task.info.result

    def _signed_in(self, *, instead_of: Any = None) -> Any:
        """The content of a session: another one than that which ended."""
        with self._lock:
            if self._content is None or self._content is instead_of:
                self._content = None
                self._content = self._sign_in()
            return self._content

    def _sign_in(self) -> Any:
        user, password = credentials(self._environment, self.host)
        name, _, port = self.host.partition(":")
        stub = _Stub(
            name, int(port or PORT), version=_API, sslContext=trust(self._environment), httpConnectionTimeout=CALL,
            path="/sdk", acceptCompressedResponses=False,
        )  # fmt: skip
        ends_with(self, partial(_sign_out, stub))
        content = vim.ServiceInstance("ServiceInstance", stub).RetrieveContent()
        content.sessionManager.Login(user, password, None)
        return content

    @contextmanager
    def _translated(self, doing: str) -> Iterator[None]:
        try:
            yield
        except (vmodl.MethodFault, *_LOST) as error:
            raise meaning(error, f"{self.host}: {doing}") from error
        except _ODD as error:
            raise meaning(HTTPException(str(error)), f"{self.host}: {doing}") from error


class _Stub(_library.SoapStubAdapter):  # type: ignore[misc]  # pyvmomi has no types
    """Whoever calls a vCenter's methods: each call is bounded as a whole, and what can't be read is no vCenter's."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.scheme = Connection

    def InvokeMethod(self, *given: Any, **named: Any) -> Any:  # noqa: N802 - pyvmomi's name
        """See `SoapStubAdapter`."""
        with in_time():
            try:
                return super().InvokeMethod(*given, **named)
            except (vmodl.MethodFault, *_LOST):
                raise
            except Exception as error:  # whatever pyvmomi stumbles over: it has no error of its own for that
                raise HTTPException(f"an answer that can't be read ({type(error).__name__})") from error


class VCenters:
    """The vCenters of a fleet by their host, each signed in to once. It may be used from several threads."""

    def __init__(self, environment: Mapping[str, str], cancelled: threading.Event) -> None:
        """`environment` has the credentials, and `cancelled` ends waits."""
        self._environment, self._cancelled = environment, cancelled
        self._lock = threading.Lock()
        self._of_host: dict[str, VCenter] = {}

    def of(self, host: str) -> VCenter:
        """The one of a host, which may end in a port."""
        with self._lock:
            return self._of_host.setdefault(host, VCenter(host, self._environment, self._cancelled))


Meaning = Callable[[Exception, str], ReconcilerError]


def credentials(environment: Mapping[str, str], host: str) -> tuple[str, str]:
    """The user and the password to sign in to a vCenter with. Raises NoCredentials where there are none.

    A host is what a branch declares: whoever says for which vCenter they are keeps them from all others.
    """
    meant = environment.get(SERVER, "").replace(",", " ").split()
    if meant and _one_spelling(host) not in map(_one_spelling, meant):
        raise NoCredentials(
            f"there is nothing to sign in to {host} with: the credentials are those of {' and '.join(meant)}",
            hint=f"if {host} is to have them too, name it in {SERVER}",
        )
    user, password = (environment.get(name, "") for name in (USER, PASSWORD))
    if not user or not password:
        raise NoCredentials(
            f"there is nothing to sign in to {host} with",
            hint=f"set {USER} and {PASSWORD}, or have the CI job set them",
        )
    return user, password


def _one_spelling(host: str) -> str:
    return host.lower().removesuffix(f":{PORT}")


def trust(environment: Mapping[str, str]) -> ssl.SSLContext:
    """The certificates that are taken: any, where somebody asks for that."""
    context = ssl.create_default_context()
    context.sslsocket_class = Tls
    if environment.get(INSECURE, "").lower() in ("1", "true"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def ends_with(owner: object, sign_out: Callable[[], None]) -> None:
    """Have a session ended when its owner goes, which may be in any thread, in the middle of anything.

    It has a thread of its own: whoever lets the owner go must not wait for a vCenter that is gone, and is not to find
    what OpenSSL keeps, for each thread, of a connection that broke (seen with Python 3.13 and OpenSSL 3.5: the next
    connection's answer was taken for broken too).
    """
    weakref.finalize(owner, _beside, sign_out)


def _beside(sign_out: Callable[[], None]) -> None:
    leaving = threading.Thread(target=sign_out, daemon=True)
    with suppress(RuntimeError):  # the interpreter is ending, and starts none
        leaving.start()
        leaving.join(_LEAVING)


def _sign_out(stub: Any) -> None:
    """End a session: a vCenter else keeps it for half an hour, and holds a few hundred of them at most."""
    with suppress(vmodl.MethodFault, *_LOST, *_ODD):
        vim.ServiceInstance("ServiceInstance", stub).RetrieveContent().sessionManager.Logout()
    stub.DropConnections()


def meaning(error: Exception, doing: str) -> ReconcilerError:
    """What an error of pyvmomi, or of what it stands on, is here."""
    said = cut(one_line(getattr(error, "msg", None) or str(error)), _LONGEST) or "no message"
    name = type(error).__name__.rpartition(".")[2]
    kind, what, hint = _rule(error)
    return kind(f"{doing}: {what or f'{said} ({name})'}", hint=hint)


def _rule(error: Any) -> tuple[type[ReconcilerError], str, str]:
    """Its class here, what is said of it (its own message where that is empty), and what to do."""
    found: tuple[type[ReconcilerError], str, str] = (Terminal, "", "")
    match error:
        case vim.fault.NotAuthenticated():  # a NoPermission, too
            found = Transient, "the session ended, and so did the next one", ""
        case vim.fault.NoPermission():
            lacks = f"not allowed: {error.privilegeId or 'no privilege is named'}"
            found = Terminal, lacks, f"give it to the role of {USER}; docs/kinds.md says what each is for"
        case vim.fault.InvalidLogin():
            found = Terminal, "the credentials are not accepted", f"check {USER} and {PASSWORD}"
        case vim.fault.DuplicateName():
            found = Terminal, f"the name {error.name} is taken", "rename or remove what has it"
        case vim.fault.InsufficientResourcesFault() | vim.fault.NoDiskSpace():
            found = Transient, "", "make room where it is to be"
        case vmodl.fault.ManagedObjectNotFound() | vmodl.fault.SystemError() | vmodl.fault.HostCommunication():
            found = Transient, "", ""
        case ssl.SSLCertVerificationError():
            mend = f"have this machine trust who signed it (SSL_CERT_FILE), or set {INSECURE}=true"
            found = Terminal, "its certificate is not trusted", mend
        case ExpatError() | HTTPException():
            found = Transient, "what answered is no vCenter", "check the host's name and port"
        case OSError():
            why = f"it can't be reached ({error.strerror or error or type(error).__name__})"
            found = Transient, str(error) if isinstance(error, UsedUp) else why, ""
    return found
