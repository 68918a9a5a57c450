"""What the README shows is true: its tables and its configurations."""

import re
from pathlib import Path

import pytest
import yaml
from exporter_core_otlp import OtlpFileConfig, OtlpGrpcConfig, OtlpHttpConfig

from exporter_core.config import parse_config
from exporter_core.option_table import option_table

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("model", [OtlpFileConfig, OtlpGrpcConfig, OtlpHttpConfig])
def test_the_tables_of_options_are_those_of_the_config_models(model):
    assert option_table(model) in README, "print it with the command above the table"


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", README, re.DOTALL))
def test_the_configurations_are_valid(text):
    assert parse_config(yaml.safe_load(text)).readers
