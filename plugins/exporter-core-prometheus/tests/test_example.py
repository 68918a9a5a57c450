"""The example in examples/prometheus-remote-write does what its page says."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.usefixtures("warm_python")

EXAMPLE = Path(__file__).parents[3] / "examples" / "prometheus-remote-write"


def run(program, *arguments, url, cwd):
    done = subprocess.run(
        [sys.executable, EXAMPLE / program, *arguments],
        env={**os.environ, "PROMETHEUS_URL": url, "INSTANCE": f"test-{os.getpid()}"},
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_program_writes_and_the_queries_show_its_routes(prometheus, tmp_path, with_more_time):
    url = f"http://127.0.0.1:{prometheus.port}"

    def attempt(seconds):
        """Run it so long: on a busy machine it serves few requests in that time, and a route may be without."""
        run("shop.py", "--seconds", str(seconds), url=url, cwd=tmp_path)
        shown = run("query.py", "--svg", "picture.svg", url=url, cwd=tmp_path)
        halves = shown.split("seconds that 95 of 100 requests take")
        routes = [set(re.findall(r"^  (/\w*) +\d+\.\d+$", half, re.MULTILINE)) for half in halves]
        return routes == [{"/", "/search", "/checkout"}] * 2

    with_more_time(attempt, 3.0)
    assert "<polyline" in (tmp_path / "picture.svg").read_text(encoding="utf-8")
    page = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    for query in re.findall(r"```promql\n(.*?)```", page, re.DOTALL):
        for one in query.split("\nhistogram_quantile"):
            prometheus.query(one if one.lstrip().startswith("sum") else f"histogram_quantile{one}")
