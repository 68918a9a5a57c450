"""A Flask application under ``opentelemetry-instrument`` with everything that its users install, not a line changed.

Flask's instrumentation pins the SDK, to another version than the one that the other tests run on.
"""

from __future__ import annotations

import json
import re

import pytest

APP = """
import flask

app = flask.Flask("shop")


@app.get("/orders/<int:number>")
def order(number):
    return "ok"


assert app.test_client().get("/orders/7").status_code == 200
"""

FILE = """file_format: "1.0"
resource: {attributes: [{name: service.name, value: shop}]}
tracer_provider: {processors: [{simple: {exporter: {console: }}}]}
meter_provider:
  readers: [{periodic: {exporter: {console: {format: json}}}}]
  views: [{selector: {instrument_name: "*"}, stream: {attribute_keys: {included: ["http.*"], excluded: [http.flavor]}}}]
"""

PROGRAM = """
import os
import subprocess
import sys
from pathlib import Path

folder = Path(sys.executable).parent
environ = {**os.environ, "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}", **ENVIRON}
command = [folder / "opentelemetry-instrument", "python", "app.py"]
ran = subprocess.run(command, env=environ, capture_output=True, text=True)
assert ran.returncode == 0, ran.stderr
assert ran.stderr in EXPECTED, ran.stderr
print(ran.stdout)
"""


@pytest.mark.nightly
@pytest.mark.timeout(300)
def test_flask_is_measured_without_a_line_of_code(build, environment, root, tmp_path):
    console = build(root / "plugins" / "exporter-core-console")
    environment.install(
        build(root),
        console,
        "flask",
        "opentelemetry-distro",
        "opentelemetry-instrumentation-flask",
        "opentelemetry-configuration",
        pinned=False,
    )
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "otel.yaml").write_text(FILE)
    # Which of the two comes first in the environment is not for us to say.
    not_loaded = [
        "Configuration of configurator not loaded because exporter_core is set by OTEL_PYTHON_CONFIGURATOR\n",
        "Configuration of configurator not loaded, exporter_core already loaded\n",
    ]
    chosen = {"OTEL_PYTHON_CONFIGURATOR": "exporter_core"}
    for environ in (
        {**chosen, "OTEL_CONFIG_FILE": "otel.yaml"},
        {
            **chosen,
            "OTEL_METRICS_EXPORTER": "console",
            "EXPORTER_CORE_CONSOLE_FORMAT": "json",
            "OTEL_TRACES_EXPORTER": "console",
            "OTEL_LOGS_EXPORTER": "none",
        },
    ):
        program = tmp_path / "program.py"
        program.write_text(PROGRAM.replace("ENVIRON", repr(environ)).replace("EXPECTED", repr(not_loaded)))
        printed = environment.run(program)
        points = [json.loads(line) for line in printed.splitlines() if line.startswith('{"time"')]
        durations = [point for point in points if re.match(r"http\.server.*duration", point["metric"])]
        assert durations, printed
        assert durations[0]["scope"]["name"] == "opentelemetry.instrumentation.flask"
        assert '"name": "GET /orders/<int:number>"' in printed  # the span
        if "OTEL_CONFIG_FILE" in environ:
            assert {key.partition(".")[0] for key in durations[0]["attributes"]} == {"http"}
            assert "http.flavor" not in durations[0]["attributes"]
