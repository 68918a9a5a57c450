"""Ask Prometheus for the shop's requests a second and the time that 95 of 100 take; draw both with --svg FILE."""

import argparse
import json
import os
import time
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

PROMETHEUS = os.environ.get("PROMETHEUS_URL", "http://localhost:9090")
RATE = "sum by (http_route) (rate(http_requests_total[15s]))"
SLOWEST = "histogram_quantile(0.95, sum by (http_route, le) (rate(http_request_duration_seconds_bucket[15s])))"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--svg", type=Path, help="the picture to draw")
    svg = parser.parse_args().svg
    queries = {"requests a second": RATE, "seconds that 95 of 100 requests take": SLOWEST}
    for title, query in queries.items():
        print(f"{title}: {query}")
        for route, points in ranges(query).items():
            print(f"  {route:<12}{points[-1][1]:8.3f}")
    if svg is not None:
        svg.write_text(picture({title: ranges(query) for title, query in queries.items()}), encoding="utf-8")


def ranges(query: str) -> dict[str, list[tuple[float, float]]]:
    """The last two minutes of each route: times and values."""
    now = time.time()
    asked = urlencode({"query": query, "start": now - 120, "end": now, "step": 1})
    try:
        with urlopen(f"{PROMETHEUS}/api/v1/query_range?{asked}", timeout=10) as answer:
            found = json.load(answer)["data"]["result"]
    except URLError as error:
        raise SystemExit(
            f"{PROMETHEUS} does not answer: {error.reason}; start Prometheus, or set PROMETHEUS_URL"
        ) from None
    series: dict[str, list[tuple[float, float]]] = {}
    for one in found:
        points = [(at - now, float(value)) for at, value in one["values"] if value != "NaN"]
        if points:
            series[one["metric"]["http_route"]] = points
    if not series:
        raise SystemExit("no requests in the last two minutes: run shop.py, for at least 15 seconds")
    return series


def picture(charts: dict[str, dict[str, list[tuple[float, float]]]]) -> str:
    """The charts, one below the other, as SVG."""
    height, width = 190, 720
    lines = [
        '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif"',
        f'viewBox="0 0 {width} {height * len(charts)}">',
        f'<rect width="{width}" height="{height * len(charts)}" fill="#ffffff"/>',
    ]
    for number, (title, series) in enumerate(charts.items()):
        top = number * height
        most = max(value for points in series.values() for _, value in points)
        first = min(at for points in series.values() for at, _ in points)
        lines.append(f'<text x="20" y="{top + 22}" font-size="14" fill="#24292f">{title}</text>')
        for part in (0, 0.5, 1):
            y = top + 160 - 115 * part
            lines.append(f'<path d="M60 {y}H590" stroke="#d0d7de"/>')
            label = f'<text x="52" y="{y + 4}" font-size="11" fill="#57606a" text-anchor="end">'
            lines.append(f"{label}{most * part:.3g}</text>")
        for colour, (route, points) in zip(COLOURS, series.items(), strict=False):
            places = [(60 + 530 * (1 - at / first), top + 160 - 115 * value / most) for at, value in points]
            path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
            lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
            x, y = places[-1]
            lines.append(f'<text x="{x + 8:.1f}" y="{y + 4:.1f}" font-size="12" fill="{colour}">{route}</text>')
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    main()
