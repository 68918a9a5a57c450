"""The pull exporter in a pipeline: what it answers, and what becomes of it when things go wrong."""

import gzip
import http.client
import os
import socket
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest
from opentelemetry.metrics import Observation
from ports import free_port
from prometheus_client.parser import text_string_to_metric_families as parse

from exporter_core import ConfigError, ExporterError, Pipeline, SetupError

pytestmark = pytest.mark.usefixtures("warm_python")

GENEROUS_SECONDS = 30.0
PROTOBUF = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
OPENMETRICS = "application/openmetrics-text;version=1.0.0"


class Served:
    """A pipeline that is scraped."""

    def __init__(self, **options):
        self.reported = []
        reader = {"pull": {"exporter": {"prometheus": {"port": 0, **options}}}}
        config = {"file_format": "1.1", "meter_provider": {"readers": [reader]}}
        self.pipeline = Pipeline.from_config(config, error_handler=self.reported.append)
        self.meter = self.pipeline.meter_provider.get_meter("shop")

    @property
    def port(self):
        return int(self.pipeline.exporters[0].destination.location.split(":")[2].partition("/")[0])

    def ask(self, path="/metrics", method="GET", **headers):
        """Status, headers and body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=GENEROUS_SECONDS)
        connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        try:
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()

    def value(self, name):
        families = parse(self.ask()[2].decode())
        return [sample.value for family in families for sample in family.samples if sample.name == name]


@pytest.fixture
def serve():
    made = []

    def make(**options):
        made.append(Served(**options))
        return made[-1]

    yield make
    for one in made:
        one.pipeline.shutdown(GENEROUS_SECONDS)


class Gate:
    """A callback that waits until its gate is open."""

    def __init__(self):
        self.entered, self.open = threading.Event(), threading.Event()

    def __call__(self, _options):
        self.entered.set()
        assert self.open.wait(GENEROUS_SECONDS)
        return [Observation(1)]


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.open.set()


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith(("exporter-core-", "waitress")) and thread.name != "exporter-core-timer":
            thread.join(GENEROUS_SECONDS)
            assert not thread.is_alive(), thread.name


# --- answers ----------------------------------------------------------------------------------------------------------


def test_each_scrape_has_the_values_of_its_moment(serve):
    served = serve()
    orders = served.meter.create_counter("orders")
    for count in range(1, 4):
        orders.add(1, {"branch": "north"})
        assert served.value("orders_total") == [count]
    assert served.pipeline.stats()[0].collections == 3


def test_the_scraper_chooses_format_and_compression(serve):
    served = serve()
    level = served.meter.create_up_down_counter("level")
    for number in range(50):
        level.add(number, {"number": number})
    status, headers, plain = served.ask()
    assert (status, headers["Content-Type"]) == (200, "text/plain; version=0.0.4; charset=utf-8")
    status, headers, packed = served.ask(Accept=OPENMETRICS, Accept_Encoding="gzip")
    assert (status, headers["Content-Encoding"]) == (200, "gzip")
    assert headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert gzip.decompress(packed).endswith(b"# EOF\n")
    assert len(packed) < len(plain) / 3
    _, headers, _ = served.ask(
        Accept="application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
    )
    assert headers["Content-Type"].startswith("application/vnd.google.protobuf;")


def test_names_are_escaped_for_scrapers_that_know_no_others(serve):
    served = serve(translation_strategy="no_translation/development")
    served.meter.create_up_down_counter("room.level").add(1)
    assert b"\nroom_level{" in served.ask(Accept="text/plain")[2]
    status, headers, body = served.ask(Accept="text/plain;version=1.0.0;escaping=allow-utf-8")
    assert (status, headers["Content-Type"][-11:]) == (200, "allow-utf-8")
    assert b'\n{"room.level",' in body


def test_other_paths_and_methods_are_refused(serve):
    served = serve()
    assert served.ask("/")[0] == 404
    assert served.ask("/metrics?name=x")[0] == 200
    status, headers, _ = served.ask(method="POST")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    status, headers, body = served.ask(method="HEAD")
    assert (status, body) == (200, b"")


def test_options_are_those_of_the_schema(serve):
    served = serve(
        **{
            "host": "localhost",
            "scope_info_enabled": False,
            "target_info_enabled/development": False,
            "resource_constant_labels": {"included": ["telemetry.*"], "excluded": ["*.version"]},
            "translation_strategy": "underscore_escaping_without_suffixes/development",
        }
    )
    served.meter.create_counter("orders").add(1)
    lines = [line for line in served.ask()[2].decode().splitlines() if not line.startswith("#")]
    assert lines == ['orders{telemetry_sdk_language="python",telemetry_sdk_name="opentelemetry"} 1']


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"port": 65536}, "port"),
        ({"port": "80"}, "port"),
        ({"prot": 80}, "unknown option 'prot'; did you mean 'port'?"),
        ({"translation_strategy": "none"}, "translation_strategy"),
        ({"resource_constant_labels": {"include": ["x"]}}, "unknown option 'include'"),
    ],
)
def test_wrong_options_are_named(serve, options, message):
    with pytest.raises(ConfigError, match=message):
        serve(**options)


def test_null_stands_for_the_default(serve):
    served = serve(**{"host": None, "target_info_enabled/development": None, "resource_constant_labels": None})
    assert served.pipeline.exporters[0].destination.location.startswith("http://127.0.0.1:")


# --- many scrapes at once ---------------------------------------------------------------------------------------------


def test_scrapes_at_the_same_time_share_one_collection_and_its_answer(serve, gate):
    served = serve()
    served.meter.create_observable_gauge("slow", [gate])
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(served.ask())) for _ in range(6)]
    for thread in threads:
        thread.start()
    assert gate.entered.wait(GENEROUS_SECONDS)
    current = served.pipeline.readers[0]._scrapes._current
    while current.waiting < 6:
        threading.Event().wait(0.01)  # until the next look
    gate.open.set()
    for thread in threads:
        thread.join()
    assert {status for status, _, _ in answers} == {200}
    assert len({body for _, _, body in answers}) == 1
    assert served.pipeline.stats()[0].collections == 1


def test_a_scrape_ends_at_its_own_time_out_though_a_callback_hangs(serve, gate):
    served = serve()
    served.meter.create_observable_gauge("hung", [gate])
    for _ in range(2):
        status, _, body = served.ask(X_Prometheus_Scrape_Timeout_Seconds="0.2")
        assert status == 503
        assert b"the scrape timed out: the collection still runs" in body
        assert gate.entered.wait(GENEROUS_SECONDS)
    report = served.pipeline.flush(timeout=0.2)
    assert not report.ok
    gate.open.set()
    assert served.value("hung") == [1]


@pytest.mark.parametrize("header", ["nonsense", "nan", "-1", "0", "1e9", "inf"])
def test_a_time_out_that_is_none_is_that_of_prometheus(serve, header):
    assert serve().ask(X_Prometheus_Scrape_Timeout_Seconds=header)[0] == 200


# --- failures ---------------------------------------------------------------------------------------------------------


def test_a_callback_that_fails_is_told_to_the_scraper_and_the_next_scrape_is_well(serve):
    served = serve()
    outcomes = [SystemExit("away"), [Observation(7)]]

    def observe(_options):
        outcome = outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    served.meter.create_observable_gauge("level", [observe])
    status, _, body = served.ask()
    assert status == 503
    assert b"reader '0:prometheus': collect failed: SystemExit: away" in body
    assert served.value("level") == [7]
    assert served.reported == []


def test_metrics_that_cannot_be_exposed_are_reported_once_and_the_rest_is_there(serve):
    served = serve()
    served.meter.create_counter("jobs").add(1)
    served.meter.create_gauge("jobs_total").set(2)
    for _ in range(3):
        assert served.value("jobs_total") == [1]
    (error,) = served.reported
    assert isinstance(error, ExporterError)
    assert "left out: jobs_total (1 point): its name in Prometheus, jobs_total (gauge), collides with" in str(error)


def test_a_port_that_is_taken_is_one_line_with_place_and_way_out(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        file = tmp_path / "metrics.yaml"
        file.write_text(
            'file_format: "1.1"\nmeter_provider:\n  readers:\n    - pull:\n        exporter:\n'
            f"          prometheus/development: {{port: {port}}}\n"
        )
        with pytest.raises(SetupError) as caught:
            Pipeline.from_file(file)
    assert str(caught.value) == (
        f"{file}:6:11: exporter 'prometheus/development' (exporter-core-prometheus 1.0.0) cannot be built: port {port} "
        "of 127.0.0.1 is taken by another process: set another port; each process needs one of its own"
    )


def test_a_host_that_is_not_this_machine_is_one_line(serve):
    with pytest.raises(SetupError, match=r"cannot serve on port 0 of 192\.0\.2\.1"):
        serve(host="192.0.2.1")
    with pytest.raises(SetupError, match=r"no\.such\.host\.invalid. is no address of this machine"):
        serve(host="no.such.host.invalid")


def test_shutdown_answers_what_was_asked_and_frees_the_port(serve, gate):
    served = serve()
    port = served.port
    served.meter.create_observable_gauge("slow", [gate])
    answers = []
    scraping = threading.Thread(target=lambda: answers.append(served.ask()))
    scraping.start()
    assert gate.entered.wait(GENEROUS_SECONDS)
    reports = []
    ending = threading.Thread(target=lambda: reports.append(served.pipeline.shutdown(GENEROUS_SECONDS)))
    ending.start()
    gate.open.set()
    scraping.join()
    ending.join()
    assert reports[0].ok
    assert answers[0][0] == 200
    with socket.create_server(("127.0.0.1", port)):
        pass


def test_shutdown_is_on_time_with_clients_that_hold_connections_and_a_hung_callback(serve, gate):
    served = serve()
    served.meter.create_observable_gauge("hung", [gate])
    with socket.create_connection(("127.0.0.1", served.port)) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        assert gate.entered.wait(GENEROUS_SECONDS)
        report = served.pipeline.shutdown(1.0)
        assert not report.ok
        client.settimeout(GENEROUS_SECONDS)
        while client.recv(4096):  # closed in the end
            pass
    gate.open.set()


# --- forks ------------------------------------------------------------------------------------------------------------

BEGINNING = """
import http.client, os, sys, time
from exporter_core import Pipeline

