import math
import re

import pytest
import yaml
from hypothesis import given, strategies as st

from exporter_core.config.nodes import resolve_scalar
from exporter_core.config.substitution import describe_invalid, substitute
from exporter_core.config.yaml import parse
from exporter_core.errors import ConfigError

# The example table of the configuration data model, section "Environment variable substitution".
ENVIRON = {
    "STRING_VALUE": "value",
    "BOOL_VALUE": "true",
    "INT_VALUE": "1",
    "FLOAT_VALUE": "1.1",
    "HEX_VALUE": "0xdeadbeef",
    "INVALID_MAP_VALUE": "value\nkey:value",
    "DO_NOT_REPLACE_ME": "Never use this value",
    "REPLACE_ME": "${DO_NOT_REPLACE_ME}",
    "VALUE_WITH_ESCAPE": "value$$",
}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("key: ${STRING_VALUE}", "value"),
        ("key: ${BOOL_VALUE}", True),
        ("key: ${INT_VALUE}", 1),
        ("key: ${FLOAT_VALUE}", 1.1),
        ("key: ${HEX_VALUE}", 3735928559),
        ('key: "${STRING_VALUE}"', "value"),
        ('key: "${BOOL_VALUE}"', "true"),
        ('key: "${INT_VALUE}"', "1"),
        ('key: "${FLOAT_VALUE}"', "1.1"),
        ('key: "${HEX_VALUE}"', "0xdeadbeef"),
        ("key: ${env:STRING_VALUE}", "value"),
        ("key: ${INVALID_MAP_VALUE}", "value\nkey:value"),
        ("key: foo ${STRING_VALUE} ${FLOAT_VALUE}", "foo value 1.1"),
        ("key: ${UNDEFINED_KEY}", None),
        ("key: ${UNDEFINED_KEY:-fallback}", "fallback"),
        ("key: ${REPLACE_ME}", "${DO_NOT_REPLACE_ME}"),
        ("key: ${UNDEFINED_KEY:-${STRING_VALUE}}", "${STRING_VALUE}"),
        ("key: $${STRING_VALUE}", "${STRING_VALUE}"),
        ("key: $$${STRING_VALUE}", "$value"),
        ("key: $$$${STRING_VALUE}", "$${STRING_VALUE}"),
        ("key: $${STRING_VALUE:-fallback}", "${STRING_VALUE:-fallback}"),
        ("key: $${STRING_VALUE:-${STRING_VALUE}}", "${STRING_VALUE:-value}"),
        ("key: ${UNDEFINED_KEY:-$${UNDEFINED_KEY}}", "${UNDEFINED_KEY:-${UNDEFINED_KEY}}"),
        ("key: ${VALUE_WITH_ESCAPE}", "value$$"),
        ("key: a $$ b", "a $ b"),
        ("key: a $ b", "a $ b"),
    ],
)
def test_the_official_examples_come_out_as_their_table_says(text: str, value: object) -> None:
    result = parse(text, source="f", environ=ENVIRON).root.data()
    assert result == {"key": value}
    assert isinstance(result, dict)
    assert type(result["key"]) is type(value)


def test_references_in_keys_are_left_alone() -> None:
    assert parse("${STRING_VALUE}: value", source="f", environ=ENVIRON).root.data() == {"${STRING_VALUE}": "value"}


def test_the_pseudocode_example_comes_out_as_described() -> None:
    assert substitute("$${FOO} ${BAR} $${BAZ}", {"FOO": "a", "BAR": "b", "BAZ": "c"}).text == "${FOO} b ${BAZ}"


@pytest.mark.parametrize(
    "reference",
    ["${STRING_VALUE:?error}", "${1API_KEY}", "${API_$KEY}", "${}", "${ X}", "${X }", "${sys:X}", "${env:}", "${a-b}"],
)
@pytest.mark.parametrize("quote", ["", '"', "'"])
def test_an_invalid_reference_is_a_problem_at_its_line_and_column(reference: str, quote: str) -> None:
    text = f"first: 1\nkey: {quote}ab {reference}{quote}\n"
    document = parse(text, source="f", environ=ENVIRON)
    (problem,) = document.problems
    assert (problem.line, problem.column) == (2, 6 + len(quote) + 3)
    assert "expected ${NAME} or ${NAME:-default}" in problem.message


def test_every_invalid_reference_is_a_problem_of_its_own() -> None:
    document = parse("a: ${1} ${1}\nb: >\n  x\n  ${2}\n", source="f", environ={})
    assert [(p.line, p.column) for p in document.problems] == [(1, 4), (1, 9), (4, 3)]


def test_the_message_about_an_invalid_reference_shows_no_default() -> None:
    assert "secret" not in describe_invalid("${NAME:?secret}")
    assert "'${NAME...}'" in describe_invalid("${NAME:?secret}")
    assert "'${1NAME}'" in describe_invalid("${1NAME}")


