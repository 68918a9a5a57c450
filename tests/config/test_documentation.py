"""The snippets of docs/configuration.md do what the page says."""

import re
from pathlib import Path

import jsonschema
import pytest

from exporter_core.config import json_schema, load_config
from exporter_core.config.yaml import parse
from exporter_core.errors import ConfigError
from exporter_core.registry import ExporterRegistry

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")
SNIPPETS = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
BASE = """\
file_format: "1.1"
meter_provider:
  readers:
    - periodic: {exporter: {console: }}
    - periodic: {exporter: {sqlite: {path: metrics.db}}}
"""


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json_schema(ExporterRegistry()))


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_every_snippet_loads_without_a_warning_and_fits_the_schema(tmp_path: Path, schema, snippet: str) -> None:
    file = tmp_path / "pipeline.yaml"
    file.write_text(snippet if "file_format" in snippet else BASE + snippet, encoding="utf-8")
    assert load_config(file, environ={}).warnings == ()
    data = parse(file.read_text(encoding="utf-8"), source="f", environ={}).root.data()
    schema.validate(data)


def test_the_wrong_snippet_has_the_problems_that_are_shown(tmp_path: Path) -> None:
    ((wrong, shown),) = re.findall(r"^```yaml wrong\n(.*?)^```\n\n```text\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    file = tmp_path / "pipeline.yaml"
    file.write_text(wrong, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(file, environ={})
    found = str(caught.value).replace(f"{tmp_path}/", "").splitlines()
    expected = shown.splitlines()
    assert len(found) == len(expected)
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start.partition(" installed: ")[0])


TABLE = PAGE.partition("`UNSET` not set:")[2].partition("##")[0]
SUBSTITUTIONS = [
    (text.strip(), value.strip())
    for cells, value in re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", TABLE, re.MULTILINE)
    for text in re.findall(r"`([^`]*)`", cells)
]


@pytest.mark.parametrize(("text", "shown"), SUBSTITUTIONS)
def test_the_table_of_references_is_true(text: str, shown: str) -> None:
    environ = {"PORT": "4318", "NAME": "shop", "EMPTY": ""}
    document = parse(f"key: {text}", source="f", environ=environ)
    if shown.startswith("an error"):
        assert len(document.problems) == 1
        return
    assert document.problems == []
    data = document.root.data()
    assert isinstance(data, dict)
    word = shown.partition(",")[0].strip("`")
    expected = {"null": None, "4318": 4318}.get(word, word.strip('"'))
    assert data["key"] == expected
    assert type(data["key"]) is type(expected)


def test_the_table_of_references_was_found() -> None:
    assert len(SUBSTITUTIONS) == 15
