"""One AWS session, and from it one client per service and region, with plain and fast readers."""

from __future__ import annotations

import gzip
import json
import os
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

from botocore.config import Config
from botocore.credentials import AssumeRoleCredentialFetcher, DeferredRefreshableCredentials
from botocore.exceptions import (
    BotoCoreError,
    CredentialRetrievalError,
    InvalidConfigError,
    NoCredentialsError,
    ParamValidationError,
)
from botocore.loaders import JSONFileLoader
from botocore.model import ListShape, OperationModel, Shape, StructureShape
from botocore.session import Session
from botocore.utils import parse_timestamp

from reconciler import __version__
from reconciler.model.declaration import AwsSettings

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_ssm import SSMClient

    from reconciler.ports.registry import Opening


# botocore's models of AWS, read as plain dicts.
#
# botocore's own reader makes an OrderedDict of each of their objects, from before dicts kept their order. EC2's model
# and the endpoints take 0.09 s of CPU so, before the first call, and 0.04 s as plain dicts (botocore 1.44).


class PlainModels(JSONFileLoader):
    """Reads the files that botocore's loader looks for, each once in a process, however many sessions ask for it."""

    def load_file(self, file_path: str) -> Any:
        """The content of `<path>.json`, or the same compressed; None where there is none. Nobody may change it."""
        return _model(file_path)


@cache
def _model(path: str) -> Any:
    plain, compressed = Path(f"{path}.json"), Path(f"{path}.json.gz")
    if plain.is_file():
        return json.loads(plain.read_bytes())
    return json.loads(gzip.decompress(compressed.read_bytes())) if compressed.is_file() else None


# Answers of DescribeImages, read by walking what is there.
#
# botocore's parser asks each image for every one of the sixty things that its model knows, and that is two thirds of
# the CPU time of listing a large fleet (0.16 ms an image, botocore 1.44). Reading only what the answer holds comes to
# the same dicts in half the time. The hook is botocore's own: S3's handlers read headers by it. Where it is not called,
# or leaves an answer alone, botocore's parser reads the whole.

_EVENT = "before-parse.ec2.DescribeImages"
_IMAGES = "imagesSet"

Read = Callable[[ET.Element], Any]


def read_listings_fast(ec2: EC2Client) -> None:
    """Let a client read the answers of DescribeImages by `_images`."""
    ec2.meta.events.register(_EVENT, _images, unique_id=_EVENT)


def _images(
    operation_model: OperationModel,
    response_dict: dict[str, Any],
    customized_response_dict: dict[str, Any],
    **_: object,
) -> None:
    """Take the images out of an answer, before botocore parses what is left of it: the next page's token, the id."""
    if response_dict["status_code"] >= 300:
        return
    try:
        root = ET.fromstring(response_dict["body"])  # noqa: S314 - AWS's answer; botocore parses it by the same call
    except ET.ParseError:
        return  # botocore says what is wrong with it
    namespace = root.tag.removesuffix("DescribeImagesResponse")
    listed = root.find(f"{namespace}{_IMAGES}")
    shape = operation_model.output_shape
    if listed is None or shape is None:
        return
    try:
        read = _reader(shape.members["Images"], namespace)
    except KeyError:
        return  # a newer botocore knows a kind of value that images did not have before
    customized_response_dict["Images"] = read(listed)
    root.remove(listed)
    response_dict["body"] = ET.tostring(root)


@cache
def _reader(shape: Shape, namespace: str) -> Read:
    """How an element of this shape becomes a value, as botocore's EC2QueryParser makes it."""
    match shape:
        case StructureShape():
            members = {
                f"{namespace}{member.serialization.get('name', name)}": (name, _reader(member, namespace))
                for name, member in shape.members.items()
            }

            def structure(element: ET.Element) -> dict[str, Any]:
                found = {}
                for child in element:
                    if child.tag in members:
                        name, read = members[child.tag]
                        # Most are text; a call for each would be a fifth of the whole.
                        found[name] = (child.text or "") if read is _text else read(child)
                return found

            return structure
        case ListShape():
            item = _reader(shape.member, namespace)
            return lambda element: [item(child) for child in element]
        case _:
            return _SCALARS[shape.type_name]


def _text(element: ET.Element) -> str:
    return element.text or ""


_SCALARS: dict[str, Read] = {
    "string": _text,
    "boolean": lambda element: element.text == "true",
    "integer": lambda element: int(element.text or ""),
    "long": lambda element: int(element.text or ""),
    "timestamp": lambda element: parse_timestamp(element.text or ""),
}