errors = []
reader = {"pull": {"exporter": {"prometheus": {"port": int(sys.argv[1])}}}}
config = {"file_format": "1.1", "meter_provider": {"readers": [reader]}}
pipeline = Pipeline.from_config(config, error_handler=errors.append)
counter = pipeline.meter_provider.get_meter("m").create_counter("jobs")


def port():
    return int(pipeline.exporters[0].destination.location.split(":")[2].partition("/")[0])


def scrape():
    connection = http.client.HTTPConnection("127.0.0.1", port(), timeout=20)
    connection.request("GET", "/metrics")
    return connection.getresponse().read().decode()


def holds(port):
    listening = f"{port:04X} 00000000:0000 0A"
    inodes = {line.split()[9] for line in open("/proc/self/net/tcp") if listening in line}
    mine = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
    return any(name.endswith(f"socket:[{inode}]") for name in mine for inode in inodes)


def until(condition):
    while not condition():
        time.sleep(0.01)


def child_ended_well(child):
    assert os.waitpid(child, 0)[1] == 0


parents = port()
assert holds(parents)
counter.add(1)
"""


def run(code, port=0):
    """Run a program; a hang is a failure."""
    command = [sys.executable, "-c", BEGINNING + textwrap.dedent(code), str(port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


needs_proc = pytest.mark.skipif(not Path("/proc/self/net/tcp").exists(), reason="looks at Linux's /proc")


@needs_proc
def test_a_forked_child_lets_go_of_its_parents_socket_and_serves_on_a_free_port_of_its_own():
    run(
        """
        child = os.fork()
        if child == 0:
            assert not holds(parents)
            counter.add(5)
            until(lambda: pipeline.exporters[0].state == "active")
            assert port() != parents
            assert 'jobs_total{otel_scope_name="m"} 5' in scrape()
            assert pipeline.shutdown(20).ok and not errors
            os._exit(0)
        child_ended_well(child)
        assert 'jobs_total{otel_scope_name="m"} 1' in scrape()
        assert pipeline.shutdown(20).ok and not errors
        """
    )


@needs_proc
def test_a_forked_child_whose_port_is_its_parents_says_so_once():
    port = free_port()
    out = run(
        """
        child = os.fork()
        if child == 0:
            counter.add(5)
            until(lambda: errors)
            assert not holds(parents)
            pipeline.shutdown(20)
            print(*errors, sep="\\n", flush=True)
            os._exit(0)
        child_ended_well(child)
        assert 'jobs_total{otel_scope_name="m"} 1' in scrape()
        """,
        port,
    )
    (line,) = out.splitlines()
    assert line.startswith("reader '0:prometheus': start: this forked process serves nothing: ")
    assert line.endswith(
        f"port {port} of 127.0.0.1 is taken by another process: set another port; each process needs one of its own"
    )


@needs_proc
def test_a_daemon_takes_its_parents_port_over():
    port = free_port()
    reading, writing = os.pipe()
    os.set_inheritable(writing, True)
    code = f"""
        if os.fork():
            os._exit(0)
        counter.add(5)
        until(lambda: pipeline.exporters[0].state == "active")
        answer = 'jobs_total{{otel_scope_name="m"}} 5' in scrape()
        pipeline.shutdown(20)
        os.write({writing}, b"well" if answer and not errors else b"not well")
        """
    command = [sys.executable, "-c", BEGINNING + textwrap.dedent(code), str(port)]
    subprocess.run(command, timeout=100, check=True, pass_fds=[writing])
    os.close(writing)
    with open(reading, "rb") as pipe:  # noqa: PTH123 - a file descriptor
        assert pipe.read() == b"well"
