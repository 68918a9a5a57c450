"""Values of a config file with their line and column; the YAML 1.2 core schema, which gives scalars their types."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter_core.errors import ConfigProblem

Scalar: TypeAlias = "str | int | float | bool | None"
Data: TypeAlias = "Scalar | list[Data] | dict[str, Data]"

_INTEGER: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL_OR_HEXADECIMAL: Final = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITY: Final = re.compile(r"[-+]?\.(?:inf|Inf|INF)")
_NAMED: Final[dict[str, Scalar]] = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"], None),
    **dict.fromkeys(["true", "True", "TRUE"], True),
    **dict.fromkeys(["false", "False", "FALSE"], False),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], float("nan")),
}


def resolve_scalar(text: str) -> Scalar:
    """Return a plain scalar's value by the YAML 1.2 core schema (section 10.3.2): ``yes`` and ``1:30`` are strings."""
    if text in _NAMED:
        return _NAMED[text]
    try:
        if _INTEGER.fullmatch(text):
            return int(text)
        if _OCTAL_OR_HEXADECIMAL.fullmatch(text):
            return int(text, 0)
    except ValueError:  # more digits than Python converts
        return text
    if _FLOAT.fullmatch(text) or _INFINITY.fullmatch(text):
        return float(text[:-3].replace(".", "") + text[-3:] if text[-1] in "fF" else text)
    return text


@dataclass(slots=True)
class Node:
    """One value and where it starts (1-based).

    Args:
        value: what stands there; lists and mappings hold nodes.
        line: the line of its first character.
        column: the column of its first character.
        keys: line and column of each key of a mapping.
        size: the number of its values, itself and those that aliases repeat included.
        unset: the environment variables that were replaced by nothing in it.
        plain: True for a scalar without quotes.
        broken: True if it has a problem already, so that its value means nothing.
    """

    value: Scalar | list[Node] | dict[str, Node]
    line: int
    column: int
    keys: dict[str, tuple[int, int]] = field(default_factory=dict)
    size: int = 1
    unset: tuple[str, ...] = ()
    plain: bool = False
    broken: bool = False

    def data(self) -> Data:
        """Return the value as plain Python objects."""
        if isinstance(self.value, list):
            return [item.data() for item in self.value]
        if isinstance(self.value, dict):
            return {key: item.data() for key, item in self.value.items()}
        return self.value


@dataclass(slots=True)
class Document:
    """A parsed config file.

    Args:
        source: the file's name.
        root: its value.
        problems: those found so far.
    """

    source: str
    root: Node
    problems: list[ConfigProblem] = field(default_factory=list)

    def find(self, path: Sequence[str | int]) -> Node | None:
        """Return the node that a path leads to, None when there is none."""
        nodes = self._along(path)
        return nodes[-1] if len(nodes) == len(path) + 1 else None

    def position(self, path: Sequence[str | int], *, of_key: bool = False) -> tuple[int, int]:
        """Return line and column of a path: of a scalar itself, else of the key or item that holds the value.

        A path that leads nowhere gives the position of the nearest value around it.

        Args:
            path: keys and positions from the root.
            of_key: point at the last key of the path, also when its value is a scalar.
        """
        nodes = self._along(path)
        node = nodes[-1]
        key = nodes[-2].keys.get(str(path[len(nodes) - 2])) if len(nodes) > 1 else None
        is_written = not isinstance(node.value, list | dict) and (node.value is not None or bool(node.unset))
        is_whole = len(nodes) == len(path) + 1
        if key is None or (is_whole and is_written and not of_key):
            return node.line, node.column
        return key

    def _along(self, path: Sequence[str | int]) -> list[Node]:
        """Return the nodes along a path, from the root as far as there are any."""
        nodes = [self.root]
        for part in path:
            inside = _child(nodes[-1], part)
            if inside is None:
                break
            nodes.append(inside)
        return nodes


def _child(node: Node, part: str | int) -> Node | None:
    if isinstance(node.value, dict):
        return node.value.get(str(part))
    if isinstance(node.value, list) and isinstance(part, int) and 0 <= part < len(node.value):
        return node.value[part]
    return None
