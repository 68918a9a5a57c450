from __future__ import annotations

import datetime as dt
import enum
import ipaddress
import pathlib
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, strategies as st
from pydantic import (
    AliasChoices,
    AnyUrl,
    BaseModel,
    ConfigDict,
    DirectoryPath,
    Field,
    FilePath,
    FiniteFloat,
    HttpUrl,
    Json,
    SecretBytes,
    SecretStr,
    ValidationError,
    create_model,
    field_validator,
    model_validator,
)

from exporter_core.errors import ConfigProblem
from exporter_core.exporter import ExporterConfig
from exporter_core.validation import kind_of, nearest, problems_of, shown_path, unknown


def problems(model: type[BaseModel], value: object, **kwargs: Any) -> list[ConfigProblem]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    return problems_of(caught.value, model, **kwargs)


def messages(model: type[BaseModel], value: object, **kwargs: Any) -> list[str]:
    return [problem.message for problem in problems(model, value, **kwargs)]


def of_type(annotation: Any, value: object) -> list[str]:
    """The messages for a value of a one-option model."""
    return messages(create_model("M", __base__=ExporterConfig, x=(annotation, ...)), {"x": value})


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@pytest.mark.parametrize(
    ("annotation", "value", "message"),
    [
        (str, 5, "x: expected a string, not a number"),
        (str, None, "x: expected a string, not null"),
        (str, ["a"], "x: expected a string, not a list"),
        (int, "abc", "x: expected an integer, not a string"),
        (int, 1.5, "x: expected an integer, not a number with a decimal point"),
        (Annotated[int, Field(strict=True)], 5000.0, "x: expected an integer, not a number with a decimal point"),
        (int, "9" * 5000, "x: expected an integer of reasonable size, not a string"),
        (int, {}, "x: expected an integer, not a mapping"),
        (float, "5s", "x: expected a number, not a string"),
        (float, True, None),
        (FiniteFloat, float("inf"), "x: expected a finite number"),
        (Decimal, "abc", "x: expected a number, not a string"),
        (bool, "maybe", "x: expected true or false, not a string"),
        (bool, [], "x: expected true or false, not a list"),
        (list[int], "abc", "x: expected a list, not a string"),
        (tuple[int, ...], 1, "x: expected a list, not a number"),
        (set[int], 1, "x: expected a list, not a number"),
        (frozenset[int], 1, "x: expected a list, not a number"),
        (Sequence[int], 1, None),
        (dict[str, int], [], "x: expected a mapping, not a list"),
        (Mapping[str, int], [], "x: expected a mapping, not a list"),
        (dict[int, int], {"a": 1}, "x.a: expected an integer as its key, not a string"),
        (list[int], [1, "a"], "x[1]: expected an integer, not a string"),
        (dict[str, list[int]], {"a.b": [None]}, "x['a.b'][0]: expected an integer, not null"),
        (tuple[int, str], [1], "x: missing item 1"),
        (None, 5, "x: expected null, not a number"),
        (Literal["full", "normal"], "ful", "x: expected 'full' or 'normal'; did you mean 'full'?"),
        (Literal["full", "normal"], "zzz", "x: expected 'full' or 'normal'"),
        (Literal[1, 2], "one", "x: expected 1 or 2"),
        (Colour, "rot", "x: expected 'red' or 'blue'"),
        (Colour, "bleu", "x: expected 'red' or 'blue'; did you mean 'blue'?"),
        (Annotated[int, Field(gt=0)], 0, "x: expected a value greater than 0"),
        (Annotated[int, Field(ge=1)], 0, "x: expected a value of at least 1"),
        (Annotated[int, Field(lt=9)], 9, "x: expected a value less than 9"),
        (Annotated[int, Field(le=9)], 10, "x: expected a value of at most 9"),
        (Annotated[int, Field(multiple_of=5)], 3, "x: expected a multiple of 5"),
        (Annotated[str, Field(min_length=1)], "", "x: expected a string that is not empty"),
        (Annotated[str, Field(min_length=3)], "a", "x: expected a string of at least 3 characters"),
        (Annotated[str, Field(max_length=1)], "abc", "x: expected a string of at most 1 character"),
        (Annotated[str, Field(pattern="^a+$")], "b", "x: expected a string that matches the pattern ^a+$"),
        (Annotated[list[int], Field(min_length=1)], [], "x: expected at least one item"),
        (Annotated[list[int], Field(min_length=2)], [1], "x: expected at least 2 items, not 1"),
        (Annotated[list[int], Field(max_length=1)], [1, 2], "x: expected at most 1 item"),
        (AnyUrl, "no url", "x: expected a URL such as https://host:port/path"),
        (AnyUrl, 5, "x: expected a URL, not a number"),
        (HttpUrl, "ftp://x", "x: expected a URL that starts with 'http' or 'https'"),
        (pathlib.Path, 5, "x: expected a path, not a number"),
        (FilePath, "/nonexistent/x", "x: expected the path of an existing file"),
        (DirectoryPath, "/nonexistent/x", "x: expected the path of an existing directory"),
        (dt.date, "x", "x: expected a date such as 2030-01-31, not a string"),
        (dt.datetime, "x", "x: expected a date and time such as 2030-01-31T12:00:00Z, not a string"),
        (dt.time, "x", "x: expected a time of day such as 12:00:00, not a string"),
        (dt.timedelta, "x", "x: expected a duration in seconds or such as PT30S, not a string"),
        (uuid.UUID, "x", "x: expected a UUID"),
        (ipaddress.IPv4Address, "x", "x: expected an IPv4 address, not a string"),
        (Json[int], "{", "x: expected JSON text"),
        (SecretStr, 5, "x: expected a string, not a number"),
        (SecretBytes, 5, "x: expected a string, not a number"),
        (int | str, [], "x: expected an integer or a string, not a list"),
        (int | list[int], "a", "x: expected an integer or a list, not a string"),
        (int | str | None, [], "x: expected an integer or a string, not a list"),
        (int | list[int], ["a"], "x[0]: expected an integer, not a string"),
        (int | dict[str, int], {"a": "b"}, "x.a: expected an integer, not a string"),
        (list[int] | dict[str, list[int]], {"a": [1, "b"]}, "x.a[1]: expected an integer, not a string"),
        (Annotated[int, Field(ge=1)] | Literal["auto"], 0, "x: expected a value of at least 1 or 'auto'"),
    ],
)
def test_every_common_fault_has_one_plain_line(annotation: Any, value: object, message: str | None) -> None:
    if message is None:
        assert all("Input should" not in line for line in _messages_or_none(annotation, value))
    else:
        assert of_type(annotation, value) == [message]


