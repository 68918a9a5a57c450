"""``Findings``: the problems and warnings of one config, with their positions in the file."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from exporter_core.errors import ConfigError, ConfigProblem
from exporter_core.validation import UnknownKeyProblem, shown_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from exporter_core.config.nodes import Document, Node


class Findings:
    """Problems and warnings about a file (with positions) or a mapping (with paths).

    Args:
        document: the parsed file, None for a mapping.
    """

    def __init__(self, document: Document | None) -> None:
        self.document = document
        self.cause: BaseException | None = None
        """The error that a plugin raised, for its traceback."""
        self._problems: list[ConfigProblem] = list(document.problems) if document else []
        self._warnings: list[ConfigProblem] = []

    def error(self, message: str, path: Sequence[str | int], *, of_key: bool = False, bare: bool = False) -> None:
        """Note an error about the value at a path, or about the path's last key.

        A ``bare`` message names its subject itself: it gets the path in front only where there is no file. Several
        lines are joined to one.
        """
        message = "; ".join(" ".join(line.split()) for line in message.splitlines()).replace(":; ", ": ")
        if path and not (bare and self.document):
            message = f"{shown_path(path)}: {message}"
        self._problems.append(self.located(message, path, of_key=of_key))

    def warn(self, message: str, path: Sequence[str | int]) -> None:
        """Note a warning about the last key of a path, whose message follows the path."""
        self._warnings.append(self.located(f"{shown_path(path)}{message}", path, of_key=True))

    def note(self, message: str, path: Sequence[str | int]) -> None:
        """Note a warning about the value at a path, as it stands."""
        self._warnings.append(self.located(message, path, of_key=False))

    def warn_of_option(self, exporter: str, prefix: Sequence[str | int], key: str, text: str) -> None:
        """Note a warning about the value of an exporter's option, ``key``, under the path of its options."""
        path = (*prefix, *key.split("."))
        message = f"exporter '{exporter}': {key}: {text}" if self.document else f"{shown_path(path)}: {text}"
        self._warnings.append(self.located(message, path, of_key=False))

    def warn_of_unset(self, keys: Iterable[str]) -> None:
        """Warn about each value under these top-level keys that lost text with an unset environment variable."""
        if self.document is None:
            return
        seen: set[int] = set()  # an alias repeats a value
        places: list[tuple[tuple[str | int, ...], Node]] = [((), self.document.root)]
        while places:
            path, node = places.pop()
            if id(node) in seen or (len(path) == 1 and str(path[0]) not in keys):
                continue
            seen.add(id(node))
            if isinstance(node.value, dict):
                places += [((*path, key), value) for key, value in node.value.items()]
            elif isinstance(node.value, list):
                places += [((*path, number), value) for number, value in enumerate(node.value)]
            elif node.unset:
                one = len(node.unset) == 1
                names = " and ".join(node.unset)
                variables = f"the environment variable{'' if one else 's'} {names} {'is' if one else 'are'} not set"
                effect = "so the value is empty" if node.value in {None, ""} else "and replaced by nothing"
                message = f"{shown_path(path)}: {variables}, {effect}; ${{{node.unset[0]}:-default}} gives a default"
                self._warnings.append(self.located(message, path, of_key=False))

    def ignored(self, path: Sequence[str | int], reason: str) -> None:
        """Warn that the last key of a path has no effect."""
        self.warn(f" is ignored: {reason}", path)

    def add(self, problems: Sequence[ConfigProblem], *, exporter: str = "", prefix: Sequence[str | int] = ()) -> None:
        """Take the problems of a validation, and add hints that only the file can give.

        Args:
            problems: with paths from the root.
            exporter: the exporter whose options they are about; its name is put in front of the messages.
            prefix: the path of that exporter's options.
        """
        for problem in problems:
            node = self.document.find(problem.path) if self.document else None
            if node is not None and node.broken:
                continue
            message = problem.message
            if exporter:
                message = f"exporter '{exporter}': {message}" if self.document else f"{shown_path(prefix)}: {message}"
            if re.search(r"(periodic|pull)\.exporter: expected a mapping, not a string$", message):
                message += "; write the exporter's name as a key, such as 'console:'"
            unknown_key = isinstance(problem, UnknownKeyProblem)
            if node is not None and not unknown_key:
                if node.unset and node.value in {None, ""}:
                    message += f"; the environment variable {' and '.join(node.unset)} is not set"
                elif node.plain and isinstance(node.value, bool | int | float) and _wants_quotes(message):
                    message += "; put quotes around it"
            self._problems.append(self.located(message, problem.path, of_key=unknown_key))

    def place(self, path: Sequence[str | int]) -> str | None:
        """Return ``FILE:LINE:COLUMN`` of the last key of a path; None for a mapping."""
        return str(self.located("", path, of_key=True)).removesuffix(": ") if self.document else None

    def raise_problems(self) -> None:
        """Raise the problems, in file order.

        Raises:
            ConfigError: there is a problem.
        """
        if self._problems:
            raise ConfigError(sorted(self._problems, key=_order)) from self.cause

    @property
    def warnings(self) -> tuple[ConfigProblem, ...]:
        """The warnings, in file order."""
        return tuple(sorted(self._warnings, key=_order))

    def located(self, message: str, path: Sequence[str | int], *, of_key: bool) -> ConfigProblem:
        """Return a problem with the position of the value at a path, or of the path's last key."""
        if self.document is None:
            return ConfigProblem(message, path=path)
        line, column = self.document.position(path, of_key=of_key)
        return ConfigProblem(message, source=self.document.source, line=line, column=column, path=path)


def _wants_quotes(message: str) -> bool:
    return "put quotes" not in message and re.search(r"expected (?:'|(?:.* or )?a string)", message) is not None


def _order(problem: ConfigProblem) -> tuple[int, int]:
    return problem.line or 0, problem.column or 0
