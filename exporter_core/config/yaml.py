"""Parses YAML into nodes that know their line and column, with limits on depth, size and aliases.

PyYAML only tokenises and parses; nothing of it constructs objects. Types are resolved by the YAML 1.2 core schema,
after environment substitution, as the OpenTelemetry configuration data model requires.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn

import yaml
from yaml import events

from exporter_core.config.nodes import Document, Node, Scalar, resolve_scalar
from exporter_core.config.substitution import describe_invalid, substitute
from exporter_core.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from yaml._yaml import Mark as CMark

MAX_DEPTH: Final = 64
"""The deepest nesting of mappings and lists."""

MAX_NODES: Final = 100_000
"""The most values in a file, those that aliases repeat counted again."""

_MOST_REFERENCES: Final = 20  # invalid ones of one scalar that are reported; no scalar has so many by mistake
_FORBIDDEN: Final = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml, where it is there, is ten times as fast
_TAG: Final = "tag:yaml.org,2002:"
_TAGGED: Final[dict[str, tuple[type, ...]]] = {
    f"{_TAG}int": (int,),
    f"{_TAG}float": (float, int),
    f"{_TAG}bool": (bool,),
    f"{_TAG}null": (type(None),),
}
_OTHER_TAGS: Final = frozenset({"binary", "merge", "omap", "pairs", "set", "timestamp", "value", "yaml"})  # YAML 1.1's
_UNDEFINED_HANDLE: Final = re.compile("found undefined tag handle .*")  # which PyYAML's own parser quotes


def parse(text: str, *, source: str, environ: Mapping[str, str], loader: type = _LOADER) -> Document:
    """Parse the text of a config file and substitute environment variables in its scalar values.

    Faults that leave the structure whole are in the document's ``problems``.

    Raises:
        ConfigError: the text has no structure to go on with; has every problem found until then.
    """
    builder = _Builder(text, source, environ)
    forbidden = _FORBIDDEN.search(text)
    if forbidden is not None:
        builder.fail(
            f"the character U+{ord(forbidden.group()):04X} is not allowed in YAML",
            _Mark.of_index(text, forbidden.start()),
        )
    try:
        return builder.document(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        message, mark = _syntax_error(error, text)
        builder.fail(message, mark)
    except yaml.YAMLError as error:
        builder.fail(f"not valid YAML: {' '.join(str(error).split())}", _Mark(0, 0, 0))


@dataclass(frozen=True, slots=True)
class _Mark:
    """A place in the text, 0-based."""

    index: int
    line: int
    column: int

    @classmethod
    def of(cls, mark: yaml.error.Mark | CMark | None) -> _Mark:
        """PyYAML's mark; the start of the file where it gives none."""
        return cls(mark.index, mark.line, mark.column) if mark is not None else cls(0, 0, 0)

    @classmethod
    def of_index(cls, text: str, index: int) -> _Mark:
        """The place of one character."""
        return cls(index, text.count("\n", 0, index), index - (text.rfind("\n", 0, index) + 1))


@dataclass(slots=True)
class _Open:
    """A list or mapping whose end has not come yet."""

    node: Node
    anchor: str | None
    key: str | None = None  # the key whose value comes next
    ignored: bool = False  # the value that comes next belongs to a key that was refused


