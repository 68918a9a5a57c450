import os
import stat
import threading
from pathlib import Path

import pytest
import yaml
from hypothesis import given, strategies as st

from exporter_core.config import load_config
from exporter_core.config.files import MAX_BYTES, read_text
from exporter_core.config.yaml import MAX_DEPTH, MAX_NODES, parse
from exporter_core.errors import ConfigError

LOADERS = [yaml.SafeLoader, *([yaml.CSafeLoader] if yaml.__with_libyaml__ else [])]


@pytest.fixture(params=LOADERS, ids=lambda loader: loader.__name__)
def loader(request: pytest.FixtureRequest) -> type:
    return request.param


def fault(text: str, loader: type) -> str:
    """The only problem of a text, as ``LINE:COLUMN: message``."""
    try:
        document = parse(text, source="f", environ={}, loader=loader)
    except ConfigError as error:
        (problem,) = error.problems
    else:
        (problem,) = document.problems
    line = str(problem)
    assert "\n" not in line
    return line.removeprefix("f:")


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("", "1:1", "the file is empty"),
        ("# nothing\n\n", "1:1", "the file is empty"),
        ("a:\n\tb: 1\n", "2:1", "a tab in the indentation; YAML allows spaces only"),
        ("\ta: 1\n", "1:1", "a tab in the indentation"),
        ("a:\n  b: 1\n \t c: 1\n", "3:2", "a tab in the indentation"),
        ("a: b: c\n", "1:5", "mapping values are not allowed"),
        ('a: "x\nb: 1\n', "3:1", "while scanning a quoted scalar that starts in line 1"),
        ("a: [1, 2\nb: 3\n", "2:2", "while parsing a flow sequence that starts in line 1"),
        ("a: @x\n", "1:4", "needs quotes"),
        ("{a: ${X}}", "1:6", "a reference needs quotes inside of [...] and {...}"),
        ("- a\nb: c\n", "2:1", "not valid YAML"),
        ("%YAML 3.0\n---\na: 1\n", "1:1", "incompatible YAML document"),
        ("a: *x\n", "1:4", "an alias (*) without its anchor (&) before it; put a text that begins with * in quotes"),
        ("a: &x [*x]\n", "1:8", "an alias (*) inside of what it repeats"),
        ("a: 1\n--- \nb: 1\n", "2:1", "a second YAML document starts here"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "4:3", "the key 'c' was given before, in line 3"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "3:3", "merge keys (<<) are not part of YAML 1.2"),
        ("[a]: 1\n", "1:1", "a key must be a text"),
        ("{a: 1}: 1\n", "1:1", "a key must be a text"),
        ("a: !!python/object/apply:os.system [x]\n", "1:4", "a tag (!) that is not supported; remove it"),
        ("a: !!binary aGk=\n", "1:4", "the tag !!binary is not supported"),
        (
            "a: !mine x\n",
            "1:4",
            "a tag (!) that is not supported; remove it, or put a text that begins with ! in quotes",
        ),
        ("a: !!int x\n", "1:4", "the value does not fit its tag !!int"),
        ("a: !!int true\n", "1:4", "the value does not fit its tag !!int"),
        ("a: 1\nb: \x07\n", "2:4", "the character U+0007 is not allowed in YAML"),
        ("a: x\ufeff\n", "1:5", "the character U+FEFF is not allowed in YAML"),
    ],
)
def test_every_fault_of_the_text_is_one_line_with_its_position(
    text: str, position: str, message: str, loader: type
) -> None:
    found = fault(text, loader)
    assert found.startswith(f"{position}: "), found
    assert message in found


@pytest.mark.skipif(not yaml.__with_libyaml__, reason="this PyYAML has no libyaml")
def test_a_colon_that_libyaml_wants_a_space_after_is_explained() -> None:
    assert fault("{a: {b:}}", yaml.CSafeLoader).endswith("; inside of [...] and {...}, put a space after a key's colon")


