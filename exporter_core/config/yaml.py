"""Parses YAML into nodes that know their line and column, with limits on depth, size and aliases.

PyYAML only tokenises and parses; nothing of it constructs objects. Types are resolved by the YAML 1.2 core schema,
after environment substitution, as the OpenTelemetry configuration data model requires.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

import yaml
from yaml import events

from exporter_core.config.nodes import Document, Node, Scalar, resolve_scalar
from exporter_core.config.substitution import describe_invalid, substitute
from exporter_core.errors import ConfigError, ConfigProblem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_Position: TypeAlias = tuple[int, int]  # line and column, 1-based
_START: Final[_Position] = (1, 1)

MAX_DEPTH: Final = 64
"""The deepest nesting of mappings and lists."""

MAX_NODES: Final = 100_000
"""The most values in a file, those that aliases repeat counted again."""

_MOST_REFERENCES: Final = 20  # invalid ones of one scalar that are reported; no scalar has so many by mistake
# All that YAML does not allow; the set of all that it allows would take milliseconds to compile, in each process.
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ud800-\udfff\ufeff\ufffe\uffff]")
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
    parser = _Parser(text, source, environ)
    forbidden = _FORBIDDEN.search(text)
    if forbidden is not None:
        message = f"the character U+{ord(forbidden.group()):04X} is not allowed in YAML"
        parser.fail(message, _position(text, forbidden.start()))
    try:
        return parser.document(yaml.parse(text, Loader=loader))
    except yaml.MarkedYAMLError as error:
        parser.fail(*_syntax_error(error, text))
    except yaml.YAMLError as error:
        parser.fail(f"not valid YAML: {' '.join(str(error).split())}", _START)


class _Parser:
    """Makes a document of the events that PyYAML's parser gives, one value inside another."""

    def __init__(self, text: str, source: str, environ: Mapping[str, str]) -> None:
        self.text = text
        self.source = source
        self.environ = environ
        self.problems: list[ConfigProblem] = []
        self.anchors: dict[str, Node | None] = {}  # None while the anchored value is open
        self.events: Iterator[Any] = iter(())  # Any: events, whose order says of what kind each is
        self.count = 0

    def report(self, message: str, position: _Position) -> None:
        """Note a problem and go on."""
        line, column = position
        self.problems.append(ConfigProblem(message, source=self.source, line=line, column=column))

    def fail(self, message: str, position: _Position) -> NoReturn:
        """Note a problem and give up."""
        self.report(message, position)
        raise ConfigError(self.problems)

    def document(self, parsed: Iterator[events.Event]) -> Document:
        """Consume all events."""
        self.events = parsed
        root = None
        for event in parsed:
            if isinstance(event, events.DocumentStartEvent) and root is not None:
                self.fail("a second YAML document starts here; a config file has one", _start_of(event))
            elif isinstance(event, events.NodeEvent):
                root = self._value(event, 0)
        if root is None:
            self.fail('the file is empty; a config file begins with file_format: "1.1"', _START)
        return Document(self.source, root, self.problems)

    def _count(self, values: int, event: events.Event) -> None:
        self.count += values
        if self.count > MAX_NODES:
            self.fail(f"more than {MAX_NODES:,} values, aliases counted as what they repeat", _start_of(event))

    def _value(self, event: Any, depth: int) -> Node:  # Any: see above
        """Return the value that begins with this event, inside so many lists and mappings."""
        self._count(1, event)
        if isinstance(event, events.AliasEvent):
            return self._aliased(event)
        if event.anchor is not None:
            self.anchors[event.anchor] = None
        node = self._scalar(event) if isinstance(event, events.ScalarEvent) else self._collection(event, depth)
        if event.anchor is not None:
            self.anchors[event.anchor] = node
        return node

    def _collection(self, event: events.CollectionStartEvent, depth: int) -> Node:
        if depth >= MAX_DEPTH:
            self.fail(f"nested deeper than {MAX_DEPTH} levels", _start_of(event))
        items: list[Node] = []
        mapping: dict[str, Node] = {}
        is_list = isinstance(event, events.SequenceStartEvent)
        if event.tag not in {None, "!", f"{_TAG}{'seq' if is_list else 'map'}"}:
            self._refuse_tag(event)
        node = Node(items if is_list else mapping, *_start_of(event))
        for inner in iter(self._next, None):
            if is_list:
                value = self._value(inner, depth + 1)
                items.append(value)
            else:
                key = self._key(inner, node)
                value = self._value(next(self.events), depth + 1)
                if key is not None:
                    mapping[key] = value
            node.size += value.size
        return node

    def _next(self) -> Any:  # Any: see above
        """Return the next event of a list or mapping; None at its end."""
        event = next(self.events)
        return None if isinstance(event, events.CollectionEndEvent) else event

    def _key(self, event: events.Event, mapping: Node) -> str | None:
        """Return a mapping's next key: its text as it is, never substituted; None for one that is refused."""
        self._count(1, event)
        position = _start_of(event)
        if not isinstance(event, events.ScalarEvent):
            self.fail("a key must be a text; a value that starts with { or [ or * needs quotes", position)
        key = str(event.value)
        if event.anchor is not None:
            self.anchors[event.anchor] = Node(key, *position)
        earlier = mapping.keys.get(key)
        if earlier is not None:
            self.report(f"the key '{_short(key)}' was given before, in line {earlier[0]}", position)
        elif key == "<<" and event.implicit[0]:
            self.report("merge keys (<<) are not part of YAML 1.2; write the keys out", position)
        else:
            mapping.keys[key] = position
            return key
        return None

    def _aliased(self, event: events.AliasEvent) -> Node:
        name = str(event.anchor)
        if name not in self.anchors:
            # Neither its name nor that of a tag below is quoted: it may be a secret that lacks its quotes.
            message = "an alias (*) without its anchor (&) before it; put a text that begins with * in quotes"
            self.fail(message, _start_of(event))
        node = self.anchors[name]
        if node is None:
            self.fail("an alias (*) inside of what it repeats", _start_of(event))
        self._count(node.size, event)
        return node

    def _scalar(self, event: events.ScalarEvent) -> Node:
        """Return a value: substituted first, then typed; quotes keep it a string."""
        start = _start_of(event)
        result = substitute(event.value, self.environ)
        search_from = event.start_mark.index if event.start_mark else 0
        end = event.end_mark.index if event.end_mark else None
        for reference in result.invalid[:_MOST_REFERENCES]:
            index = self.text.find(reference, search_from, end)
            search_from = max(search_from, index + 1)
            self.report(describe_invalid(reference), _position(self.text, index) if index >= 0 else start)
        plain = event.implicit[0] and event.tag is None
        value = resolve_scalar(result.text) if plain else self._tagged(event, result.text)
        return Node(value, *start, unset=result.unset, plain=plain, broken=bool(result.invalid))

    def _tagged(self, event: events.ScalarEvent, text: str) -> Scalar:
        """Return the value of a scalar that has quotes or a tag."""
        if event.tag in {None, "!", f"{_TAG}str"}:
            return text
        types = _TAGGED.get(event.tag)
        if types is None:
            self._refuse_tag(event)
            return text
        value = resolve_scalar(text)
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            self.report(f"the value does not fit its tag !!{event.tag.removeprefix(_TAG)}", _start_of(event))
        return float(value) if float in types and isinstance(value, int) else value

    def _refuse_tag(self, event: events.ScalarEvent | events.CollectionStartEvent) -> None:
        name = str(event.tag).removeprefix(_TAG)
        message = "a tag (!) that is not supported; remove it, or put a text that begins with ! in quotes"
        if name in _OTHER_TAGS:
            message = f"the tag !!{name} is not supported; remove it"
        self.report(message, _start_of(event))


