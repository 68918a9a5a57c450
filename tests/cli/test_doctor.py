"""``exporter-core doctor``: one page, masked, bounded in time."""

from __future__ import annotations

import json
import socket

import pytest

from exporter_core.cli import inspection
from exporter_core.discovery import PluginEntry

FILE = """\
file_format: "1.1"
resource: {attributes: [{name: service.name, value: shop}]}
meter_provider:
  readers:
    - periodic: {exporter: {otlp_http: {endpoint: "http://127.0.0.1:%d/v1/metrics"}}}
    - periodic: {exporter: {otlp_http: {endpoint: "http://127.0.0.1:%d/v1/metrics"}}}
    - periodic: {exporter: {otlp_grpc: {endpoint: "https://me.invalid:%d"}}}
    - periodic: {exporter: {none: }}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, an environment without the variables of the machine, and no plugin imported in a child."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for name in (
        "OTEL_RESOURCE_ATTRIBUTES",
        "OTEL_CONFIG_FILE",
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "grpc_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setattr(inspection, "check_all", lambda entries, **_: [result(entry) for entry in entries])
    return folder


def result(entry: PluginEntry) -> inspection.CheckResult:
    """The outcome of importing an exporter: those called broken are."""
    if entry.name == "broken":
        return inspection.CheckResult(entry, "importing it crashed the process (SIGSEGV)", "", 0.1, place="made.py:3")
    return inspection.CheckResult(entry, None, "", 0.1)


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def refusing():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        yield unused.getsockname()[1]


def test_the_page_says_what_is_installed_configured_and_reachable(cli, folder, listening, refusing, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=s3cret,x=1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://me:s3cret@collector:4318")
    monkeypatch.setenv("EXPORTER_CORE_SQLITE_TOKEN", "s3cret")
    folder.joinpath("metrics.yaml").write_text(FILE % (listening, refusing, refusing))
    folder.joinpath("other.yaml").write_text("services: {}\n")
    folder.joinpath("wrong.yml").write_text('file_format: "1.1"\nmeter_provider: {raeders: []}\n')
    code, page, err = cli("doctor", "--timeout", "20")
    assert code == 1
    assert err == ""
    assert "s3cret" not in page
    for line in (
        "  otlp_http (exporter-core-otlp 1.0.0) ok",
        "  OTEL_EXPORTER_OTLP_ENDPOINT=http://***@collector:4318",
        "  OTEL_EXPORTER_OTLP_HEADERS=api-key=***,x=***",
        "  EXPORTER_CORE_SQLITE_TOKEN=***",
        "  metrics.yaml: valid, readers 0:otlp_http, 1:otlp_http, 2:otlp_grpc, 3:none",
        "  wrong.yml: NOT VALID",
        f"  1:otlp_http: http://127.0.0.1:{refusing}/v1/metrics: NOT REACHED: cannot connect: Connection refused",
        "  3:none: no known address: no server to connect to; probe tries it",
        "3 problems found",
    ):
        assert f"\n{line}\n" in page, page
    assert "wrong.yml:2:18: meter_provider: unknown key 'raeders'; did you mean 'readers'?" in page
    assert f"\n  0:otlp_http: http://127.0.0.1:{listening}/v1/metrics: connected in " in page
    assert f"\n  2:otlp_grpc: https://me.invalid:{refusing}: NOT REACHED: the host is not found: " in page
    assert "service.instance.id is random, new in each process: a restart begins every series" in page
    assert "other.yaml" not in page


def test_a_server_that_never_answers_is_given_up(cli, folder, listening):
    file = folder / "mine.conf"
    endpoint = f"https://127.0.0.1:{listening}/v1/metrics"
    file.write_text(
        FILE.partition("    - ")[0] + f"    - periodic: {{exporter: {{otlp_http: {{endpoint: '{endpoint}'}}}}}}\n"
    )
    code, page, _ = cli("doctor", "mine.conf", "--timeout", "0.05", "--json")
    (backend,) = json.loads(page)["backends"]
    assert code == 1
    assert (backend["connected"], backend["error"]) == (False, "the context's deadline has passed")
    code, page, _ = cli("doctor", "mine.conf", "--offline")
    assert code == 0
    assert "\n  none looked at\n\nNo problem found\n" in page


@pytest.mark.parametrize(
    ("attribute", "variable"), [("{name: service.instance.id, value: one}", ""), ("", "service.instance.id=one")]
)
def test_what_a_restart_costs_depends_on_the_instance(cli, folder, monkeypatch, attribute, variable):
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", variable)
    resource = f"resource: {{attributes: [{attribute}]}}\n" if attribute else ""
    readers = "meter_provider: {readers: [periodic: {exporter: {none: }}]}\n"
    folder.joinpath("metrics.yaml").write_text(f'file_format: "1.1"\n{resource}{readers}')
    code, page, _ = cli("doctor")
    assert code == 0
    assert "service.instance.id is given (" in page
    assert ": a restart costs no series; processes that share it overwrite one another's series" in page


def test_a_plugin_that_crashed_its_child_process_is_not_imported_in_this_one(cli, folder, plugins):
    plugins.add("broken", "import os\nos._exit(7)\n")
    folder.joinpath("metrics.yaml").write_text(
        'file_format: "1.1"\nmeter_provider: {readers: [periodic: {exporter: {broken: }}]}\n'
    )
    code, page, _ = cli("doctor")
    assert code == 1
    assert "\n  broken (made-broken 2.5) failed: importing it crashed the process (SIGSEGV) (made.py:3)\n" in page
    assert "exporter 'broken': importing it crashed the process (SIGSEGV) (made.py:3)\n" in page
    assert "\n2 problems found\n" in page


def test_a_requirement_that_is_not_installed_is_a_problem(cli, folder, plugins):
    plugins.add("needy")
    metadata = next(plugins.folder.glob("made_needy*/METADATA"))
    required = ("not-there>=1", "elsewhere; sys_platform == 'win32'", "more; extra == 'x'")
    metadata.write_text(metadata.read_text() + "".join(f"Requires-Dist: {one}\n" for one in required))
    code, page, _ = cli("doctor")
    assert code == 1
    assert "\n  not-there MISSING\n" in page
    assert "elsewhere" not in page
    assert "more MISSING" not in page
    assert "\n  none found\n" in page


def test_a_folder_is_looked_through_for_config_files_alone(cli, folder, monkeypatch):
    folder.joinpath("large.yaml").write_text('file_format: "1.1"\n' + "#" * 1_000_001)
    folder.joinpath("folder.yaml").mkdir()
    folder.joinpath("named.txt").write_text('file_format: "1.1"\nmeter_provider: {}\n')
    monkeypatch.setenv("OTEL_CONFIG_FILE", "named.txt")
    _, page, _ = cli("doctor", "--json")
    assert [file["file"] for file in json.loads(page)["files"]] == ["named.txt"]
