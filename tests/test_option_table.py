"""The table of options that plugin READMEs show."""

import subprocess
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from exporter_core import ExporterConfig
from exporter_core.option_table import option_table


class Retry(ExporterConfig):
    attempts: Annotated[int, Field(ge=1, lt=10)] = 3
    """How often."""

    inner: "Retry | None" = None
    """A model that contains itself."""


class Config(ExporterConfig):
    path: Path
    """Where
    it goes, a|b."""

    mode: Literal["fast", "safe"] = "safe"
    """How."""

    token: SecretStr | None = None
    """Who."""

    headers: dict[str, str] = Field(default_factory=dict)
    """What else."""

    names: list[int | str] = Field(default=[1])
    """Whom."""

    separator: str = ""
    """Between."""

    enabled: bool = True
    """Whether."""

    retry: Retry = Retry()
    """Again."""


def test_every_option_is_a_row_with_type_default_and_description_in_one_line():
    assert option_table(Config).splitlines() == [
        "| option | type | default | description |",
        "|---|---|---|---|",
        "| `path` | path | required | Where it goes, a\\|b. |",
        "| `mode` | `fast`, `safe` | `safe` | How. |",
        "| `token` | text (secret) | none | Who. |",
        "| `headers` | mapping to text | none | What else. |",
        "| `names` | list of integer or text | `[1]` | Whom. |",
        '| `separator` | text | `""` | Between. |',
        "| `enabled` | boolean | `true` | Whether. |",
        '| `retry` | mapping | `{"attempts": 3, "inner": null}` | Again. |',
        "| `retry.attempts` | integer, at least 1, less than 10 | `3` | How often. |",
        "| `retry.inner` | mapping | none | A model that contains itself. |",
    ]


def test_a_model_without_options_has_a_table_without_rows():
    assert option_table(ExporterConfig).splitlines() == [
        "| option | type | default | description |",
        "|---|---|---|---|",
    ]


def test_the_command_prints_the_table_of_a_model():
    command = [sys.executable, "-m", "exporter_core.option_table", "exporter_core:ExporterConfig"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == f"{option_table(ExporterConfig)}\n"


def test_the_command_explains_itself_when_it_is_called_wrongly():
    command = [sys.executable, "-m", "exporter_core.option_table", "nothing"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stderr == "usage: python -m exporter_core.option_table MODULE:CONFIG_MODEL\n"
