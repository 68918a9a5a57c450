"""The files of docs/in-your-service.md are what its servers, and the programs around them, take."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from exporter_core.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "in-your-service.md").read_text(encoding="utf-8")
SERVERS = PAGE.partition("## uvicorn\n")[0]
FILES = {name: text for text, name in re.findall(r"^```(?:\w+)\n(# (\S+)\n.*?)^```", SERVERS, re.MULTILINE | re.DOTALL)}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with the page's files, and this environment's programs on the PATH."""
    for name, text in FILES.items():
        tmp_path.joinpath(name).write_text(text, encoding="utf-8")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv("OTLP_ENDPOINT", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def instructions(dockerfile):
    """The instructions of a Dockerfile with their arguments, in order."""
    return [line.split(maxsplit=1) for line in dockerfile.splitlines()[1:]]


def test_the_page_has_a_file_for_each_server():
    assert set(FILES) == {
        "service.py", "metrics.yaml", "gunicorn.conf.py", "uwsgi.ini", "tasks.py", "Dockerfile", "shop.service"
    }  # fmt: skip


@pytest.mark.usefixtures("folder")
def test_the_config_file_is_valid_and_so_are_the_commands_that_check_it(capsys):
    assert main(["validate", "metrics.yaml"]) == 0
    assert tuple(capsys.readouterr()) == ("metrics.yaml: fine, 1 reader: 0:otlp_http\n", "")
    validate = ["exporter-core", "validate", "metrics.yaml"]
    assert ["RUN", json.dumps(validate)] in instructions(FILES["Dockerfile"])
    assert shlex.split(unit()["Service"]["ExecStartPre"]) == [f"/srv/shop/.venv/bin/{validate[0]}", *validate[1:]]


@pytest.mark.usefixtures("folder")
def test_the_application_and_the_tasks_record_and_deliver(serve):
    """Both in a process of their own, as the servers import them."""
    os.environ["OTLP_ENDPOINT"] = f"http://127.0.0.1:{serve().port}/v1/metrics"
    try:
        said = run(
            sys.executable,
            "-c",
            "import service, tasks\n"
            "print(service.application({}, lambda status, headers: None))\n"
            "tasks.charge('north')\n"
            "for one in (service, tasks):\n"
            "    report = one.pipeline.shutdown()\n"
            "    print(report.ok, report.readers[0].points_accepted)\n",
        )
    finally:
        del os.environ["OTLP_ENDPOINT"]
    assert said == "[b'ok']\nTrue 1\nTrue 1\n"


@pytest.mark.usefixtures("folder")
def test_gunicorn_takes_its_file_and_the_commands_of_docker_and_systemd():
    docker = json.loads(dict(instructions(FILES["Dockerfile"]))["CMD"])
    systemd = shlex.split(unit()["Service"]["ExecStart"])
    assert [docker[0], docker[-1]] == [Path(systemd[0]).name, systemd[-1]] == ["gunicorn", "service:application"]
    settings = run(*docker[:-1], "--print-config", docker[-1])
    assert re.search(r"^graceful_timeout += 8$", settings, re.MULTILINE), "the command goes before the file"
    assert set(docker[1:-1:2]) == set(systemd[1:-1:2]), "which gunicorn has taken"
    (graceful,) = re.findall(r"^graceful_timeout = (\d+)", FILES["gunicorn.conf.py"], re.MULTILINE)
    assert int(graceful) > 5, "more than the shutdown_timeout of service.py"
    assert "shutdown_timeout=5" in FILES["service.py"]


def test_uwsgi_knows_every_option_of_its_file():
    file = configparser.ConfigParser()
    file.read_string(FILES["uwsgi.ini"])
    known = run(str(Path(sys.executable).with_name("uwsgi")), "--help")
    for option in file["uwsgi"]:
        assert re.search(rf"^ +(-.\|)?--{re.escape(option)}\b", known, re.MULTILINE), option


def unit():
    """The page's systemd unit."""
    file = configparser.ConfigParser(interpolation=None)
    file.optionxform = str
    file.read_string(FILES["shop.service"])
    return file


def test_the_unit_is_one_that_systemd_takes(folder):
    service = unit()["Service"]
    assert int(service["TimeoutStopSec"]) > 10, "more than gunicorn's graceful time-out"
    if shutil.which("systemd-analyze") is None:
        return
    text = FILES["shop.service"].replace("/srv/shop/.venv", sys.prefix).replace("/srv/shop", str(folder))
    folder.joinpath("shop.service").write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(folder / "shop.service")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "shop.service" not in done.stderr, done.stderr