def test_a_variable_that_is_set_but_empty_takes_the_default() -> None:
    assert substitute("${X:-d}", {"X": ""}).text == "d"
    assert substitute("${X:-}", {"X": ""}).text == ""


def test_a_variable_that_is_set_but_empty_without_a_default_is_not_reported_as_unset() -> None:
    assert substitute("${X}", {"X": ""}).unset == ()
    assert substitute("${X}", {}).unset == ("X",)


def test_a_reference_without_its_closing_brace_is_ordinary_text() -> None:
    assert substitute("${X", {"X": "v"}).text == "${X"
    assert substitute("a ${X\n} b", {"X": "v"}).text == "a ${X\n} b"


def test_a_default_may_hold_any_characters_of_its_line_but_a_brace() -> None:
    assert substitute("${X:-a b:c-é/?*}", {}).text == "a b:c-é/?*"


def test_nothing_but_scalars_can_come_out_of_a_variable() -> None:
    for value in ["a: b", "- a", "{a: b}", "[1]", "&x y", "*x", "!!python/object:os.system x", "# c", "'q'"]:
        assert parse("key: ${X}", source="f", environ={"X": value}).root.data() == {"key": value}


@pytest.mark.parametrize("style", ["|", ">"])
def test_block_scalars_are_substituted_and_stay_strings(style: str) -> None:
    assert parse(f"key: {style}\n  ${{INT_VALUE}}\n", source="f", environ=ENVIRON).root.data() == {"key": "1\n"}


def test_items_of_lists_are_substituted() -> None:
    assert parse("- ${INT_VALUE}\n- ['${INT_VALUE}']", source="f", environ=ENVIRON).root.data() == [1, ["1"]]


def test_an_invalid_reference_ends_the_reading_with_an_error(load) -> None:
    with pytest.raises(ConfigError, match=r"pipeline.yaml:2:11: invalid reference"):
        load('file_format: "1.1"\ndisabled: ${1}\n')


@pytest.mark.parametrize(
    "piece", ["${", "${X}", *(pytest.param(one, marks=pytest.mark.nightly) for one in ["${\n", "${a-b}", "$$", "}"])]
)
def test_a_large_value_is_read_in_a_moment(piece: str) -> None:
    text = piece * (400_000 // len(piece)) + "}"
    assert substitute(text, {"X": "v"}).unset == ()
    document = parse(f"key: {yaml.safe_dump(text, width=10**9)}", source="f", environ={"X": "v"})
    assert len(document.problems) <= 20


@given(text=st.text("${}aA_:-\n ", max_size=40))
def test_references_are_found_as_the_grammar_says(text: str) -> None:
    expected: list[str] = []
    for segment in text.split("$$"):
        expected += re.findall(r"\$\{[^}\n]*\}", segment)
    invalid = [one for one in expected if not re.fullmatch(r"\$\{(env:)?[a-zA-Z_]\w*(:-[^}\n]*)?\}", one)]
    assert list(substitute(text, {}).invalid) == invalid


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,5}", fullmatch=True)


@given(name=names, value=st.text(st.characters(exclude_categories=["Cs"])))
def test_a_value_is_put_in_as_it_is(name: str, value: str) -> None:
    assert substitute(f"<${{{name}}}>", {name: value}).text == f"<{value}>"


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_doubling_every_dollar_keeps_any_text(text: str) -> None:
    assert substitute(text.replace("$", "$$"), {}).text == text


@given(value=st.text("0123456789abcdefxoXO.+-_:eEnNyYtTrRuU~", max_size=8))
def test_a_substituted_value_has_the_type_it_would_have_in_the_file(value: str) -> None:
    substituted = parse("key: ${X}", source="f", environ={"X": value}).root.data()
    expected = resolve_scalar(value)
    assert repr(substituted) == repr({"key": expected})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("nULL", "nULL"),
        ("yes", "yes"),
        ("on", "on"),
        ("NO", "NO"),
        ("True", True),
        ("tRUE", "tRUE"),
        ("010", 10),
        ("0o10", 8),
        ("0x1F", 31),
        ("-0x1F", "-0x1F"),
        ("+12", 12),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2001-01-01", "2001-01-01"),
        ("1.", 1.0),
        (".5", 0.5),
        ("-1e3", -1000.0),
        ("1e3", 1000.0),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("inf", "inf"),
        ("nan", "nan"),
        ("٣", "٣"),
        ("1\n", "1\n"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_plain_scalars_have_the_types_of_the_yaml_1_2_core_schema(text: str, value: object) -> None:
    result = resolve_scalar(text)
    assert (type(result), result) == (type(value), value)


def test_not_a_number_is_a_float() -> None:
    result = resolve_scalar(".NaN")
    assert isinstance(result, float)
    assert math.isnan(result)


@given(st.floats(allow_nan=False) | st.integers() | st.booleans() | st.none())
def test_what_yaml_writes_is_read_back(value: object) -> None:
    text = yaml.safe_dump({"k": value})
    assert parse(text, source="f", environ={}).root.data() == {"k": value}
