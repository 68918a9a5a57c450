"""From a config file to the first export by OTLP over HTTP, beside the distribution opentelemetry-configuration.

Run: python benchmarks/configuration.py (or make bench). It measures processor time, so that it can be told on a machine
that does other things as well: of a whole new process up to its first export, imports included; the same without what
every program that measures takes, the interpreter's start and the import of the SDK; and of reading the file, building
what it says, recording one measurement and exporting it, in a process that has done so before.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from _common import Row, arguments, report
from _otlp_sink import sink

if TYPE_CHECKING:
    from collections.abc import Callable

FILE = """file_format: "1.0"
resource:
  attributes: [{{name: service.name, value: checkout}}]
meter_provider:
  readers:
    - periodic:
        interval: 3600000
        exporter:
          otlp_http: {{endpoint: "http://127.0.0.1:{port}/v1/metrics"}}
"""
REPEATS = 5
OURS, OFFICIAL, SDK, PYDANTIC = "exporter-core", "opentelemetry-configuration", "opentelemetry-sdk", "pydantic"


def exporter_core(path: str) -> Callable[[], object]:
    from exporter_core import Pipeline  # noqa: PLC0415 - importing is part of it

    pipeline = Pipeline.from_file(path)
    pipeline.meter_provider.get_meter("benchmark").create_counter("orders").add(1)
    delivered(pipeline.flush().ok)
    return pipeline.shutdown


def opentelemetry_configuration(path: str) -> Callable[[], object]:
    from opentelemetry import metrics  # noqa: PLC0415 - see above
    from opentelemetry.configuration import configure_sdk, load_config_file  # noqa: PLC0415

    made = []
    metrics.set_meter_provider = made.append  # the global one can be set once
    configure_sdk(load_config_file(path))
    made[0].get_meter("benchmark").create_counter("orders").add(1)
    delivered(made[0].force_flush())
    return made[0].shutdown


def opentelemetry_sdk(path: str) -> Callable[[], object]:  # noqa: ARG001 - as the others
    """Record one measurement without a file and an exporter: what both sides cannot do without."""
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 - see above
    from opentelemetry.sdk.metrics.export import InMemoryMetricReader  # noqa: PLC0415
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415

    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], resource=Resource({"service.name": "checkout"}))
    provider.get_meter("benchmark").create_counter("orders").add(1)
    delivered(reader.get_metrics_data() is not None)
    return provider.shutdown


def sdk_and_pydantic(path: str) -> Callable[[], object]:
    """Validate one option too: what no exporter with options can do without here."""
    from pydantic import BaseModel  # noqa: PLC0415 - see above

    class Options(BaseModel):
        endpoint: str

    Options.model_validate({"endpoint": path})
    return opentelemetry_sdk(path)


def delivered(is_delivered: bool) -> None:
    if not is_delivered:
        raise SystemExit("the sink did not get it")


SIDES = {OURS: exporter_core, OFFICIAL: opentelemetry_configuration, SDK: opentelemetry_sdk, PYDANTIC: sdk_and_pydantic}


def measure(side: str, path: str) -> None:
    """Measure in this new process, and print the times in seconds."""
    configure = SIDES[side]
    configure(path)()
    process = time.process_time()
    times = []
    for _ in range(REPEATS):
        started = time.process_time()
        end = configure(path)
        times.append(time.process_time() - started)
        end()
    print(json.dumps({"process": process, "again": statistics.median(times)}))


def main() -> int:
    """Run both in new processes, turn by turn; return 1 if a bound is missed."""
    options = arguments(__doc__, rounds=7, of="processes of each side").parse_args()
    found: dict[str, list[dict[str, float]]] = {side: [] for side in SIDES}
    environ = {name: text for name, text in os.environ.items() if not name.startswith("OTEL_")}
    environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with TemporaryDirectory() as folder, sink("http") as port:
        path = Path(folder, "otel.yaml")
        path.write_text(FILE.format(port=port), encoding="utf-8")
        for number in range(options.rounds + 1):
            for side, results in found.items():
                command = [sys.executable, __file__, "--measure", side, str(path)]
                ran = subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True, check=True)
                if number:  # the first one writes byte code
                    results.append(json.loads(ran.stdout))
    process, again = (
        {side: statistics.median(result[key] for result in results) * 1000 for side, results in found.items()}
        for key in ("process", "again")
    )

    def row(what: str, ours: float, theirs: float, *, floor: float | None = None) -> Row:
        return Row(what, ours, "ms", OFFICIAL, theirs, theirs / ours, floor, at_least=True)

    above = {side: process[side] - process[SDK] for side in (OURS, OFFICIAL)}
    rows = [
        row("a new process, up to its first export", process[OURS], process[OFFICIAL]),
        row("the same, without the interpreter and the SDK", above[OURS], above[OFFICIAL]),
        Row("the interpreter, the SDK, and pydantic with one option", process[PYDANTIC], "ms"),
        row("from the file to the first export, once imported", again[OURS], again[OFFICIAL], floor=3.0),
    ]
    return 0 if report("configuration", rows, as_json=options.json) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(*sys.argv[2:])
    else:
        sys.exit(main())
