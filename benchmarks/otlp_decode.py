"""The OTLP decoders, in every shape of metrics that programs have.

Nothing else decodes OTLP to the SDK's metrics data. The peers are the official encoder, which makes the same way in the
other direction, and for JSON the standard library's parser, which is the first step of ours. Each round encodes one
collection of a real provider, decodes it, and lets the peers work, in an order that rotates. A row gives the peer's
time as a multiple of ours, the slowest shape first; times are the processor's.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from typing import TYPE_CHECKING

from _common import Row, arguments, report
from _metrics import from_sdk
from _shapes import SHAPES, Program
from opentelemetry.exporter.otlp.proto.common.metrics_encoder import encode_metrics

from exporter_core.otlp import Encoder, JsonEncoder, decode, decode_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.metrics.export import MetricsData

SERIES = 10_000
# Three times as fast as a decoder that takes each field by itself, which needs about 2.1 times as long as the official
# encoder for numbers, and 2.4 times as long for histograms.
NUMBERS, HISTOGRAMS = 1.4, 1.25
# A decoder that parses all of the text and then reads each point needs 2 to 3 times as long as the parser alone.
JSON = 1.0


def main() -> int:
    options = arguments(__doc__, rounds=7).parse_args()
    rows: list[Row] = []
    for points, histograms, floor in (("number points", False, NUMBERS), ("histograms", True, HISTOGRAMS)):
        rows += compared(
            f"{SERIES:,} {points} of one metric", from_sdk(SERIES, histograms=histograms), options.rounds, floor
        )
    shapes: list[Row] = []
    for name, (make, _) in SHAPES.items():
        shapes += compared(name, collections(make()), options.rounds)
    rows += sorted(shapes, key=lambda row: row.figure or 0)
    return 0 if report("otlp_decode", rows, as_json=options.json) else 1


def collections(program: Program) -> Callable[[], MetricsData]:
    def collect() -> MetricsData:
        program.measure()
        return program.collect()

    return collect


def seconds(work: Callable[[], object]) -> float:
    gc.collect()
    begun = time.thread_time()
    work()
    return time.thread_time() - begun


def compared(what: str, collect: Callable[[], MetricsData], rounds: int, floor: float | None = None) -> Iterator[Row]:
    """A row for protobuf, one for JSON."""
    encoder, json_encoder = Encoder(), JsonEncoder()
    taken: list[dict[str, float]] = []
    for number in range(rounds + 1):
        metrics = collect()
        encoded, text = encoder.encode(metrics), json_encoder.encode(metrics).data
        works: list[tuple[str, Callable[[], object]]] = [
            ("peer", lambda metrics=metrics: encode_metrics(metrics).SerializeToString()),
            ("protobuf", lambda data=encoded.data: decode(data)),
            ("parser", lambda text=text: json.loads(text)),
            ("JSON", lambda text=text: decode_json(text)),
        ]
        shift = number % len(works)
        spent = {name: seconds(work) / encoded.points for name, work in works[shift:] + works[:shift]}
        if number:  # the first round warms up
            taken.append(spent)
    for name, peer, beside, bound in (
        ("protobuf", "peer", "the official encoder", floor),
        ("JSON", "parser", "json.loads", JSON if floor else None),
    ):
        mine, theirs = (statistics.median(one[key] for one in taken) for key in (name, peer))
        ratio = statistics.median(one[peer] / one[name] for one in taken)
        yield Row(f"{what}, {name}", mine * 1e6, "µs/point", beside, theirs * 1e6, ratio, bound, at_least=True)


if __name__ == "__main__":
    sys.exit(main())