class _Builder:
    """Makes a document from the parser's events."""

    def __init__(self, text: str, source: str, environ: Mapping[str, str]) -> None:
        self.text = text
        self.source = source
        self.environ = environ
        self.problems: list[ConfigProblem] = []
        self.stack: list[_Open] = []
        self.anchors: dict[str, Node | None] = {}  # None while the anchored value is open
        self.root: Node | None = None
        self.count = 0

    def report(self, message: str, mark: _Mark) -> None:
        """Note a problem and go on."""
        problem = ConfigProblem(message, source=self.source, line=mark.line + 1, column=mark.column + 1)
        self.problems.append(problem)

    def fail(self, message: str, mark: _Mark) -> NoReturn:
        """Note a problem and give up."""
        self.report(message, mark)
        raise ConfigError(self.problems)

    def document(self, parsed: Iterable[events.Event]) -> Document:
        """Consume all events."""
        for event in parsed:
            if isinstance(event, events.DocumentStartEvent) and self.root is not None:
                self.fail("a second YAML document starts here; a config file has one", _Mark.of(event.start_mark))
            elif isinstance(event, events.NodeEvent):
                self._count(1, _Mark.of(event.start_mark))
                self._node(event)
            elif isinstance(event, events.CollectionEndEvent):
                self._close()
        if self.root is None:
            self.fail('the file is empty; a config file begins with file_format: "1.1"', _Mark(0, 0, 0))
        return Document(self.source, self.root, self.problems)

    def _count(self, values: int, mark: _Mark) -> None:
        self.count += values
        if self.count > MAX_NODES:
            self.fail(f"more than {MAX_NODES:,} values, aliases counted as what they repeat", mark)

    def _node(self, event: events.NodeEvent) -> None:
        mark = _Mark.of(event.start_mark)
        parent = self.stack[-1] if self.stack else None
        if parent is not None and isinstance(parent.node.value, dict) and parent.key is None:
            self._key(parent, event)
        elif isinstance(event, events.AliasEvent):
            self._attach(self._aliased(event))
        elif isinstance(event, events.ScalarEvent):
            node = self._scalar(event)
            if event.anchor is not None:
                self.anchors[event.anchor] = node
            self._attach(node)
        elif isinstance(event, events.CollectionStartEvent):
            if len(self.stack) >= MAX_DEPTH:
                self.fail(f"nested deeper than {MAX_DEPTH} levels", mark)
            is_list = isinstance(event, events.SequenceStartEvent)
            if event.tag not in {None, "!", f"{_TAG}{'seq' if is_list else 'map'}"}:
                self._refuse_tag(event)
            self.stack.append(_Open(Node([] if is_list else {}, mark.line + 1, mark.column + 1), event.anchor))
            if event.anchor is not None:
                self.anchors[event.anchor] = None

    def _key(self, parent: _Open, event: events.NodeEvent) -> None:
        """Take a mapping's next key: its text as it is, never substituted."""
        mark = _Mark.of(event.start_mark)
        if not isinstance(event, events.ScalarEvent):
            self.fail("a key must be a text; a value that starts with { or [ or * needs quotes", mark)
        key = event.value
        if event.anchor is not None:
            self.anchors[event.anchor] = Node(key, mark.line + 1, mark.column + 1)
        earlier = parent.node.keys.get(key)
        parent.key, parent.ignored = key, True
        if earlier is not None:
            self.report(f"the key '{_short(key)}' was given before, in line {earlier[0]}", mark)
        elif key == "<<" and event.implicit[0]:
            self.report("merge keys (<<) are not part of YAML 1.2; write the keys out", mark)
        else:
            parent.ignored = False
            parent.node.keys[key] = (mark.line + 1, mark.column + 1)

    def _aliased(self, event: events.AliasEvent) -> Node:
        mark, name = _Mark.of(event.start_mark), str(event.anchor)
        if name not in self.anchors:
            # Its name is not quoted, nor is that of a tag below: it may be a secret that was to stand in quotes.
            self.fail("an alias (*) without its anchor (&) before it; a text that begins so has to be in quotes", mark)
        node = self.anchors[name]
        if node is None:
            self.fail("an alias (*) inside of what it repeats", mark)
        self._count(node.size, mark)
        return node

    def _attach(self, node: Node) -> None:
        """Put a complete value where it belongs."""
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        parent.node.size += node.size
        if isinstance(parent.node.value, list):
            parent.node.value.append(node)
        elif isinstance(parent.node.value, dict) and parent.key is not None:
            if not parent.ignored:
                parent.node.value[parent.key] = node
            parent.key = None

    def _close(self) -> None:
        closed = self.stack.pop()
        if closed.anchor is not None:
            self.anchors[closed.anchor] = closed.node
        self._attach(closed.node)

    def _scalar(self, event: events.ScalarEvent) -> Node:
        """A value: substituted first, then typed; quotes keep it a string."""
        start, end = _Mark.of(event.start_mark), _Mark.of(event.end_mark)
        result = substitute(event.value, self.environ)
        search_from = start.index
        for reference in result.invalid[:_MOST_REFERENCES]:
            index = self.text.find(reference, search_from, end.index)
            search_from = max(search_from, index + 1)
            self.report(describe_invalid(reference), _Mark.of_index(self.text, index) if index >= 0 else start)
        plain = event.implicit[0] and event.tag is None
        return Node(
            resolve_scalar(result.text) if plain else self._tagged(event, result.text),
            start.line + 1,
            start.column + 1,
            unset=result.unset,
            plain=plain,
            broken=bool(result.invalid),
        )

    def _tagged(self, event: events.ScalarEvent, text: str) -> Scalar:
        """The value of a scalar that has quotes or a tag."""
        if event.tag in {None, "!", f"{_TAG}str"}:
            return text
        types = _TAGGED.get(event.tag)
        if types is None:
            self._refuse_tag(event)
            return text
        value = resolve_scalar(text)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            self.report(f"the value does not fit its tag !!{event.tag.removeprefix(_TAG)}", _Mark.of(event.start_mark))
        return float(value) if float in types and isinstance(value, int) else value

    def _refuse_tag(self, event: events.ScalarEvent | events.CollectionStartEvent) -> None:
        name = str(event.tag).removeprefix(_TAG)
        message = (
            f"the tag !!{name} is not supported; remove it"
            if name in _OTHER_TAGS
            else "a tag (!) that is not supported; remove it, or put a text that begins so in quotes"
        )
        self.report(message, _Mark.of(event.start_mark))


def _syntax_error(error: yaml.MarkedYAMLError, text: str) -> tuple[str, _Mark]:
    """A plain message for what the parser found, and where."""
    mark = _Mark.of(error.problem_mark or error.context_mark)
    problem = _UNDEFINED_HANDLE.sub("found undefined tag handle", " ".join((error.problem or "").split()))
    line_start = mark.index - mark.column
    line = text[line_start:].split("\n", 1)[0]
    indentation = line[: len(line) - len(line.lstrip())]
    if "\t" in indentation and ("tab" in problem or "token" in problem):
        index = line_start + indentation.index("\t")
        return "a tab in the indentation; YAML allows spaces only", _Mark.of_index(text, index)
    parts = [f"not valid YAML: {problem}"]
    if error.context:
        parts.append(" ".join(error.context.split()))
        if error.context_mark is not None and error.context_mark.line != mark.line:
            parts[-1] += f" that starts in line {error.context_mark.line + 1}"
    if "${" in line:
        parts.append("a reference needs quotes inside of [...] and {...}")
    elif "token" in problem or "mapping values" in problem:
        parts.append("a value with special characters needs quotes")
    return "; ".join(parts), mark


def _short(text: str, limit: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[:limit]}..."