def _messages_or_none(annotation: Any, value: object) -> list[str]:
    try:
        create_model("M", x=(annotation, ...)).model_validate({"x": value})
    except ValidationError:
        return of_type(annotation, value)
    return []


class Tls(ExporterConfig):
    ca_file: str
    key_file: str = ""


class FileSink(ExporterConfig):
    kind: Literal["file"] = "file"
    path: str


class NetSink(ExporterConfig):
    kind: Literal["net"]
    port: int = 0
    tls: Tls | None = None


class Config(ExporterConfig):
    path: str = ""
    timeout: float = 1.0
    tls: Tls | None = None
    several: list[Tls] = Field(default_factory=list)
    sink: Annotated[FileSink | NetSink, Field(discriminator="kind")] = FileSink(path="x")
    either: Tls | str = ""
    batch: int = Field(1, alias="batch-size")
    region: str = Field("", validation_alias=AliasChoices("region", "aws_region"))


@pytest.mark.parametrize(
    ("value", "message", "path"),
    [
        ({"pth": 1}, "unknown option 'pth'; did you mean 'path'?", ("pth",)),
        ({"batch_size": 1}, "unknown option 'batch_size'; did you mean 'batch-size'?", ("batch_size",)),
        ({"AWS_REGION": ""}, "unknown option 'AWS_REGION'; did you mean 'aws_region'?", ("AWS_REGION",)),
        ({"tls": {}}, "tls: missing required option 'ca_file'", ("tls",)),
        ({"tls": {"ca_file": "", "x": 1}}, "tls: unknown option 'x'; valid here: ca_file, key_file", ("tls", "x")),
        ({"tls": 5}, "tls: expected a mapping, not a number", ("tls",)),
        ({"several": [{"ca_file": ""}, {}]}, "several[1]: missing required option 'ca_file'", ("several", 1)),
        ({"sink": {}}, "sink: missing required option 'kind'", ("sink",)),
        ({"sink": {"kind": "fil"}}, "sink.kind: expected one of 'file', 'net'; did you mean 'file'?", ("sink", "kind")),
        ({"sink": {"kind": "file"}}, "sink: missing required option 'path'", ("sink",)),
        ({"sink": {"kind": "net", "port": "a"}}, "sink.port: expected an integer, not a string", ("sink", "port")),
        (
            {"sink": {"kind": "net", "tls": {"cafile": "", "ca_file": ""}}},
            "sink.tls: unknown option 'cafile'; did you mean 'ca_file'?",
            ("sink", "tls", "cafile"),
        ),
        ({"either": {"key_file": ""}}, "either: missing required option 'ca_file'", ("either",)),
        ({"either": {"ca_file": 1}}, "either.ca_file: expected a string, not a number", ("either", "ca_file")),
        ({"either": 5}, "either: expected a mapping or a string, not a number", ("either",)),
        ({"batch-size": "x"}, "batch-size: expected an integer, not a string", ("batch-size",)),
        ([], "expected a mapping, not a list", ()),
    ],
)
def test_a_message_names_the_option_and_its_path_leads_there(value: object, message: str, path: tuple) -> None:
    found = problems(Config, value, path=("exporter", 0))
    assert [(problem.message, problem.path) for problem in found] == [(message, ("exporter", 0, *path))]


