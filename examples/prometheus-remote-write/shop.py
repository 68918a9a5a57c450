"""A shop that serves pretended requests, and counts and times them."""

import argparse
import random
import time
from pathlib import Path

from exporter_core import Pipeline

ROUTES = {"/": 0.02, "/search": 0.15, "/checkout": 0.4}  # with the seconds that each takes, mostly


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long it runs (default: 60)")
    seconds = parser.parse_args().seconds
    with Pipeline.from_file(Path(__file__).with_name("metrics.yaml")) as pipeline:
        meter = pipeline.meter_provider.get_meter("shop")
        requests = meter.create_counter("http.requests", "{request}", "Requests served.")
        bounds = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5]
        duration = meter.create_histogram(
            "http.request.duration", "s", "Time that requests take.", explicit_bucket_boundaries_advisory=bounds
        )
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            route = random.choices(list(ROUTES), weights=(6, 3, 1))[0]
            requests.add(1, {"http.route": route})
            duration.record(random.lognormvariate(0, 0.5) * ROUTES[route], {"http.route": route})
            time.sleep(0.01)


if __name__ == "__main__":
    main()
