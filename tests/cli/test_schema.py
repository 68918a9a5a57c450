"""``exporter-core schema``."""

from __future__ import annotations

import json

import jsonschema
import pytest
import yaml


@pytest.fixture
def check(cli):
    """Check YAML by the schema that the command writes."""
    code, out, err = cli("schema")
    assert (code, err) == (0, "")
    schema = json.loads(out)
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    return lambda text: [error.message for error in validator.iter_errors(yaml.safe_load(text))]


def test_it_accepts_what_init_writes_and_knows_the_options_of_installed_exporters(cli, check):
    text = cli("init", "console", "none").out
    assert check(text) == []
    assert check(text.replace("console:", "console: {fromat: json}")) != []
    assert check(cli("init", "sqlite").out) != []
    assert check(cli("init", "sqlite").out.replace("path:", "path: metrics.db")) == []


def test_what_cannot_be_loaded_is_left_out_with_a_warning(cli, plugins):
    plugins.add("exiting", "print('noise'); raise SystemExit(3)")
    plugins.add("noisy", "print('noise')\nfrom exporter_core.none import NoneExporter as Made\n")
    plugins.add("later", group="exporter_core.exporters.v2")
    code, out, err = cli("schema")
    assert code == 0
    exporters = json.loads(out)["$defs"]["PeriodicReader"]["properties"]["exporter"]["properties"]
    assert {"console", "none", "noisy", "sqlite"} <= set(exporters)
    assert not {"exiting", "later"} & set(exporters)
    assert "warning: left out: exporter 'exiting' (made-exiting 2.5) cannot be loaded: SystemExit: 3\n" in err
    assert "warning: left out: exporter 'later' of made-later 2.5 is made for contract version 2" in err


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("raise SystemExit(3)", "its options have no JSON Schema: SystemExit: 3"),
        ("threading.Event().wait()", "it did not end within 0.2 s"),
    ],
)
def test_options_that_cannot_be_described_are_left_out_with_a_warning(cli, plugins, monkeypatch, code, said):
    monkeypatch.setattr("exporter_core.config.schema._SCHEMA_SECONDS", 0.2)
    plugins.add(
        "odd",
        f"""
        import threading
        from exporter_core import Exporter, ExporterConfig

        class Options(ExporterConfig):
            @classmethod
            def model_json_schema(cls, **_):
                {code}

        class Made(Exporter[Options]):
            def export(self, context, metrics):
                pass
        """,
    )
    code, out, err = cli("schema")
    assert code == 0
    assert "odd" not in json.loads(out)["$defs"]["PeriodicReader"]["properties"]["exporter"]["properties"]
    assert "warning: left out: exporter 'odd'" in err
    assert said in err


def test_it_goes_into_a_file_that_is_replaced_only_with_force(cli, tmp_path):
    file = tmp_path / "schema.json"
    assert cli("schema", "-o", str(file)) == (0, "", "")
    assert file.read_text() == cli("schema").out
    assert cli("schema", "-o", str(file)) == (2, "", f"error: {file}: exists; --force replaces it\n")
    file.write_text("old")
    assert cli("schema", "-o", str(file), "--force") == (0, "", "")
    assert file.read_text() == cli("schema").out


def test_a_file_that_cannot_be_written_is_one_line(cli, tmp_path):
    assert cli("schema", "-o", str(tmp_path)) == (2, "", f"error: {tmp_path}: is a directory; name a file\n")


def test_a_dash_is_standard_output(cli):
    assert cli("schema", "-o", "-") == cli("schema")