def test_all_problems_are_found_in_one_pass() -> None:
    assert messages(Config, {"path": 1, "timeout": "x", "tls": {"key_file": 2}, "zzz": 0}) == [
        "path: expected a string, not a number",
        "timeout: expected a number, not a string",
        "tls: missing required option 'ca_file'",
        "tls.key_file: expected a string, not a number",
        "unknown option 'zzz'; valid here: aws_region, batch-size, either, path, region, several, sink, timeout, tls",
    ]


def test_the_word_for_a_key_is_the_callers() -> None:
    assert messages(Tls, {}, what="key") == ["missing required key 'ca_file'"]


def test_an_unknown_option_of_a_model_without_options_says_so() -> None:
    assert messages(ExporterConfig, {"x": 1}) == ["unknown option 'x'; there are no options here"]


def test_many_valid_names_are_not_listed() -> None:
    assert unknown("zzz", [f"name{i}" for i in range(13)]) == "unknown option 'zzz'"


def test_a_strange_key_stays_one_short_line() -> None:
    message = unknown("a\nb " + "x" * 500, [])
    assert "\n" not in message
    assert len(message) < 120


class Validated(ExporterConfig):
    secret: SecretStr = SecretStr("")
    plain: str = ""
    other: str = ""

    @field_validator("secret", mode="before")
    @classmethod
    def _refuse(cls, value: object) -> object:
        raise ValueError(f"cannot use\n{value} as a secret")

    @field_validator("plain")
    @classmethod
    def _assert(cls, value: str) -> str:
        assert value != "x", f"{value!r} is bad"
        assert value != "y"
        return value

    @model_validator(mode="after")
    def _together(self) -> Validated:
        if self.other == "canary-two":
            raise ValueError(f"plain and other exclude each other: {self.plain} {self.other}")
        return self


def test_a_validators_own_words_are_kept_without_the_value() -> None:
    assert messages(Validated, {"secret": "canary-one"}) == ["secret: cannot use *** as a secret"]
    assert messages(Validated, {"plain": "x"})[0].startswith("plain: '***' is bad")
    assert messages(Validated, {"plain": "canary-one", "other": "canary-two"}) == [
        "plain and other exclude each other: *** ***"
    ]


class Secretive(ExporterConfig):
    text: SecretStr = Field(SecretStr(""), max_length=8)
    data: SecretBytes = SecretBytes(b"")
    number: int = 0
    listed: list[SecretStr] = Field(default_factory=list)
    mapped: dict[str, SecretStr | int] = Field(default_factory=dict)
    level: Literal["low", "high"] = "low"
    url: HttpUrl | None = None
    sink: Annotated[FileSink | NetSink, Field(discriminator="kind")] | None = None
    nested: Tls | None = None


CANARY = "c4n4ry-s3cr3t-v4lu3"
wrong_values = st.recursive(
    st.sampled_from([CANARY, f"https://u:{CANARY}@h", 5, None, True, 1.5]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["kind", "a", "path"]), inner),
    max_leaves=6,
)


@given(options=st.dictionaries(st.sampled_from([*Secretive.model_fields, "extra"]), wrong_values))
def test_no_message_quotes_a_value_that_was_given(options: dict[str, object]) -> None:
    try:
        Secretive.model_validate(options)
    except ValidationError as error:
        found = problems_of(error, Secretive)
        assert found
        for problem in found:
            assert CANARY not in problem.message
            assert "\n" not in problem.message
            assert set(problem.path[:1]) <= {*options}


def test_kinds_are_named_in_the_words_of_a_config_file() -> None:
    values = [None, True, 1, 1.5, "", [], (), {}, dt.date(2030, 1, 1)]
    kinds = ["null", "a boolean", "a number", "a number", "a string", "a list", "a list", "a mapping", "a date"]
    assert [kind_of(value) for value in values] == kinds


def test_a_path_is_shown_as_people_write_it() -> None:
    assert shown_path(("a", 0, "b/development", "c.d")) == "a[0].b/development['c.d']"
    assert shown_path(()) == ""


def test_nearest_ignores_case_and_dashes() -> None:
    assert nearest("Batch-Size", ["batch_size", "timeout"]) == "batch_size"
    assert nearest("zzz", ["batch_size"]) is None


def test_a_required_option_that_stands_there_misspelt_is_one_problem():
    class Options(BaseModel):
        model_config = ConfigDict(extra="forbid")
        path: str
        endpoint: str

    with pytest.raises(ValidationError) as caught:
        Options.model_validate({"pth": "x"})
    assert [str(problem) for problem in problems_of(caught.value, Options)] == [
        "missing required option 'endpoint'",
        "unknown option 'pth'; did you mean 'path'?",
    ]