# One AWS session, and from it one client per service and region.
#
# Of botocore, which boto3 is made of: what boto3 adds (S3's transfers, resources) costs 35 ms and is not used here.

ATTEMPTS = 8
"""Tries per call, the first included, before a read counts as failed."""
_PARALLEL_CALLS = 32
"""Connections kept per region; urllib3 would drop and warn about more than 10 by default."""


class MfaCodeNeededError(CredentialRetrievalError):
    """A role wants an MFA code, and nobody is there to type it."""


def configured_attempts() -> int:
    """Tries per call: botocore's own variable AWS_MAX_ATTEMPTS where it holds a number, else ours."""
    asked = os.environ.get("AWS_MAX_ATTEMPTS", "")
    return int(asked) if asked.isdigit() and int(asked) > 0 else ATTEMPTS


class Clients:
    """The clients of one run. Cheap to make: nothing is read or imported from AWS's models until the first client.

    Clients are made under a lock, because making them is not thread-safe (using them is), and from one session,
    because the first EC2 client parses a model of megabytes (0.2 s of CPU, measured with botocore 1.44) which the
    others then share (0.015 s each).

    Endpoints (AWS_ENDPOINT_URL), proxies, certificates and credentials come from where boto3 looks for them.
    """

    def __init__(self, settings: AwsSettings, *, attempts: int = ATTEMPTS, in_ci: bool = False) -> None:
        """`in_ci` says that no person is at the terminal, if there is one."""
        self._settings = settings
        self._in_ci = in_ci
        self._config = Config(
            retries={"mode": "adaptive", "total_max_attempts": attempts},
            connect_timeout=5,
            read_timeout=60,
            max_pool_connections=_PARALLEL_CALLS,
            # So that CloudTrail tells who did it.
            user_agent_extra=f"reconciler/{__version__}",
        )
        self._lock = threading.Lock()
        self._session: Session | None = None
        self._ec2: dict[str, EC2Client] = {}
        self._ssm: dict[str, SSMClient] = {}
        self._others: dict[tuple[str, str], Any] = {}

    def sign_in(self, region: str) -> None:
        """Find credentials and assume the role, once, before threads fan out and each would fail at it.

        Raises what botocore raises: NoCredentialsError, ProfileNotFound, ClientError from AssumeRole.
        """
        with self._lock:
            session = self._opened(region)
        _sign_in(session, self._settings)

    def ec2(self, region: str) -> EC2Client:
        """The EC2 client of a region. Raises what botocore raises."""
        with self._lock:
            if region not in self._ec2:
                self._ec2[region] = self._made("ec2", region)
                read_listings_fast(self._ec2[region])
            return self._ec2[region]

    def ssm(self, region: str) -> SSMClient:
        """The SSM client of a region. Raises what botocore raises."""
        with self._lock:
            if region not in self._ssm:
                self._ssm[region] = self._made("ssm", region)
            return self._ssm[region]

    def client(self, service: str, region: str, *, config: Config) -> Any:
        """The client of another service; `config` goes before what all clients have. Raises what botocore raises."""
        with self._lock:
            if (service, region) not in self._others:
                self._others[service, region] = self._made(service, region, config)
            return self._others[service, region]

    def partition(self, region: str) -> str:
        """The partition that a region is in: `aws`, `aws-cn`. Raises what botocore raises."""
        with self._lock:
            return str(self._opened(region).get_partition_for_region(region))

    def regions(self) -> tuple[str, ...]:
        """Every region that this botocore has heard of, in all partitions; newer ones may exist."""
        with self._lock:
            session = self._session or Session()
        names = (session.get_available_regions("ec2", partition) for partition in session.get_available_partitions())
        return tuple(sorted({name for some in names for name in some}))

    def _made(self, service: str, region: str, config: Config | None = None) -> Any:
        merged = self._config if config is None else self._config.merge(config)
        with _endpoint_checked():
            return self._opened(region).create_client(service, region_name=region, config=merged)

    def _opened(self, region: str) -> Session:
        if self._session is None:
            with _credentials_told(self._settings):
                session = _open(self._settings, region=region, config=self._config, in_ci=self._in_ci)
            _sign_in(session, self._settings)
            self._session = session
        return self._session


def clients_of(opening: Opening) -> Clients:
    """The clients that a run's adapters share; without such, some of its own."""
    shared = opening.shared() if opening.shared is not None else None
    return shared if isinstance(shared, Clients) else Clients(opening.settings.aws, attempts=configured_attempts())


