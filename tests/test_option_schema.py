"""The schema of options is fit to be shown: secrets among defaults are masked, types that JSON lacks are anything."""

from __future__ import annotations

import json
from collections.abc import Callable

from pydantic import Field, SecretStr, create_model

from exporter_core.exporter import ExporterConfig
from exporter_core.option_schema import options_schema
from exporter_core.option_table import options

SECRET = "tok-" + "s3cr3t"


class Login(ExporterConfig):
    password: str = SECRET


class Options(ExporterConfig):
    token: str = SECRET
    pin: SecretStr = SecretStr(SECRET)
    api_key: str | None = Field(None, examples=[SECRET])
    url: str = f"https://me:{SECRET}@host/path"
    headers: dict[str, str] = Field({"authorization": SECRET})
    login: Login | None = None
    logins: list[Login] = Field([Login()])
    default: str = "plain"
    properties: str = "plain too"


def test_no_secret_of_a_default_or_an_example_is_in_the_schema():
    schema = options_schema(Options)
    assert SECRET not in json.dumps(schema)
    assert schema["properties"]["token"]["default"] == "***"
    assert schema["properties"]["headers"]["default"] == {"authorization": "***"}
    assert schema["properties"]["url"]["default"] == "https://***@host/path"


def test_other_defaults_are_as_they_are():
    properties = options_schema(Options)["properties"]
    assert [properties[name]["default"] for name in ("default", "properties", "login")] == ["plain", "plain too", None]


class Odd(ExporterConfig):
    limit: int = 3
    hook: Callable[[], int]


def test_an_option_that_json_schema_cannot_express_leaves_the_others_described():
    properties = options_schema(Odd)["properties"]
    assert properties["limit"]["default"] == 3
    assert list(properties) == ["limit", "hook"]


class Lean(ExporterConfig, use_attribute_docstrings=False):
    """Where and how."""

    path: str = "metrics.db"
    """The file
    to write."""
    mode: str = Field(default="0640", description="Its mode.")
    """Not this text."""
    renamed: int = Field(default=1, alias="other/development")
    """By its alias."""
    size: int = 1


class Fat(Lean):
    path: str = "other.db"
    inner: Lean = Lean()
    """Another."""
    other: Lean = Lean()


def test_docstrings_describe_options_also_where_pydantic_does_not_read_them() -> None:
    schema = options_schema(Fat)
    found = {name: option.get("description") for name, option in schema["properties"].items()}
    assert found == {
        "path": None,  # as with pydantic: who defines it anew describes it
        "mode": "Its mode.",
        "other/development": "By its alias.",
        "size": None,
        "inner": "Another.",
        "other": None,
    }
    assert schema["$defs"]["Lean"]["properties"]["path"]["description"] == "The file\nto write."
    shown = {option.name: option.description for option in options(schema)}
    assert shown["other"] == "Where and how."  # the model's own words, where the option has none


def test_options_without_source_code_have_no_description() -> None:
    made = create_model("Made", __base__=ExporterConfig, path=(str, "metrics.db"))
    assert "description" not in options_schema(made)["properties"]["path"]
