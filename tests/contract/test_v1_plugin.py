"""A plugin written against contract v1 and never edited works with this core."""

from __future__ import annotations

import hashlib
import tomllib
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

# Of the example as it was when contract v1 was frozen. It is not renewed: a core that needs another example has broken
# the contract.
FROZEN = "5409002404bb3adac5e1a0b70cf488049eaa6b0add70c20601039d10cacb5f88"

FILES = ("pyproject.toml", "exporter_core_v1_example/__init__.py", "exporter_core_v1_example/py.typed")

METRICS = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import AggregationTemporality, InMemoryMetricReader
from exporter_core import Context, InstrumentKind

reader = InMemoryMetricReader()
provider = MeterProvider([reader], shutdown_on_exit=False)
counter = provider.get_meter("test").create_counter("requests")
counter.add(1, {"code": 200})
counter.add(2, {"code": 404})
metrics = reader.get_metrics_data()
soon = lambda: Context.with_timeout(30)
"""

BY_PLUGGY_ALONE = """
import asyncio, inspect, pluggy
from exporter_core.contract import OPERATIONS, ExporterSpec
from exporter_core_v1_example import AsyncExporter, SyncExporter, V1Config

class ByName(pluggy.PluginManager):
    def parse_hookimpl_opts(self, plugin, name):
        return super().parse_hookimpl_opts(plugin, name) or ({} if name in OPERATIONS else None)

for make in SyncExporter, AsyncExporter:
    assert make.config_model is V1Config
    manager = ByName("exporter_core")
    manager.add_hookspecs(ExporterSpec)
    manager.register(make(V1Config(path="delivered")))
    manager.check_pending()
    for kind in InstrumentKind:
        assert isinstance(manager.hook.temporality(instrument_kind=kind), AggregationTemporality)
        assert manager.hook.aggregation(instrument_kind=kind) is not None
    for hook, arguments in [
        (manager.hook.export, {"context": soon(), "metrics": metrics}),
        (manager.hook.force_flush, {"context": soon()}),
        (manager.hook.shutdown, {"context": soon()}),
    ]:
        result = hook(**arguments)
        assert result is None or asyncio.run(result) is None
print(Path("delivered").read_text())
"""

BY_NAME_BEHIND_THE_GUARD = """
from exporter_core import ExporterShutdownError, PartialSuccessError, load_exporter

assert load_exporter("v1_sync", {"path": "unused"}).temporality(InstrumentKind.COUNTER) is AggregationTemporality.DELTA
for name in "v1_sync", "v1_async":
    with load_exporter(name, {"path": "delivered"}) as exporter:
        exporter.export(soon(), metrics)
        exporter.force_flush(soon())
    for call in lambda: exporter.export(soon(), metrics), lambda: exporter.shutdown(soon()):
        try:
            call()
        except ExporterShutdownError as error:
            assert error.exporter == name, error.exporter
        else:
            raise SystemExit(f"{name} did something after shutdown")
with load_exporter("v1_sync", {"path": "delivered", "refuse": 2}) as exporter:
    try:
        exporter.export(soon(), metrics)
    except PartialSuccessError as error:
        assert error.rejected_points == 2
    else:
        raise SystemExit("a refusal was lost")
print(Path("delivered").read_text())
"""


@pytest.fixture
def installed(here: Path, tmp_path: Path) -> Path:
    """A site directory in which the example is installed."""
    project = tomllib.loads((here / "v1_plugin" / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = tmp_path / "site" / "exporter_core_v1_example-1.0.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n", encoding="utf-8"
    )
    ((group, exporters),) = project["entry-points"].items()
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in exporters.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    package = here / "v1_plugin" / "exporter_core_v1_example"
    (metadata.parent / package.name).symlink_to(package, target_is_directory=True)
    return metadata.parent


def test_the_example_was_never_edited(here: Path) -> None:
    digest = hashlib.sha256()
    for name in FILES:
        digest.update(name.encode() + b"\0" + (here / "v1_plugin" / name).read_bytes() + b"\0")
    assert digest.hexdigest() == FROZEN
    found = {
        str(path.relative_to(here / "v1_plugin"))
        for path in (here / "v1_plugin").rglob("*")
        if path.is_file() and not {"__pycache__", ".mypy_cache"} & set(path.parts)
    }
    assert found == set(FILES)


def test_pluggy_finds_and_calls_every_operation_of_the_example(run_python, installed: Path) -> None:
    printed = run_python(METRICS + BY_PLUGGY_ALONE, str(installed))
    assert printed.split("\n")[:2] == ["2 points, True", "2 points, True"]


def test_the_example_is_selected_by_name_and_run_behind_the_guard(run_python, installed: Path) -> None:
    printed = run_python(METRICS + BY_NAME_BEHIND_THE_GUARD, str(installed))
    assert printed.split("\n")[:3] == ["2 points, True"] * 3