@contextmanager
def _endpoint_checked() -> Iterator[None]:
    # botocore lets a bad AWS_ENDPOINT_URL out as a bare ValueError, which nobody above could tell from a bug.
    try:
        yield
    except ValueError as error:
        if isinstance(error, BotoCoreError):
            raise
        raise InvalidConfigError(error_msg=str(error)) from error


def _sign_in(session: Session, settings: AwsSettings) -> None:
    with _credentials_told(settings):
        credentials = session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        credentials.get_frozen_credentials()


@contextmanager
def _credentials_told(settings: AwsSettings) -> Iterator[None]:
    # botocore lets out as they are: a token's file that can't be read (OSError, UnicodeDecodeError) or is empty, and a
    # credential_process that can't be run or prints something else (OSError, JSONDecodeError, AttributeError).
    try:
        yield
    except ParamValidationError as error:
        raise _not_read(settings, str(error.kwargs["report"])) from error
    except (OSError, ValueError, AttributeError) as error:
        if isinstance(error, BotoCoreError):
            raise
        raise _not_read(settings, str(error)) from error


def _not_read(settings: AwsSettings, why: str) -> CredentialRetrievalError:
    token = os.environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")
    # With a profile given, botocore looks at no variables.
    named = f"AWS_WEB_IDENTITY_TOKEN_FILE ({token})" if token and settings.profile is None else None
    return CredentialRetrievalError(provider=named or f"the profile {_profile(settings)}", error_msg=why)


def _profile(settings: AwsSettings) -> str:
    return settings.profile or os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE") or "default"


def _check_authorities(core: Session) -> None:
    """Read the certificates that AWS is trusted by. A missing file would look like an answer of AWS's."""
    path = core.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
    if not path:
        return
    try:
        ssl.create_default_context(cafile=path)
    except OSError as error:  # an ssl.SSLError is one
        # What a sandbox exported stays in the shell when it is stopped.
        of_sandbox = "; a sandbox that was stopped exported it: open another shell"
        hint = of_sandbox if isinstance(error, FileNotFoundError) and "HTTPS_PROXY" in os.environ else ""
        what = f"the certificates of AWS_CA_BUNDLE ({path}) can't be read: {error.strerror or error}{hint}"
        raise InvalidConfigError(error_msg=what) from error


def _ask_people_alone(core: Session, settings: AwsSettings, *, in_ci: bool) -> None:
    """Refuse where botocore would ask for the MFA code of a profile's role, unless at a terminal of a person.

    It would read from a terminal that a CI job has, and that nobody sits at, or from whatever stdin is.
    """
    if sys.stdin is not None and sys.stdin.isatty() and not in_ci:
        return

    def refuse(prompt: str) -> str:
        serial = prompt.rpartition(" for ")[2].rstrip(": ")
        why = f"its role asks for an MFA code (mfa_serial = {serial}), and there is no terminal to type one at"
        raise MfaCodeNeededError(provider=f"the profile {_profile(settings)}", error_msg=why)

    provider = core.get_component("credential_provider").get_provider("assume-role")
    provider._prompter = refuse  # noqa: SLF001 - who is asked can be given to the provider alone, which botocore makes


def _open(settings: AwsSettings, *, region: str, config: Config, in_ci: bool) -> Session:
    core = Session(profile=settings.profile)
    core.get_component("data_loader").file_loader = PlainModels()
    _check_authorities(core)
    _ask_people_alone(core, settings, in_ci=in_ci)
    if settings.role is None:
        return core
    source = core.get_credentials()
    if source is None:
        raise NoCredentialsError
    fetcher = AssumeRoleCredentialFetcher(
        # A regional STS: tokens of the global one are not valid in opt-in regions.
        client_creator=partial(core.create_client, region_name=region, config=config),
        source_credentials=source,
        role_arn=settings.role,
        extra_args={"RoleSessionName": "reconciler"},
    )
    # A session of its own: the role is renewed from whichever thread signs next, and that makes an STS client from
    # `core` while another thread may be making an EC2 client.
    assumed = Session(profile=settings.profile)
    # Renewed by botocore before they expire: a run may outlast the hour that a role's credentials live. The session
    # has a public setter only for credentials that never change.
    renewed = DeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method="assume-role")
    assumed._credentials = renewed  # type: ignore[attr-defined] # noqa: SLF001 - see above
    return assumed
