"""Which values are secret in a build, and taking them out of text before anybody sees it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

import pygohcl

from reconciler.build.encoded import Encoded, Rests, Span, broken, encoded, merged
from reconciler.build.output import escape, unescape
from reconciler.build.packer.versions import MASKED
from reconciler.model.fleet import Image, Template

# Which values are secret in a build: sensitive variables, wherever their values come from, and credentials.

# Names of variables whose values are credentials: AWS_SECRET_ACCESS_KEY, CIRCLE_TOKEN, DB_PASSWORD, and at their end
# MYSQL_PWD, SSHPASS, BINDPW, REDISCLI_AUTH. PWD alone is the folder that one is in.
_CREDENTIAL = re.compile(
    r"SECRET|TOKEN|PASSWORD|PASSWD|PASSPHRASE|PRIVATE_KEY|API_?KEY|CREDENTIAL"
    r"|(?:_PWD|PASS|PW|(?:_|^)(?:AUTH|PAT|JWT|CREDS?|PSK|COOKIE)|(?:ACCESS|ACCOUNT|STORAGE|ENCRYPTION|SIGNING)_?KEY)$",
    re.IGNORECASE,
)
_WHERE_IT_IS = re.compile(r"_(?:FILE|PATH|URI|URL|ENDPOINT|TTL|ARN)$", re.IGNORECASE)
_LONG_ENOUGH = 8
"""A credential's name is a guess: `USE_TOKEN=true` must not blacken every `true`."""

_READ_HERE = 16_384
"""Characters of a var file that are read in this process: HashiCorp's parser may take minutes, and hears no signal."""
_READ_SECONDS = 30
_READ_THERE = "import json, pygohcl, sys; print(json.dumps(pygohcl.attributes_loads(sys.stdin.read())))"

_ENV_IN_DEFAULT = re.compile(r"\benv[\s(]+[`\"']([A-Za-z_][A-Za-z0-9_]*)[`\"']")


def secret_values(
    image: Image, environment: Mapping[str, str], *, var_files: Iterable[Path], export: Path
) -> frozenset[str]:
    """Every value that must not be shown. `export` is the root of the checkout that is built.

    What a template takes from Vault, Consul or a data source inside of Packer is not known here; it is caught only
    if it has the shape of a secret (`reconciler.build.secrets`).
    """
    sensitive = {name for name, variable in image.template.variables.items() if variable.sensitive}
    values = set(_credentials(environment))
    if sensitive:
        values.update(_from_declaration(image, sensitive))
        values.update(_from_template(image.template, sensitive, environment))
        for path in (*var_files, *_automatic_var_files(image.template, export)):
            values.update(_from_var_file(path, sensitive))
    return frozenset(value for value in values if value.strip())


def _credentials(environment: Mapping[str, str]) -> Iterator[str]:
    for name, value in environment.items():
        if len(value) >= _LONG_ENOUGH and _CREDENTIAL.search(name) and not _WHERE_IT_IS.search(name):
            yield value


def _from_declaration(image: Image, sensitive: set[str]) -> Iterator[str]:
    for name, value in image.declaration.packer.variables.items():
        if name in sensitive:
            yield from _texts(value)


def _from_template(template: Template, sensitive: set[str], environment: Mapping[str, str]) -> Iterator[str]:
    for name in sensitive:
        yield environment.get(f"PKR_VAR_{name}", "")
        default = template.variables[name].default
        yield from _texts(default)
        for used in _ENV_IN_DEFAULT.findall(str(default)):
            yield environment.get(used, "")


def _automatic_var_files(template: Template, export: Path) -> Iterator[Path]:
    """The var-files that Packer reads unasked: those named so in the folder of an HCL2 template."""
    folder = (export / template.files[0]).parent
    for pattern in ("*.auto.pkrvars.hcl", "*.auto.pkrvars.json"):
        yield from sorted(folder.glob(pattern))


def _from_var_file(path: Path, sensitive: set[str]) -> Iterator[str]:
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        values = json.loads(text) if path.suffix == ".json" else _attributes(text)
    except (ValueError, RecursionError, pygohcl.HCLParseError, pygohcl.HCLInternalError, pygohcl.UnknownFunctionError):
        # Packer will say what is wrong with the file, quoting lines of it: all that is quoted there counts as secret.
        yield from re.findall(r'"((?:[^"\\]|\\.)*)"', text)
        if "<<" in text:
            yield from text.splitlines()
        return
    if isinstance(values, dict):
        for name in sensitive & values.keys():
            yield from _texts(values[name])


