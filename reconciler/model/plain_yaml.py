"""YAML that is not ours, such as a CI's configuration, as plain values: read in a time that its length bounds.

PyYAML's own loader puts what `<<` merges in its place: mappings that each merge the one before ten times come to ten
times as much a line. And a number such as `1:1:1` (YAML 1.1, to the base of 60) takes the square of its length.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import yaml

MOST_BYTES = 512 * 1024
"""What is larger was not written by hand."""
_MOST_MERGED = 20_000
"""Entries that the merges of a document come to, all together."""
_LONGEST_NUMBER = 100
_DEEPEST = 60
"""Levels that stand in each other, as of all that is read here."""


class _InPython(yaml.reader.Reader, yaml.scanner.Scanner, yaml.parser.Parser):
    """What reads the events of a text where PyYAML was built without libyaml."""

    def __init__(self, stream: str) -> None:
        yaml.reader.Reader.__init__(self, stream)
        yaml.scanner.Scanner.__init__(self)
        yaml.parser.Parser.__init__(self)


# The parser in C reads five times as fast. What composes, and bounds that, is Python's.
_Parser: Any = _InPython
if yaml.__with_libyaml__:
    _Parser = yaml.cyaml.CParser  # type: ignore[attr-defined]  # its stubs leave it out


class _Loader(yaml.composer.Composer, yaml.constructor.SafeConstructor, yaml.resolver.Resolver, _Parser):  # type: ignore[misc]  # which parser it is, the build of PyYAML says
    """The safe loader, with bounds. Raises ConstructorError where they are passed."""

    def __init__(self, stream: str) -> None:
        _Parser.__init__(self, stream)
        yaml.composer.Composer.__init__(self)
        yaml.constructor.SafeConstructor.__init__(self)
        yaml.resolver.Resolver.__init__(self)
        self._merged = self._depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise yaml.composer.ComposerError(None, None, "it is nested too deep", self.peek_event().start_mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        merges = any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value)
        super().flatten_mapping(node)
        if merges:
            self._merged += len(node.value)
        if self._merged > _MOST_MERGED:
            raise yaml.constructor.ConstructorError(None, None, "its merges (<<) come to too much", node.start_mark)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> Any:
        return node.value if len(node.value) > _LONGEST_NUMBER else super().construct_yaml_int(node)

    def construct_yaml_float(self, node: yaml.ScalarNode) -> Any:
        return node.value if len(node.value) > _LONGEST_NUMBER else super().construct_yaml_float(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.construct_yaml_float)


def load_yaml(text: str) -> Any:
    """The document in a text, in lists, mappings and plain values. An alias is the very value that it leads to.

    Raises ValueError for what is no YAML, is nested too deep, is longer than `MOST_BYTES` characters, or merges too
    much: what is wrong, and where.
    """
    with _loading(text) as loader:
        return loader.get_single_data()


def load_documents(text: str) -> list[Any]:
    """Every document in a text, as `load_yaml` has one, with the same bounds for all of them. Raises what that does."""
    found = []
    with _loading(text) as loader:
        while loader.check_data():
            found.append(loader.get_data())
    return found


@contextmanager
def _loading(text: str) -> Iterator[Any]:
    if len(text) > MOST_BYTES:
        raise ValueError(f"it has more than {MOST_BYTES:,} characters")
    try:
        loader = _Loader(text)
        yield loader
    except yaml.YAMLError as error:
        raise ValueError(str(error).splitlines()[0]) from error
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
