"""The files of a plugin to start from. Its exporter does something real, so that its tests have something to show."""

from __future__ import annotations

from string import Template
from typing import Final

from exporter_core import __version__

__all__ = ["skeleton"]


def skeleton(name: str, distribution: str) -> dict[str, str]:
    """The texts of a plugin's files, by their paths.

    Args:
        name: the exporter's name, lower case with underscores.
        distribution: the distribution's name.
    """
    words = {
        "name": name,
        "distribution": distribution,
        "package": f"exporter_core_{name}",
        "title": "".join(word.capitalize() for word in name.split("_")),
        "core": ".".join(__version__.split(".")[:2]),
    }
    return {
        Template(path).substitute(words): Template(text.removeprefix("\n")).substitute(words)
        for path, text in _FILES.items()
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
dependencies = ["exporter-core>=$core"]

[project.optional-dependencies]
test = ["pytest>=8"]

[project.entry-points."exporter_core.exporters.v1"]
$name = "$package:${title}Exporter"

[tool.hatch.build.targets.wheel]
packages = ["$package"]

[tool.pytest.ini_options]
testpaths = ["tests"]
""",
    "README.md": """
# $distribution

An exporter plugin for exporter-core: `$name` appends metrics to a file, a line of JSON for each data point.

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

import json
from collections.abc import Iterator
from pathlib import Path

from exporter_core import Context, Exporter, ExporterConfig
from opentelemetry.sdk.metrics.export import MetricsData, NumberDataPoint

__all__ = ["${title}Config", "${title}Exporter"]


class ${title}Config(ExporterConfig):
    \"\"\"Options of the exporter. A secret among them is a `pydantic.SecretStr`.\"\"\"

    path: Path
    \"\"\"The file to append to. It is made when it does not exist; its folder has to exist.\"\"\"


class ${title}Exporter(Exporter[${title}Config]):
    \"\"\"Append metrics to a file, a line of JSON for each data point.\"\"\"

    def export(self, context: Context, metrics: MetricsData) -> None:
        \"\"\"Deliver the metrics before returning, or raise: there is no other way to say that it failed.\"\"\"
        text = "".join(f"{line}\\n" for line in _lines(metrics))
        context.raise_if_done()  # ask before every step that takes time; context.remaining() is a time-out for it
        with self.config.path.open("a", encoding="utf-8") as file:
            file.write(text)


def _lines(metrics: MetricsData) -> Iterator[str]:
    for resource_metrics in metrics.resource_metrics:
        for scope_metrics in resource_metrics.scope_metrics:
            for metric in scope_metrics.metrics:
                for point in metric.data.data_points:
                    value = point.value if isinstance(point, NumberDataPoint) else point.sum
                    yield json.dumps(
                        {
                            "metric": metric.name,
                            "unit": metric.unit,
                            "attributes": dict(point.attributes or {}),
                            "time_unix_nano": point.time_unix_nano,
                            "value": value,
                        }
                    )
""",
    "tests/test_exporter.py": """
\"\"\"The exporter as its users get it: by name, behind the guard.\"\"\"

import json

import pytest
from exporter_core import ConfigError, Context, ExporterError, load_exporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader


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


def test_metrics_arrive(tmp_path, metrics):
    file = tmp_path / "metrics.jsonl"
    with load_exporter("$name", {"path": str(file)}) as exporter:
        exporter.export(Context.with_timeout(10), metrics)
        exporter.export(Context.with_timeout(10), metrics)
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert [(line["metric"], line["attributes"], line["value"]) for line in lines] == [
        ("requests", {"method": "GET"}, 3),
        ("duration", {}, 0.5),
    ] * 2


def test_a_folder_that_does_not_exist_is_an_error(tmp_path, metrics):
    with load_exporter("$name", {"path": str(tmp_path / "missing" / "metrics.jsonl")}) as exporter:
        with pytest.raises(ExporterError, match="No such file or directory"):
            exporter.export(Context.with_timeout(10), metrics)


def test_an_unknown_option_is_refused():
    with pytest.raises(ConfigError, match="did you mean 'path'"):
        load_exporter("$name", {"pth": "metrics.jsonl"})
""",
}
"""Templates of the paths and texts."""
