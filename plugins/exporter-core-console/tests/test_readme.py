"""What the README shows is true: its options, its configuration, its program and what that prints."""

import json
import os
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path

import jsonschema
import pytest
import yaml
from exporter_core_console import ConsoleConfig

from exporter_core.option_table import option_table

pytestmark = pytest.mark.usefixtures("warm_python")

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
SCHEMA = json.loads(resources.files("opentelemetry.configuration").joinpath("schema.json").read_text(encoding="utf-8"))


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def output_of(program):
    environment = {**os.environ, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True, env=environment
    )
    assert done.stderr == ""
    return done.stdout


def test_the_table_of_options_is_the_one_of_the_config_model():
    assert f"\n\n{option_table(ConsoleConfig)}\n\n" in README, (
        "print it with python -m exporter_core.option_table exporter_core_console:ConsoleConfig"
    )


def test_the_configuration_is_one_for_us_and_for_every_other_language():
    (document,) = map(yaml.safe_load, blocks("yaml"))
    jsonschema.validate(document, SCHEMA)
    (reader,) = document["meter_provider"]["readers"]
    assert ConsoleConfig(**reader["periodic"]["exporter"]["console"]).temporality_preference == "delta"


def test_the_program_shows_the_table_that_the_readme_shows():
    (program,), (shown,) = blocks("python"), blocks("text")
    time = re.compile(r"(?m)^time .*$")
    assert time.sub("time", output_of(program)).strip() == time.sub("time", shown).strip()


def test_the_program_writes_the_line_that_the_readme_shows():
    (program,), (shown,) = blocks("python"), blocks("json")
    program = program.replace('{"format": "table"}', '{"format": "json"}')
    time = re.compile(r'time":"[^"]*"')
    assert time.sub("", output_of(program).splitlines()[0]) == time.sub("", shown.strip())


def test_every_field_of_every_kind_of_line_is_explained(exporter, shop, context, capsys):
    exporter().export(context, shop)
    for line in capsys.readouterr().out.splitlines():
        for field in json.loads(line):
            assert re.search(rf"(?m)^\| [^|]*`{field}`", README), field