@pytest.mark.parametrize(
    "value", ["*s3cret", "!s3cret", "!!s3cret", "!<s3cret> x", "!s3cret!more x", "&s3cret [*s3cret]"]
)
def test_a_secret_that_lacks_its_quotes_is_not_shown(value: str, loader: type) -> None:
    assert "s3cret" not in fault(f"headers: {value}\n", loader)


def test_both_parsers_of_pyyaml_give_the_same_nodes() -> None:
    text = 'a: &x [1, "2", {b: ~}]\nc: *x\n? d\n: |\n  e\n'
    documents = [parse(text, source="f", environ={}, loader=loader) for loader in LOADERS]
    assert all(document.root == documents[0].root for document in documents)
    assert documents[0].root.data() == {"a": [1, "2", {"b": None}], "c": [1, "2", {"b": None}], "d": "e\n"}


def test_tags_of_the_core_schema_are_followed() -> None:
    text = "a: !!str 1\nb: !!int '5'\nc: !!float 1\nd: !!bool true\ne: !!null ''\nf: ! 1\ng: !!map {}\nh: !!seq []\n"
    document = parse(text, source="f", environ={})
    assert document.problems == []
    data = document.root.data()
    assert data == {"a": "1", "b": 5, "c": 1.0, "d": True, "e": None, "f": "1", "g": {}, "h": []}
    assert isinstance(data["c"], float)


def test_keys_are_texts_whatever_they_look_like() -> None:
    assert parse("1: a\ntrue: b\n", source="f", environ={}).root.data() == {"1": "a", "true": "b"}


def test_a_first_key_wins_over_its_repetition() -> None:
    document = parse("a: 1\na: {b: 2}\nc: 3\n", source="f", environ={})
    assert document.root.data() == {"a": 1, "c": 3}
    assert len(document.problems) == 1


def test_nesting_is_limited(loader: type) -> None:
    deepest = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse(deepest, source="f", environ={}, loader=loader).problems == []
    assert f"nested deeper than {MAX_DEPTH} levels" in fault(f"[{deepest}]", loader)
    assert "nested deeper" in fault("[" * 500_000, loader)
    assert "nested deeper" in fault("\n".join(" " * depth + "a:" for depth in range(600)), loader)


def test_a_bomb_of_aliases_is_refused_when_it_goes_off(loader: type) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 10)}]" for level in range(1, 12)]
    assert f"more than {MAX_NODES:,} values, aliases counted as what they repeat" in fault("\n".join(lines), loader)


def test_a_file_of_too_many_values_is_refused() -> None:
    assert "more than" in fault("[" + "1," * MAX_NODES + "]", LOADERS[-1])


def test_positions_are_those_of_scalars_else_of_keys() -> None:
    text = "a:\n  b: value\n  c:\n  d: ${X}\nlist:\n- x\n- y: 1\n  z:\n    - 5\n"
    position = parse(text, source="f", environ={}).position
    assert position(()) == (1, 1)
    assert position(("a",)) == (1, 1)
    assert position(("a", "b")) == (2, 6)
    assert position(("a", "b"), of_key=True) == (2, 3)
    assert position(("a", "c")) == (3, 3)
    assert position(("a", "d")) == (4, 6)
    assert position(("list", 0)) == (6, 3)
    assert position(("list", 1)) == (7, 3)
    assert position(("list", 1, "z")) == (8, 3)
    assert position(("list", 1, "z", 0)) == (9, 7)
    assert position(("a", "missing", "more")) == (1, 1)
    assert position(("list", 9)) == (5, 1)


def outcome(text: str, loader: type) -> str:
    """What a text holds, or that it was refused, with a position for everything that is wrong with it."""
    try:
        document = parse(text, source="f", environ={}, loader=loader)
    except ConfigError as error:
        found = error.problems
        data = "refused"
    else:
        found = tuple(document.problems)
        data = repr(document.root.data())
    assert found or data != "refused"
    assert all(problem.line and problem.column for problem in found)
    return data


