"""A plugin that somebody else writes elsewhere is installed, named in a config file, and run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

PYPROJECT = """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "acme-telemetry"
version = "3.1.4"
description = "Send metrics to Acme"
dependencies = ["exporter-core"]

[project.entry-points."exporter_core.exporters.v1"]
acme = "acme_telemetry.exporter:AcmeExporter"

[tool.hatch.build.targets.wheel]
packages = ["acme_telemetry"]
"""

PLUGIN = '''
from pathlib import Path

from exporter_core import Context, Exporter, ExporterConfig
from pydantic import Field, SecretStr


class AcmeConfig(ExporterConfig):
    path: Path = Field(description="Where the metrics go.")
    key: SecretStr = Field(description="The key of the account.")


class AcmeExporter(Exporter[AcmeConfig]):
    """Write the names and values of metrics to a file."""

    def export(self, context: Context, metrics) -> None:
        context.raise_if_done()
        with self.config.path.open("a") as file:
            for resource in metrics.resource_metrics:
                for scope in resource.scope_metrics:
                    for metric in scope.metrics:
                        for point in metric.data.data_points:
                            print(metric.name, point.value, dict(point.attributes), file=file)
'''

CONFIG = """
file_format: "1.0"
meter_provider:
  readers:
    - periodic:
        interval: 3600000
        exporter:
          acme:
            path: delivered.txt
            key: ${ACME_KEY:-hunter2}
"""

PROGRAM = """
import sys
from exporter_core import Pipeline
from exporter_core.discovery import installed

entry, built_in = [one for one in installed() if one.group == "exporter_core.exporters.v1"]
assert (entry.name, entry.distribution, entry.version) == ("acme", "acme-telemetry", "3.1.4"), entry
assert (built_in.name, built_in.distribution) == ("none", "exporter-core"), built_in
assert "acme_telemetry" not in sys.modules, "listing has imported the plugin"

with Pipeline.from_file("metrics.yaml") as pipeline:
    counter = pipeline.meter_provider.get_meter("shop").create_counter("orders")
    counter.add(2, {"kind": "book"})
    pipeline.flush(timeout=30)
    counter.add(1, {"kind": "book"})
"""


@pytest.mark.timeout(300)
def test_a_plugin_from_outside_is_chosen_by_name_in_a_config_file(
    root: Path, build, environment, tmp_path: Path
) -> None:
    plugin = tmp_path / "elsewhere" / "acme"
    (plugin / "acme_telemetry").mkdir(parents=True)
    (plugin / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    (plugin / "acme_telemetry" / "__init__.py").touch()
    (plugin / "acme_telemetry" / "exporter.py").write_text(PLUGIN, encoding="utf-8")
    environment.install(build(root), build(plugin))

    work = tmp_path / "work"
    work.mkdir()
    (work / "metrics.yaml").write_text(CONFIG, encoding="utf-8")
    program = work / "program.py"
    program.write_text(PROGRAM, encoding="utf-8")
    printed = environment.run(program)

    assert (work / "delivered.txt").read_text(encoding="utf-8").splitlines() == [
        "orders 2 {'kind': 'book'}",
        "orders 3 {'kind': 'book'}",
    ]
    assert "hunter2" not in printed
