"""The schema of options is fit to be shown: secrets among defaults are masked, types that JSON lacks are anything."""

from __future__ import annotations

import json
from collections.abc import Callable

from pydantic import Field, SecretStr

from exporter_core.exporter import ExporterConfig
from exporter_core.option_schema import options_schema

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