@given(st.text(max_size=200))
def test_any_text_gives_a_document_or_problems_never_another_error(text: str) -> None:
    assert outcome(text, LOADERS[-1])


yaml_like = st.text("ab:-[]{}&*!|>'\"#%@`\n\t ,?$<0.~", max_size=60)


@given(yaml_like)
def test_both_parsers_agree_on_what_is_a_document(text: str) -> None:
    outcomes = {outcome(text, loader) for loader in LOADERS} - {"refused"}
    assert len(outcomes) <= 1


# --- the file ---------------------------------------------------------------------------------------------------------


def refusal(path: Path | str) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, environ={})
    (problem,) = caught.value.problems
    line = str(problem)
    assert "\n" not in line
    assert line.startswith(f"{path}:")
    return line.removeprefix(f"{path}:").strip()


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    assert refusal(tmp_path / "missing.yaml") == "cannot read the file: No such file or directory"


def test_a_directory_says_so(tmp_path: Path) -> None:
    assert refusal(tmp_path) == "is a directory; name a config file"


def test_an_unreadable_file_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret.yaml"
    file.write_text("a: 1")
    file.chmod(0)

    def refuse(*_: object) -> int:  # the tests may run as root, who can read everything
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr(os, "open", refuse)
    assert refusal(file) == "cannot read the file: Permission denied"


def test_a_file_that_cannot_be_read_to_its_end_says_so() -> None:
    assert refusal("/proc/self/mem") == "cannot read the file: Input/output error"


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    done = threading.Event()
    found: list[str] = []

    def read() -> None:
        found.append(refusal(pipe))
        done.set()

    threading.Thread(target=read, daemon=True).start()
    assert done.wait(30)
    assert found == ["is not a regular file"]


def test_a_device_is_refused() -> None:
    assert stat.S_ISCHR(Path("/dev/zero").stat().st_mode)
    assert refusal("/dev/zero") == "is not a regular file"


def test_a_huge_file_is_refused_without_being_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "huge.yaml"
    with file.open("wb") as handle:
        handle.truncate(100_000_000)
    monkeypatch.setattr("builtins.open", lambda *_, **__: pytest.fail("the file was read"))
    assert refusal(file) == f"has 100,000,000 bytes; a config file has at most {MAX_BYTES:,}"


def test_a_file_of_the_greatest_size_is_read(tmp_path: Path) -> None:
    file = tmp_path / "large.yaml"
    file.write_bytes(b"#" * MAX_BYTES)
    assert len(read_text(file)) == MAX_BYTES
    file.write_bytes(b"#" * (MAX_BYTES + 1))
    assert "1,000,001 bytes" in refusal(file)


def test_bytes_that_are_not_utf_8_are_located(tmp_path: Path) -> None:
    file = tmp_path / "latin.yaml"
    file.write_bytes("a: 1\nname: café\n".encode("latin-1"))
    assert refusal(file) == "2:10: the byte 0xE9 is not UTF-8; save the file as UTF-8"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_other_unicode_encodings_are_refused_in_words(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "wide.yaml"
    file.write_bytes('file_format: "1.1"'.encode(encoding))
    assert refusal(file).startswith("1:")


def test_a_byte_order_mark_is_ignored_and_does_not_move_columns(tmp_path: Path) -> None:
    file = tmp_path / "bom.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + b"file_format: 5\ndisabled: true\n")
    assert refusal(file) == "1:14: file_format: expected '1.0' or '1.1'; put quotes around it"


def test_a_name_with_a_null_character_is_refused() -> None:
    with pytest.raises(ConfigError, match="null character"):
        load_config("a\0b", environ={})


@pytest.mark.parametrize("text", ["- a\n", "just text\n", "5\n", "~\n", "---\n"])
def test_a_file_that_is_no_mapping_says_what_it_is(tmp_path: Path, text: str) -> None:
    file = tmp_path / "f.yaml"
    file.write_text(text)
    assert "expected a mapping with the key file_format, not " in refusal(file)
