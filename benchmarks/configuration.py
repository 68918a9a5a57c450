"""From a config file to the first export by OTLP over HTTP, beside the distribution opentelemetry-configuration.

Run: python benchmarks/configuration.py (or make bench). It measures processor time, so that it can be told on a machine
that does other things as well: of a whole new process up to its first export, imports included; and of reading the
file, building what it says, recording one measurement and exporting it, in a process that has done so before.
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
OURS, OFFICIAL = "exporter-core", "opentelemetry-configuration"


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


def delivered(is_delivered: bool) -> None:
    if not is_delivered:
        raise SystemExit("the sink did not get it")


def measure(side: str, path: str) -> None:
    """Measure in this new process, and print the times in seconds."""
    configure = exporter_core if side == OURS else opentelemetry_configuration
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
    found: dict[str, list[dict[str, float]]] = {OURS: [], OFFICIAL: []}
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
    rows = []
    for key, what, floor in (
        ("process", "a new process, up to its first export", None),
        ("again", "from the file to the first export, once imported", 3.0),
    ):
        ours, theirs = (statistics.median(result[key] for result in found[side]) * 1000 for side in (OURS, OFFICIAL))
        rows.append(Row(what, ours, "ms", OFFICIAL, theirs, theirs / ours, floor, at_least=True))
    return 0 if report("configuration", rows, as_json=options.json) else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(*sys.argv[2:])
    else:
        sys.exit(main())
