"""Words for HCL that can't be read, taken from HashiCorp's own parser so that they are those of Packer."""

from __future__ import annotations

import re

from reconciler.desired.packer.language.outcome import Wrong
from reconciler.model.errors import Place, UserError

# `invalid HCL: tmp.hcl:2,7-3,1: Invalid expression; Expected the start of …`, further ones after a comma.
_REPORT = re.compile(r"tmp\.hcl:(\d+),(\d+)-[\d,]+: (.*?)(?=, tmp\.hcl:\d|\Z)", re.DOTALL)
# HashiCorp's parser recurses, and Go ends the whole process when its stack is full: not for us to risk.
_MAX_OPENERS = 5_000
# It looks through the rest anew from each `/*` and `$`: for 100 kB of them it took 100 s, and it can't be interrupted.
_MAX_LENGTH = 16_384


def syntax_error(text: str, error: Wrong, place: Place) -> UserError:
    """The error for a file that could not be read: the first that HashiCorp's parser reports.

    Where that one reads the file, our own is given.
    """
    # It is asked about what leads up to the mistake alone: what follows may be nested without end.
    end = text.find("\n", error.at) + 1 or len(text)
    return (None if error.too_deep else _by_pygohcl(text[:end], place.path)) or UserError(
        f"not valid HCL: {error.what}", where=place, mend="run `packer fmt` on it"
    )


def _by_pygohcl(text: str, path: str) -> UserError | None:
    if len(text) > _MAX_LENGTH or sum(map(text.count, "([{")) > _MAX_OPENERS or "\0" in text:
        return None
    import pygohcl  # noqa: PLC0415 - 15 MB of Go, wanted only when there is an error to word

    try:
        pygohcl.loads(text)
    except pygohcl.HCLParseError as error:
        report = _REPORT.search(str(error))
        if report is None:
            return UserError(f"not valid HCL: {error}", where=Place(path), mend="run `packer fmt` on it")
        title, _, rest = report[3].partition("; ")
        line, column = int(report[1]), int(report[2])
        return UserError(f"not valid HCL: {title}", where=Place(path, line, column), mend=rest or "mend the line")
    except (ValueError, pygohcl.HCLInternalError):
        return None
    return None
