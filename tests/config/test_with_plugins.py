"""The config file with the registry and the plugins that are installed."""

from pathlib import Path

import pytest

from exporter_core.config import json_schema, load_config, parse_config
from exporter_core.errors import ConfigError
from exporter_core.registry import ExporterRegistry

TEXT = """\
file_format: "1.1"
meter_provider:
  readers:
    - periodic:
        exporter:
          sqlite:
            path: metrics.db
    - periodic:
        exporter:
          none:
"""


def write(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "pipeline.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_installed_exporters_are_configured_by_name(tmp_path: Path) -> None:
    config = load_config(write(tmp_path, TEXT), environ={})
    assert [reader.label for reader in config.readers] == ["0:sqlite", "1:none"]
    assert type(config.readers[0].config).__name__ == "SqliteConfig"


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("sqlite", "sqlit", "6:11: no exporter named 'sqlit' is installed; did you mean 'sqlite'?"),
        ("sqlite", "kafka", "6:11: no exporter named 'kafka' is installed; installed: "),
        ("path: metrics.db", "synchronous: full", "6:11: exporter 'sqlite': missing required option 'path'"),
        ("path", "pth", "7:13: exporter 'sqlite': unknown option 'pth'; did you mean 'path'?"),
        ("metrics.db", "", "7:13: exporter 'sqlite': path: "),
        ("metrics.db", "${METRICS_DB}", "7:19: exporter 'sqlite': path: "),
        ("none:", "none: {x: 1}", "10:18: exporter 'none': unknown option 'x'; there are no options here"),
    ],
)
def test_faults_of_installed_exporters_have_their_positions(tmp_path: Path, old: str, new: str, expected: str) -> None:
    file = write(tmp_path, TEXT.replace(old, new))
    with pytest.raises(ConfigError) as caught:
        load_config(file, environ={})
    assert str(caught.value.problems[0]).startswith(f"{file}:{expected}")


def test_what_the_file_blocks_is_not_loaded(tmp_path: Path) -> None:
    file = write(tmp_path, TEXT + "exporter_core: {plugins: {block: [exporter-core-sqlite]}}\n")
    with pytest.raises(ConfigError, match=r"pipeline.yaml:6:11: .*sqlite.* may not be used: .*block list"):
        load_config(file, environ={})
    with pytest.raises(ConfigError, match=r"pipeline.yaml:6:11: .*sqlite.* may not be used: .*block list"):
        load_config(file, environ={}, registry=ExporterRegistry())


def test_a_misspelt_item_of_the_lists_is_a_warning_and_one_for_another_machine_is_none(tmp_path: Path) -> None:
    lists = "block: [exporter_core_sqlitee, elsewhere], allow: [sqlite, consle, none, exporter-core-sqlite]"
    file = write(tmp_path, TEXT + f"exporter_core: {{plugins: {{{lists}}}}}\n")
    at = f"{file}:{TEXT.count(chr(10)) + 1}"
    warnings = [str(one) for one in load_config(file, environ={}).warnings]
    unknown = "no installed plugin is called"
    block, allow = [one for one in warnings if unknown in one]
    meant = "did you mean 'exporter-core-sqlite'?"
    assert block == f"{at}:35: exporter_core.plugins.block[0]: {unknown} 'exporter_core_sqlitee'; {meant}"
    assert allow == f"{at}:86: exporter_core.plugins.allow[1]: {unknown} 'consle'; did you mean 'console'?"


def test_a_mapping_uses_the_installed_exporters_too() -> None:
    config = parse_config(
        {"file_format": "1.1", "meter_provider": {"readers": [{"periodic": {"exporter": {"none": {}}}}]}}
    )
    assert config.readers[0].exporter == "none"


def test_the_schema_has_the_options_of_the_installed_exporters() -> None:
    schema = json_schema(ExporterRegistry())
    exporters = schema["$defs"]["PeriodicReader"]["properties"]["exporter"]["properties"]
    assert {"console", "none", "sqlite"} <= set(exporters)
    assert "path" in schema["$defs"]["exporter sqlite"]["required"]
