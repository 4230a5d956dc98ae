"""Templates that can't name a file outside of the folders that their paths begin at, told from their text alone.

That is a hundredth of the work of reading them, and enough for most: the files of an image stand in its folder.
"""

from __future__ import annotations

import re

# What a path needs to lead up, or to another place in the repository: two dots in a row, written so or put together
# of a text that ends with one (there a quote, `${`, `%{` or an escape follows) and one that begins with one; a dot
# written as a code; `dirname`, the one function that `evaluate` knows and that goes up; or `<`, which begins heredocs,
# whose texts end without a quote, and CHECKOUT.
_MAY_LEAD_OUT = re.compile(rb'\.\.|\.["$%\\]|\\[uU]|dirname|<')
# What reads other files than those that it names: playbooks, scripts that run here, templates of texts, and blocks of
# which only the evaluated template tells what they are. And the regions of copies, which `regions` has not.
_MAY_DRAW_ON_MORE = re.compile(
    rb"ansible|shell-local|templatefile|dynamic|external|mount_commands|command_wrapper|ami_regions"
)


def is_confined(content: bytes, path: str) -> bool:
    """Whether every path in a file of HCL leads to somewhere below the folder that it begins at.

    False means only that it is not known without reading the file; JSON always has to be read.
    """
    return not path.endswith(".json") and _MAY_LEAD_OUT.search(content) is None


def names_all(content: bytes) -> bool:
    """Whether a file of HCL itself names all that is read: no file that it names can name another one.

    False means only that it is not known without reading those files.
    """
    return _MAY_DRAW_ON_MORE.search(content) is None


def is_confined_value(value: object) -> bool:
    """The same of a variable's value that was given outside of the template."""
    return _MAY_LEAD_OUT.search(f'"{value}"'.encode()) is None
