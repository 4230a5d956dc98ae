"""Words for HCL that can't be read, taken from HashiCorp's own parser so that they are those of Packer."""

from __future__ import annotations

import re

from tree_sitter import Node

from reconciler.model.errors import Place, UserError

# `invalid HCL: tmp.hcl:2,7-3,1: Invalid expression; Expected the start of …`, further ones after a comma.
_REPORT = re.compile(r"tmp\.hcl:(\d+),(\d+)-[\d,]+: (.*?)(?=, tmp\.hcl:\d|\Z)", re.DOTALL)
# HashiCorp's parser recurses, and Go ends the whole process when its stack is full: not for us to risk.
_MAX_OPENERS = 5_000


def syntax_error(text: str, root: Node, path: str) -> UserError:
    """The error for a file that tree-sitter could not read: the first that HashiCorp's parser reports.

    Where that one reads the file, tree-sitter's own position is given.
    """
    return _by_pygohcl(text, path) or _by_tree_sitter(text, root, path)


def _by_pygohcl(text: str, path: str) -> UserError | None:
    if sum(text.count(opener) for opener in "([{") > _MAX_OPENERS or "\0" in text:
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


def _by_tree_sitter(text: str, root: Node, path: str) -> UserError:
    """The first node, in order of the file, that is an error or stands for something missing."""
    waiting = [root]
    found = root
    while waiting:
        node = waiting.pop()
        if node.is_error or node.is_missing:
            found = node
            break
        waiting.extend(child for child in reversed(node.children) if child.has_error or child.is_missing)
    row, column = found.start_point
    lines = text.encode().split(b"\n")
    characters = len(lines[row][:column].decode(errors="replace")) if row < len(lines) else column
    what = f"{found.type} is missing" if found.is_missing else "something here can't be read"
    return UserError(
        f"not valid HCL: {what}", where=Place(path, row + 1, characters + 1), mend="run `packer fmt` on it"
    )
