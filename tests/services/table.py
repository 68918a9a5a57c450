"""Print what each server delivers to each kind of backend; end with 1 unless every row holds. See ``make services``."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import rig

from exporter_core.conformance.sinks import OtlpHttpSink

BACKENDS = {"healthy": "ok", "hung": "hang", "refusing": "refuse"}
INTERVALS = (60_000, 200)  # milliseconds


def say(line: str) -> None:
    """Print a row at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(services: list[str]) -> int:
    """Run the services with these names, all of them by default; return the exit status."""
    say(f"{'server':40} {'backend':9} {'interval':>8} {'recorded':>9} {'delivered':>9} {'reported':>8} {'exit s':>6}")
    failed = 0
    for service in services or rig.SERVICES:
        for backend, fault in BACKENDS.items():
            for interval in INTERVALS:
                with OtlpHttpSink() as sink, tempfile.TemporaryDirectory() as folder:
                    sink.script(then=fault)
                    options = {"endpoint": sink.endpoint, "temporality_preference": "delta"}
                    outcome = rig.run(service, rig.Setup(Path(folder), "otlp_http", options, interval=interval))
                    outcome.delivered = [str(point.attributes["number"]) for point in sink.points()]
                row = f"{service:40} {backend:9} {interval:8} {len(outcome.recorded):9} {len(outcome.delivered):9}"
                say(f"{row} {outcome.reported:8} {outcome.exit_seconds:6.1f} {'' if outcome.holds else 'LOST'}")
                failed += not outcome.holds
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