def _start_of(event: events.Event) -> _Position:
    mark = event.start_mark
    return _START if mark is None else (mark.line + 1, mark.column + 1)


def _position(text: str, index: int) -> _Position:
    """Return the position of one character."""
    return text.count("\n", 0, index) + 1, index - text.rfind("\n", 0, index)


def _syntax_error(error: yaml.MarkedYAMLError, text: str) -> tuple[str, _Position]:
    """Return a plain message for what the parser found, and its position."""
    mark = error.problem_mark or error.context_mark
    index, number, column = (mark.index, mark.line, mark.column) if mark is not None else (0, 0, 0)
    problem = _UNDEFINED_HANDLE.sub("found undefined tag handle", " ".join((error.problem or "").split()))
    line_start = index - column
    line = text[line_start:].split("\n", 1)[0]
    indentation = line[: len(line) - len(line.lstrip())]
    if "\t" in indentation and ("tab" in problem or "token" in problem):
        return "a tab in the indentation; YAML allows spaces only", (number + 1, indentation.index("\t") + 1)
    parts = [f"not valid YAML: {problem}"]
    if error.context:
        parts.append(" ".join(error.context.split()))
        if error.context_mark is not None and error.context_mark.line != number:
            parts[-1] += f" that starts in line {error.context_mark.line + 1}"
    if "${" in line:
        parts.append("a reference needs quotes inside of [...] and {...}")
    elif "unexpected ':'" in problem:
        parts.append("inside of [...] and {...}, put a space after a key's colon")
    elif "token" in problem or "mapping values" in problem:
        parts.append("a value with special characters needs quotes")
    return "; ".join(parts), (number + 1, column + 1)


def _short(text: str, limit: int = 60) -> str:
    text = " ".join(text.split())
    return text if len(text) <= limit else f"{text[:limit]}..."
