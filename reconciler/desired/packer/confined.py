"""Templates that can't name a file outside of the folders that their paths begin at, told from their text alone.

That is a hundredth of the work of reading them, and enough for most: the files of an image stand in its folder.
"""

from __future__ import annotations

import re

# What a path needs to lead up, or to another place in the repository: two dots in a row, written so or put together
# of a text that ends with one (there a quote, `${`, `%{` or an escape follows) and one that begins with one; a dot
# written as a code; a verb that cuts a text; or `<`, which begins heredocs, whose texts end without a quote, and
# CHECKOUT.
_MAY_LEAD_OUT = re.compile(rb"""\.\.|\.["'$%\\]|\\[uU]|<|%[^a-zA-Z"]*\.""")
_CALL = re.compile(rb"([A-Za-z_][A-Za-z0-9_]*)[ \t]*\(")
# The time of the build is not known, and neither is what is made of it: the most common name of an image.
_OF_THE_BUILD = re.compile(rb"(?:regex_)?replace\([ \t]*timestamp\([ \t]*\)")
_KEEPS_TEXTS_WHOLE = frozenset(
    b"""
    abs abspath alltrue anytrue basename bool can ceil chunklist cidrhost cidrnetmask cidrsubnet cidrsubnets
    coalesce coalescelist compact concat contains convert distinct element endswith env filebase64 fileexists
    flatten floor format formatdate formatlist indent isotime join keys legacy_isotime length list lookup lower
    map max md5 merge min number object optional parseint pow range reverse set setintersection setproduct
    setunion sha1 sha256 sha512 signum slice sort startswith strcontains string sum timeadd timestamp title try
    tuple upper uuidv4 uuidv5 values zipmap
    """.split()
)
"""Functions, and words of types, that make no text but of whole ones. Others may join two dots that were apart, go up
as `dirname` does, or read a path from a file."""
# What reads other files than those that it names: playbooks, scripts that run here, templates of texts, and blocks of
# which only the evaluated template tells what they are. And the regions of copies, which `regions` has not.
_MAY_DRAW_ON_MORE = re.compile(
    rb"ansible|shell-local|templatefile|dynamic|external|mount_commands|command_wrapper|ami_regions"
)


def is_confined(content: bytes, path: str) -> bool:
    """Whether every path in a file of HCL leads to somewhere below the folder that it begins at.

    False means only that it is not known without reading the file; JSON always has to be read.
    """
    if path.endswith(".json") or _MAY_LEAD_OUT.search(content) is not None:
        return False
    calls = _CALL.findall(_OF_THE_BUILD.sub(b"timestamp(", content))
    return _KEEPS_TEXTS_WHOLE.issuperset(calls)


def names_all(content: bytes) -> bool:
    """Whether a file of HCL itself names all that is read: no file that it names can name another one.

    False means only that it is not known without reading those files.
    """
    return _MAY_DRAW_ON_MORE.search(content) is None


def is_confined_value(value: object) -> bool:
    """The same of a variable's value that was given outside of the template."""
    return _MAY_LEAD_OUT.search(f'"{value}"'.encode()) is None
