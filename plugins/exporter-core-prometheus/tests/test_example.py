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


def test_the_program_writes_and_the_queries_show_its_routes(prometheus, tmp_path):
    url = f"http://127.0.0.1:{prometheus.port}"
    run("shop.py", "--seconds", "3", url=url, cwd=tmp_path)
    shown = run("query.py", "--svg", "picture.svg", url=url, cwd=tmp_path)
    rates, quantiles = shown.split("seconds that 95 of 100 requests take")
    assert set(re.findall(r"^  (/\w*) +\d+\.\d+$", rates, re.MULTILINE)) == {"/", "/search", "/checkout"}
    assert set(re.findall(r"^  (/\w*) +\d+\.\d+$", quantiles, re.MULTILINE)) == {"/", "/search", "/checkout"}
    assert "<polyline" in (tmp_path / "picture.svg").read_text(encoding="utf-8")
    page = (EXAMPLE / "README.md").read_text(encoding="utf-8")
    for query in re.findall(r"```promql\n(.*?)```", page, re.DOTALL):
        for one in query.split("\nhistogram_quantile"):
            prometheus.query(one if one.lstrip().startswith("sum") else f"histogram_quantile{one}")
