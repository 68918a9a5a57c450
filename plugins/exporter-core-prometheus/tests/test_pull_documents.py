"""What the pages say about being scraped is true: the table of options, and the hook for gunicorn's workers."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen

from exporter_core_prometheus import PrometheusConfig
from ports import free_port

from exporter_core.option_table import option_table

ROOT = Path(__file__).parents[3]
README = Path(__file__).parents[1] / "README.md"
GENEROUS_SECONDS = 60.0


def test_the_table_of_options_is_the_one_of_the_config_model():
    assert option_table(PrometheusConfig) in README.read_text(encoding="utf-8"), "print it with the command above it"


def scraped(port):
    with contextlib.suppress(OSError), urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.read().decode()
    return ""


def until(condition):
    deadline = time.monotonic() + GENEROUS_SECONDS
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.05)  # until the next look
    return found


def test_each_worker_of_gunicorn_has_a_port_of_its_own_and_its_successor_takes_it(tmp_path):
    page = (ROOT / "docs" / "in-your-service.md").read_text(encoding="utf-8")
    (file,) = re.findall(r"```yaml\n# pulled\.yaml\n(.*?)```", page, re.DOTALL)
    (hook,) = re.findall(r"```python\n# gunicorn_ports\.py\n(.*?)```", page, re.DOTALL)
    (service,) = re.findall(r"```python\n# service\.py\n(.*?)```", page, re.DOTALL)
    port, first = free_port(), free_port(2)
    (tmp_path / "metrics.yaml").write_text(file)
    (tmp_path / "gunicorn_ports.py").write_text(hook.replace("9464", str(first)))
    service = service.replace("requests.add(1)", "requests.add(1, {'pid': __import__('os').getpid()})")
    (tmp_path / "service.py").write_text(service)
    command = [sys.executable, "-m", "gunicorn", "-w", "2", "-b", f"127.0.0.1:{port}", "-c", "python:gunicorn_ports"]
    with (tmp_path / "log").open("wb") as log:
        server = subprocess.Popen([*command, "service:application"], cwd=tmp_path, stdout=log, stderr=log)
    try:
        until(lambda: all(map(_serves, (first, first + 1))))
        pids = until(lambda: _pids_after_requests(port, first))
        assert len(set(pids)) == 2
        os.kill(pids[0], signal.SIGKILL)
        found = until(lambda: [now for now in [_pids_after_requests(port, first)] if now and now[0] != pids[0]])[0]
        assert found[1] == pids[1]
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(GENEROUS_SECONDS)


def _serves(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False


def _pids_after_requests(port, first):
    """The process of each port, once each has had a request; None before."""
    with contextlib.suppress(OSError):
        for _ in range(4):
            urlopen(f"http://127.0.0.1:{port}/", timeout=10).read()
    found = [re.findall(r'requests_total\{.*pid="(\d+)"', scraped(at)) for at in (first, first + 1)]
    return [int(pids[0]) for pids in found] if all(found) else None
