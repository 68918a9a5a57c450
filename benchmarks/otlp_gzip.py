"""The gzip of exporter_core.net, and its level: isal, zlib-ng and the standard library on requests as they are sent.

CPU milliseconds, the shortest of the rounds, and how many times smaller the result is. What is used is held to the size
and the time of zlib at its fastest.
"""

from __future__ import annotations

import gzip
import sys
import time
import zlib
from typing import TYPE_CHECKING

from _common import Row, arguments, report
from _metrics import from_sdk
from isal import igzip_lib
from zlib_ng import zlib_ng

from exporter_core.net import gzipped
from exporter_core.otlp import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable

GZIP = 31  # zlib's name for the format
LARGEST = 1.1
SLOWEST = 0.4


def candidates() -> dict[str, Callable[[bytes], bytes]]:
    found: dict[str, Callable[[bytes], bytes]] = {"what exporter_core.net uses": gzipped}
    for level in (0, 1, 2, 3):
        found[f"isal, level {level}"] = lambda data, level=level: igzip_lib.compress(
            data, level=level, flag=igzip_lib.COMP_GZIP
        )
    for level in (1, 2, 6):
        found[f"zlib-ng, level {level}"] = lambda data, level=level: zlib_ng.compress(data, level, GZIP)
    for level in (1, 2, 6, 9):
        found[f"zlib, level {level}"] = lambda data, level=level: zlib.compress(data, level, GZIP)
    return found


def main() -> int:
    options = arguments(__doc__, rounds=9).parse_args()
    rows: list[Row] = []
    for points, histograms in ((100, False), (10_000, False), (10_000, True)):
        request = Encoder().encode(from_sdk(points, histograms=histograms)()).data
        rows += compared(f"{points:,} {'histograms' if histograms else 'numbers'}", request, options.rounds)
    return 0 if report("otlp_gzip", rows, as_json=options.json, rounds=options.rounds) else 1


def compared(what: str, request: bytes, rounds: int) -> list[Row]:
    """A row for each library and level; the first two rows are held to something."""
    spent: dict[str, list[float]] = {}
    sizes: dict[str, int] = {}
    for _ in range(rounds):
        for name, compress in candidates().items():
            begun = time.process_time()
            result = compress(request)
            spent.setdefault(name, []).append((time.process_time() - begun) * 1000)
            sizes[name] = len(result)
            if gzip.decompress(result) != request:
                raise SystemExit(f"{name} does not give back what it was given")
    best = {name: min(values) for name, values in spent.items()}
    used, zlib_1 = "what exporter_core.net uses", "zlib, level 1"
    time_ratio, size_ratio = best[used] / best[zlib_1], sizes[used] / sizes[zlib_1]
    large = len(request) > 100_000  # below that, it is microseconds
    return [
        Row(f"{what}: CPU", best[used], "ms", zlib_1, best[zlib_1], time_ratio, SLOWEST if large else None),
        Row(f"{what}: size", sizes[used] / 1000, "kB", zlib_1, sizes[zlib_1] / 1000, size_ratio, LARGEST),
        *(
            Row(f"  {name}", best[name], "ms", note=f"{len(request) / sizes[name]:.1f} times smaller")
            for name in best
            if name != used
        ),
    ]


if __name__ == "__main__":
    sys.exit(main())