def _attributes(text: str) -> object:
    """What an HCL var file sets. Raises ValueError or what pygohcl raises."""
    if len(text) <= _READ_HERE:
        return pygohcl.attributes_loads(text)
    try:
        ran = subprocess.run(
            [sys.executable, "-P", "-c", _READ_THERE],
            env={"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUTF8": "1"},
            input=text.encode("utf-8", "replace"),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_READ_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ValueError("it takes too long to read") from error
    return json.loads(ran.stdout)


def _texts(value: object) -> Iterator[str]:
    """The strings and numbers inside of a value. True and false are no secrets."""
    if isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for one in value:
            yield from _texts(one)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


# Takes secrets out of text before anybody sees it or it is kept. Packer masks some of them; its word for one is told as
# ours, so that a log reads the same whichever Packer it is of.

REDACTED = "<redacted>"

SHORT = 4
"""A secret with fewer characters is replaced only where it stands alone, between blanks, quotes or `=`.

`us` inside of `us-east-1` must stay, though Packer's own masking replaces it there, which ruins ids.
"""

LONGEST_SHOWN = 1 << 16
"""Characters of a line that are shown or logged. A template's script may print a file of any size as one line."""

# A key of AWS has 40 characters, its session tokens some hundreds.
_LONGEST_SHAPE = 1000
_GO_JSON = str.maketrans({char: f"\\u{ord(char):04x}" for char in "<>&"})
# As Packer's shell provisioner quotes variables, and as `set -x` does.
_QUOTES_IN_SHELL = ("'\"'\"'", "'\\''")
_HEX = re.compile("%[0-9A-F]{2}")
_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----")
_PEM = re.compile(rf"{_PEM_BEGIN.pattern}.*?(?:{_PEM_END.pattern}|\Z)", re.DOTALL)
# An RSA key of 16384 bits has about 200 lines. After more than this an end is not expected any more.
_PEM_LINES = 400

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    # scheme://user:password@host. Not from the scheme's beginning: in a line of 100 kB without a blank, looking for one
    # at every letter took 20 s.
    (re.compile(r"(?<=[A-Za-z0-9+.-]://)[^\s/@'\"]+@"), f"{REDACTED}@"),
    # The same where the password keeps a slash. A colon before a port and a path is none before a password.
    (re.compile(r"(?<=[A-Za-z0-9+.-]://)[^\s/@'\":]{0,200}:(?![0-9]{1,5}(?:/|\Z))[^\s@'\"]{1,300}@"), f"{REDACTED}@"),
    # aws_secret_access_key = …, "SecretAccessKey": "…", AWS_SESSION_TOKEN=…
    (
        re.compile(
            r"(?i)\b((?:aws_?)?(?:secret_?access_?key|secret_?key|session_?token|security_?token)['\"]?\s*[=:]\s*['\"]?)"
            r"[A-Za-z0-9/+=]{16,}"
        ),
        rf"\1{REDACTED}",
    ),
    # An access key id with its secret beside it, as in a credentials report: the secrets have 40 characters.
    (re.compile(r"\b((?:AKIA|ASIA)[A-Z0-9]{16}[\s,:;|]+)[A-Za-z0-9/+]{40}(?![A-Za-z0-9/+])"), rf"\1{REDACTED}"),
    (re.compile(r"(?i)\b(authorization['\"]?\s*[:=]\s*['\"]?(?:bearer|basic|token)\s+)[^\s'\"]+"), rf"\1{REDACTED}"),
    # A JSON Web Token: three parts in base64, of which the first two are JSON objects.
    (re.compile(r"(?<![A-Za-z0-9_.-])eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{2,}\.[A-Za-z0-9_-]*"), REDACTED),
    (re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}|CCIPAT_[A-Za-z0-9_]{20,})"), REDACTED),
)


@dataclass(frozen=True)
class Redactor:
    """Replaces the secrets it was made with, and whatever has the shape of one, by `<redacted>`."""

    secrets: re.Pattern[str] | None
    longest: int = _LONGEST_SHAPE
    """How many characters a secret may have."""
    encoded: Encoded = field(default_factory=lambda: Encoded((), ()))

    def __call__(self, text: str) -> str:
        """The text without secrets. Applying it twice changes nothing more."""
        text = _replaced(text, merged(self.known(text)))
        text = _PEM.sub(REDACTED, text).replace(MASKED, REDACTED)
        for shape, replacement in _SHAPES:
            text = shape.sub(replacement, text)
        return text

    def known(self, text: str) -> list[Span]:
        """Where one of the secrets that it was made with stands in the text, as it is or encoded."""
        if self.secrets is None:
            return []
        return [*(match.span() for match in self.secrets.finditer(text)), *self.encoded.spans(text)]

    def shortened(self, text: str, *, left_out: int = 0) -> str:
        """A text of a length that can be kept, saying what is missing; it is yet to be redacted.

        `left_out` characters at its end are missing already. Where it ends no half of a secret is left, which nobody
        would know for one.
        """
        if not left_out and len(text) <= LONGEST_SHOWN:
            return text
        end = max(min(LONGEST_SHOWN, len(text) - self.longest), 0)
        near = text[: end + self.longest]
        while (start := self._straddling(near, end)) is not None:
            end = start
        return f"{text[:end]} … ({left_out + len(text) - end} more characters)"

    def _straddling(self, text: str, end: int) -> int | None:
        """Where a secret begins that goes on after `end`; None if there is none."""
        plain = (match.span() for pattern in self._patterns() for match in pattern.finditer(text))
        spans = (*plain, *self.encoded.spans(text))
        return next((start for start, behind in spans if start < end < behind), None)

    def _patterns(self) -> Iterator[re.Pattern[str]]:
        if self.secrets is not None:
            yield self.secrets
        yield _PEM
        yield from (shape for shape, _ in _SHAPES)


