"""The files of a plugin to start from. Its exporter does something real, so that its tests have something to show."""

from __future__ import annotations

from string import Template
from typing import Final

from exporter_core import __version__
from exporter_core.cli.skeleton_http import HTTP_FILES


def skeleton(name: str, distribution: str, *, http: bool = False) -> dict[str, str]:
    """Return the texts of a plugin's files, by their paths.

    Args:
        name: the exporter's name, lower case with underscores.
        distribution: the distribution's name.
        http: let the exporter post over HTTP instead of writing to a file.
    """
    words = {
        "name": name,
        "distribution": distribution,
        "package": f"exporter_core_{name}",
        "title": "".join(word.capitalize() for word in name.split("_")),
        "upper": name.upper(),
        "core": "exporter-core[net]" if http else "exporter-core",
        "version": ".".join(__version__.split(".")[:2]),
    }
    words |= {word: Template(text.strip("\n")).substitute(words) for word, text in _SHARED.items()}
    return {
        Template(path).substitute(words): Template(text.removeprefix("\n")).substitute(words)
        for path, text in (_FILES | HTTP_FILES if http else _FILES).items()
    }


_FILES: Final = {
    "pyproject.toml": """
[build-system]
requires = ["hatchling>=1.27"]
build-backend = "hatchling.build"

[project]
name = "$distribution"
version = "0.1.0"
description = "Export OpenTelemetry metrics with the exporter $name"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["$core>=$version"]

[project.optional-dependencies]
test = ["exporter-core[conformance]", "pytest>=8"]

[project.entry-points."exporter_core.exporters.v1"]
$name = "$package:${title}Exporter"

[project.entry-points.opentelemetry_metrics_exporter]
$name = "$package.sdk:${title}MetricExporter"

[project.entry-points."exporter_core.harnesses.v1"]
$name = "$package.harness:${title}Harness"

[tool.hatch.build.targets.wheel]
packages = ["$package"]

[tool.pytest.ini_options]
testpaths = ["tests"]
""",
    "README.md": """
# $distribution

An exporter plugin for exporter-core: `$name` appends metrics to a file, a line of JSON for each batch.

```sh
pip install $distribution
exporter-core describe $name
exporter-core init $name -o metrics.yaml
```

```yaml
file_format: "1.1"
meter_provider:
  readers:
    - periodic:
        exporter:
          $name:
            path: metrics.jsonl
```

## Options

| option | type | default | description |
|---|---|---|---|
| `path` | path | required | The file to append to. It is made when it does not exist; its folder has to exist. |

`python -m exporter_core.option_table $package:${title}Config` prints this table.

${about_conformance}
""",
    ".gitignore": """
__pycache__/
.pytest_cache/
.venv/
dist/
""",
    "$package/__init__.py": """
\"\"\"The exporter `$name`.\"\"\"

from $package.exporter import ${title}Config, ${title}Exporter

__all__ = ["${title}Config", "${title}Exporter"]
""",
    "$package/py.typed": "",
    "$package/exporter.py": """
\"\"\"The exporter `$name` and its options.\"\"\"

from pathlib import Path

from exporter_core import Context, ExporterConfig
from exporter_core.authoring import SerialExporter
from opentelemetry.sdk.metrics.export import MetricsData

__all__ = ["${title}Config", "${title}Exporter"]


class ${title}Config(ExporterConfig):
    \"\"\"Options of the exporter. A secret among them is a `pydantic.SecretStr`.\"\"\"

    path: Path
    \"\"\"The file to append to. It is made when it does not exist; its folder has to exist.\"\"\"


class ${title}Exporter(SerialExporter[${title}Config]):
    \"\"\"Append metrics to a file, a line of JSON for each batch.\"\"\"

    def deliver(self, context: Context, metrics: MetricsData) -> None:
        \"\"\"Deliver the metrics before returning, or raise. Only one delivery runs at a time.\"\"\"
        text = metrics.to_json(indent=None) + "\\n"
        context.raise_if_done()  # ask before every step that takes time; context.remaining() is a time-out for it
        with self.config.path.open("a", encoding="utf-8") as file:
            file.write(text)

    def release(self, context: Context) -> None:
        \"\"\"Close what the exporter keeps open between two exports. This one keeps nothing open.\"\"\"
""",
    "$package/sdk.py": """
\"\"\"The exporter for OpenTelemetry's own reader: `OTEL_METRICS_EXPORTER=$name`.\"\"\"

from exporter_core import OutboundExporter

__all__ = ["${title}MetricExporter"]


class ${title}MetricExporter(OutboundExporter, exporter="$name"):
    \"\"\"The exporter `$name`; its options are environment variables such as EXPORTER_CORE_${upper}_PATH.\"\"\"
""",
    "$package/harness.py": """
\"\"\"How the conformance checker sees what the exporter delivers.\"\"\"

from exporter_core.conformance import Capabilities, FileSinkHarness

__all__ = ["${title}Harness"]


class ${title}Harness(FileSinkHarness):
    \"\"\"A file of its own for each clause, in the SDK's JSON, which the checker reads back.\"\"\"

    capabilities = Capabilities(
        not_applicable={
            "EXP-0[789]": "a file is not connected to, and gives no answer",
            "EXP-1[135689]": "a file gives no answer",
        }
    )
    faults = frozenset({"refuse"})

    def config(self) -> dict[str, str]:
        \"\"\"The options that point the exporter at the file.\"\"\"
        return {"path": str(self.path)}

    def fault(self, *steps: str) -> None:
        \"\"\"Let exports fail: a folder in the place of the file.\"\"\"
        if steps[0] == "refuse":
            self.path.unlink(missing_ok=True)
            self.path.mkdir()
""",
    "tests/test_conformance.py": """
${suite_head}

NO_ANSWER = ("NOT_APPLICABLE", "a file gives no answer")
NO_GATE = ("UNOBSERVABLE", "the harness cannot hold a delivery up")
ACCEPTED = {
    "EXP-0[789]": NO_ANSWER,
    "EXP-1[135689]": NO_ANSWER,
    "FLU-04": ("NOT_APPLICABLE", "it holds nothing, so that no flush delivers anything"),
    "KND-05": NO_GATE,
    "EXP-06": NO_GATE,
    "EXP-1[02]": NO_GATE,
    "FLU-03": NO_GATE,
    "SHD-04": NO_GATE,
    "SHD-1[01]": NO_GATE,
    "PY-0[12]": NO_GATE,
}

${suite}
""",
    "tests/test_exporter.py": """
\"\"\"The exporter as its users get it: by name, behind the guard.\"\"\"

import json
from importlib.metadata import entry_points

import pytest
from exporter_core import ConfigError, Context, ExporterError, load_exporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, PeriodicExportingMetricReader


${metrics_fixture}


def test_metrics_arrive(tmp_path, metrics):
    file = tmp_path / "metrics.jsonl"
    with load_exporter("$name", {"path": str(file)}) as exporter:
        exporter.export(Context.with_timeout(10), metrics)
        exporter.export(Context.with_timeout(10), metrics)
    batches = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [names(batch) for batch in batches] == [["requests", "duration"]] * 2


def names(batch):
    (resource,) = batch["resource_metrics"]
    return [metric["name"] for scope in resource["scope_metrics"] for metric in scope["metrics"]]


def test_a_folder_that_does_not_exist_is_an_error(tmp_path, metrics):
    with load_exporter("$name", {"path": str(tmp_path / "missing" / "metrics.jsonl")}) as exporter:
        with pytest.raises(ExporterError, match="No such file or directory"):
            exporter.export(Context.with_timeout(10), metrics)


def test_opentelemetrys_own_reader_exports_through_it(tmp_path, monkeypatch):
    file = tmp_path / "metrics.jsonl"
    monkeypatch.setenv("EXPORTER_CORE_${upper}_PATH", str(file))
    (registered,) = entry_points(group="opentelemetry_metrics_exporter", name="$name")
    provider = MeterProvider([PeriodicExportingMetricReader(registered.load()())], shutdown_on_exit=False)
    provider.get_meter("tests").create_counter("requests").add(1)
    provider.shutdown()
    assert names(json.loads(file.read_text(encoding="utf-8"))) == ["requests"]


def test_an_unknown_option_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'path'"):
        load_exporter("$name", {"pth": "metrics.jsonl"})
""",
}
"""Templates of the paths and texts."""

_SHARED: Final = {
    "metrics_fixture": """
@pytest.fixture
def metrics():
    reader = InMemoryMetricReader()
    provider = MeterProvider(metric_readers=[reader], shutdown_on_exit=False)
    meter = provider.get_meter("tests")
    meter.create_counter("requests", unit="1").add(3, {"method": "GET"})
    meter.create_histogram("duration", unit="s").record(0.5)
    data = reader.get_metrics_data()
    provider.shutdown()
    return data
""",
    "suite_head": """
\"\"\"The exporter contract, clause by clause, on the exporter by itself; what need not pass, with the reason.\"\"\"

from exporter_core.conformance import conformance_suite
""",
    "suite": """
# A dozen interleavings for each clause about concurrency; `exporter-core check $name` tries more.
Test${title} = conformance_suite("$name", accepted=ACCEPTED, schedules=12)
""",
    "about_conformance": """
## Conformance

`exporter-core check $name` says, clause by clause, whether the exporter keeps the exporter contract. The tests hold it
to that: `tests/test_conformance.py` lists what need not pass, with the reason.
""",
}
"""Templates of what files of both kinds have in common, by the words that stand for it in :data:`_FILES`."""
