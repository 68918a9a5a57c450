"""The values of a config file with their line and column; the YAML 1.2 core schema, which gives scalars their types."""

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
    """The value of a plain scalar by the YAML 1.2 core schema (section 10.3.2): ``yes`` and ``1:30`` are strings."""
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
        size: how many values it has, itself and those that aliases repeat included.
        unset: the environment variables that were replaced by nothing in it.
        plain: whether it is a scalar without quotes.
        broken: whether a problem was reported for it already, so that its value means nothing.
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
        """The value as plain Python objects."""
        if isinstance(self.value, list):
            return [item.data() for item in self.value]
        if isinstance(self.value, dict):
            return {key: item.data() for key, item in self.value.items()}
        return self.value

    @property
    def is_visible(self) -> bool:
        """Whether it is a scalar with a text of its own to point at."""
        return not isinstance(self.value, list | dict) and not (self.value is None and not self.unset)


@dataclass(slots=True)
class Document:
    """A parsed config file.

    Args:
        source: the file's name.
        root: its value.
        problems: what is wrong with it so far.
    """

    source: str
    root: Node
    problems: list[ConfigProblem] = field(default_factory=list)

    def find(self, path: Sequence[str | int]) -> Node | None:
        """The node that a path leads to, None when there is none."""
        node = self.root
        for part in path:
            inside = _child(node, part)
            if inside is None:
                return None
            node = inside
        return node

    def position(self, path: Sequence[str | int], *, of_key: bool = False) -> tuple[int, int]:
        """Line and column of a path: of a scalar where it is written, else of the key or item that holds the value.

        A path that leads nowhere gives the position of the nearest value around it.

        Args:
            path: keys and positions from the root.
            of_key: point at the last key of the path, also when its value is a scalar.
        """
        node, place = self.root, (self.root.line, self.root.column)
        for number, part in enumerate(path, start=1):
            inside = _child(node, part)
            if inside is None:
                break
            last = number == len(path)
            if part in node.keys and not (last and inside.is_visible and not of_key):
                place = node.keys[str(part)]
            else:
                place = (inside.line, inside.column)
            node = inside
        return place


def _child(node: Node, part: str | int) -> Node | None:
    if isinstance(node.value, dict):
        return node.value.get(str(part))
    if isinstance(node.value, list) and isinstance(part, int) and 0 <= part < len(node.value):
        return node.value[part]
    return None