def redactor(secrets: Iterable[str]) -> Redactor:
    r"""A redactor for these values. Each line of a value counts by itself, for scripts print keys line by line.

    So does what a `\n` or `\r` in a value sets apart: in Packer's output it can't be told from the end of a line.
    """
    wholes: set[str] = set()
    texts: set[str] = set()
    alone: set[str] = set()
    for secret in secrets:
        read_back = unescape(secret)
        set_apart = {part for part in (read_back, *read_back.splitlines()) if len(part.strip()) >= SHORT}
        for part in {secret, *secret.splitlines(), *set_apart}:
            stripped = part.strip()
            if len(stripped) >= SHORT:
                wholes |= _spellings(stripped)
                texts.add(stripped)
            elif stripped:
                alone.add(stripped)
    # Longest first, so that a secret that begins with another one is replaced whole.
    patterns = [re.escape(text) for text in sorted(wholes, key=lambda text: (-len(text), text))]
    if alone:
        either = "|".join(re.escape(text) for text in sorted(alone, key=lambda text: (-len(text), text)))
        patterns.append(rf"(?<![^\s\"'=]){'(?:' + either + ')'}(?![^\s\"',;])")
    # In JSON a byte may take six characters.
    longest = max((_LONGEST_SHAPE, *map(len, wholes), *(6 * len(text.encode("utf-8", "replace")) for text in texts)))
    spelled = (form for text in texts for form in _spellings_in_text(text))
    return Redactor(re.compile("|".join(patterns)) if patterns else None, longest, encoded(texts, spelled=spelled))


def _replaced(text: str, spans: Iterable[Span]) -> str:
    """The text with each span of it replaced. They come in order."""
    parts, at = [], 0
    for start, end in spans:
        parts += [text[at:start], REDACTED]
        at = end
    return "".join([*parts, text[at:]])


def _spellings(secret: str) -> set[str]:
    """A secret as it may stand in output, and what Packer's machine-readable output makes of each such spelling.

    Packer's own log, which PACKER_LOG turns on, holds those lines as they are.
    """
    spellings = _spellings_in_text(secret)
    return spellings | set(map(escape, spellings))


def _spellings_in_text(secret: str) -> set[str]:
    r"""A secret as it stands, and as it looks in JSON, in a shell's quotes and in a URL.

    Go writes `<`, `>` and `&` in JSON as `\u003c` and so on. In a URL's path a blank is `%20`; in a form, and by HCL's
    `urlencode`, it is `+`. The digits may be of either case.
    """
    raw = secret.encode("utf-8", "surrogateescape")
    in_urls = {quote(raw, safe=""), quote_plus(raw)}
    in_json = {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    return {
        secret,
        *in_json,
        *(text.translate(_GO_JSON) for text in in_json),
        *(secret.replace("'", quoted) for quoted in _QUOTES_IN_SHELL),
        *in_urls,
        *(_HEX.sub(lambda code: code[0].lower(), url) for url in in_urls),
    }


class LineRedactor:
    """Redacts output that comes line by line: a private key is seen as such although its lines come one at a time.

    So is a secret whose base64, or which itself, was broken into lines.

    The lines of builds that run at once are mixed, and so are those that a script prints on stdout and on stderr: each
    stream is followed by itself.
    """

    def __init__(self, redact: Redactor) -> None:
        self._redact = redact
        self._inside: dict[str, int] = {}
        self._broken = broken(redact.encoded)
        self._expected: dict[str, Rests] = {}

    def __call__(self, line: str, *, stream: str = "", known: Iterable[Span] = ()) -> str:
        """One line without secrets.

        `stream` is any name of what it is a line of; `known` is where secrets stand that go on in other lines.
        """
        left = self._inside.get(stream, 0)
        if left:
            end = _PEM_END.search(line)
            self._inside[stream] = 0 if end else left - 1
            return REDACTED + self._without(line[end.end() :], stream) if end else REDACTED
        begins = list(_PEM_BEGIN.finditer(line))
        if begins and _PEM_END.search(line, begins[-1].end()) is None:
            self._inside[stream] = _PEM_LINES
        return self._without(line, stream, known)

    def _without(self, line: str, stream: str, known: Iterable[Span] = ()) -> str:
        return self._redact(_replaced(line, merged((*known, *self._redact.known(line), *self._parts(line, stream)))))

    def _parts(self, line: str, stream: str) -> Iterator[Span]:
        """Where parts of secrets stand. A CR sets apart what is printed as the end of a line does."""
        start = 0
        for text in line.split("\r"):
            if text:
                spans, self._expected[stream] = self._broken.spans(text, self._expected.get(stream, frozenset()))
                yield from ((start + first, start + behind) for first, behind in spans)
            start += len(text) + 1
