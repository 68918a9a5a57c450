"""Exporters of the SDK's entry-point group: which name means which, their options, and what cannot be used."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest

from exporter_core import ExporterRegistry, PluginPolicy, load_exporter
from exporter_core.bridge.inbound import InboundExporter
from exporter_core.bridge.selection import inbound_class
from exporter_core.cli import main
from exporter_core.context import Context
from exporter_core.discovery import conflicts, select, shadowed
from exporter_core.errors import (
    ConfigError,
    ContractError,
    DeadlineExceededError,
    ExporterConflictError,
    ExporterError,
    ExporterNotFoundError,
    PluginBlockedError,
    PluginLoadError,
    UnsupportedContractError,
)

pytestmark = pytest.mark.usefixtures("warm_python")

EXPORTER = '''
from opentelemetry.sdk.metrics.export import MetricExporter, MetricExportResult

class made(MetricExporter):
    """Prints invoices."""

    def __init__(self, path: str, copies: int = 1, *, ink="black"):
        super().__init__()
        self.given = (path, copies, ink)

    def export(self, metrics_data, timeout_millis=10_000, **kwargs):
        raise RuntimeError(repr(self.given))

    def force_flush(self, timeout_millis=10_000):
        return True

    def shutdown(self, timeout_millis=30_000, **kwargs):
        pass
'''
OURS = """
from exporter_core import Exporter, ExporterConfig

class made(Exporter[ExporterConfig]):
    def export(self, context, metrics):
        raise RuntimeError("the contract's")
"""
CONTRACT = "exporter_core.exporters.v1"


def problems(name, options):
    with pytest.raises(ConfigError) as caught:
        load_exporter(name, options)
    return [str(problem) for problem in caught.value.problems]


def outcome(name, options, context, metrics):
    with load_exporter(name, options) as exporter, pytest.raises(ExporterError) as caught:
        exporter.export(context, metrics)
    return str(caught.value)


def refusal(kind, name, options=None):
    with pytest.raises(kind) as caught:
        load_exporter(name, options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- which name means which ------------------------------------------------------------------------------------------


def test_a_name_of_the_sdks_group_alone_is_selected_like_any_other(installed, context, metrics):
    installed.add("invoice-printer", "invoices", EXPORTER)
    assert outcome("invoices", {"path": "lpt1", "copies": 2}, context, metrics) == (
        "exporter 'invoices': export failed: RuntimeError: ('lpt1', 2, 'black')"
    )


def test_a_name_of_both_means_the_exporter_of_the_contract(installed, context, metrics):
    installed.add("a-printer", "invoices", EXPORTER)
    installed.add("our-printer", "invoices", OURS, group=CONTRACT)
    assert select("invoices").distribution == "our-printer"
    assert "the contract's" in outcome("invoices", None, context, metrics)
    assert "'lpt1'" in outcome("a-printer:invoices", {"path": "lpt1"}, context, metrics)


def test_the_sdks_console_and_ours_are_no_conflict():
    entries = [entry for entry in ExporterRegistry().entries() if entry.name == "console"]
    by = {entry.distribution: entry for entry in entries}
    assert shadowed(entries) == {by["opentelemetry-sdk"]: by["exporter-core-console"]}
    assert conflicts(entries) == {}
    assert select("console") == by["exporter-core-console"]
    assert select("OpenTelemetry_SDK:console") == by["opentelemetry-sdk"]


def test_where_the_exporter_of_the_contract_is_blocked_the_name_means_the_sdks(installed):
    installed.add("a-printer", "invoices", EXPORTER)
    installed.add("our-printer", "invoices", OURS, group=CONTRACT)
    assert select("invoices", policy=PluginPolicy(block=["our-printer"])).distribution == "a-printer"
    with pytest.raises(PluginBlockedError):
        select("invoices", policy=PluginPolicy(block=["invoices"]))


def test_an_exporter_of_another_contract_version_is_not_replaced_in_silence(installed):
    installed.add("a-printer", "invoices", EXPORTER)
    installed.add("our-printer", "invoices", OURS, group="exporter_core.exporters.v2")
    with pytest.raises(UnsupportedContractError, match="our-printer"):
        select("invoices")


def test_a_distribution_that_has_a_name_in_both_groups_gives_the_one_of_the_contract(installed):
    installed.add("both", "invoices", EXPORTER)
    info = next(installed.folder.glob("both-*.dist-info"))
    points = info.joinpath("entry_points.txt").read_text()
    info.joinpath("entry_points.txt").write_text(points + f"[{CONTRACT}]\ninvoices = bridged_both:ours\n")
    assert select("both:invoices").group == select("invoices").group == CONTRACT


def test_two_of_the_sdks_exporters_with_one_name_are_a_conflict(installed):
    installed.add("a-printer", "invoices", EXPORTER)
    installed.add("b-printer", "invoices", EXPORTER)
    with pytest.raises(ExporterConflictError, match=r"'a-printer:invoices' or 'b-printer:invoices'"):
        select("invoices")


def test_a_blocked_one_is_not_imported(installed):
    installed.add("a-printer", "invoices", "raise SystemExit('imported')")
    with pytest.raises(PluginBlockedError, match="'a-printer' is in the block list"):
        ExporterRegistry(policy=PluginPolicy(block=["a-printer"])).load("invoices")


def test_the_nearest_name_may_be_one_of_them(installed):
    installed.add("a-printer", "invoices", EXPORTER)
    with pytest.raises(ExporterNotFoundError, match="did you mean 'invoices'"):
        select("invoces")


def test_an_uninstalled_one_is_not_selected_from_the_index(installed):
    installed.add("a-printer", "invoices", EXPORTER)
    select("invoices")
    points = next(installed.folder.glob("*.dist-info")) / "entry_points.txt"
    points.write_text("[opentelemetry_metrics_exporter]\n")
    with pytest.raises(ExporterNotFoundError):
        select("invoices")


# --- options ---------------------------------------------------------------------------------------------------------


def test_what_does_not_fit_the_signature_is_said_all_at_once(installed):
    installed.add("a-printer", "invoices", EXPORTER)
    assert problems("invoices", {"copis": 2, "ink": object()}) == [
        "exporter 'invoices': missing required option 'path'",
        "exporter 'invoices': unknown option 'copis'; did you mean 'copies'?",
    ]
    assert problems("invoices", {"path": 7, "copies": "two"}) == [
        "exporter 'invoices': path: expected a string, not a number",
        "exporter 'invoices': copies: expected an integer, not a string",
    ]


def test_what_the_official_exporter_does_not_take_is_said():
    assert problems("otlp_proto_http", {"endpont": "http://localhost:4318"}) == [
        "exporter 'otlp_proto_http': unknown option 'endpont'; did you mean 'endpoint'?"
    ]
    assert problems("otlp_proto_grpc", {"timeout": "soon"}) == [
        "exporter 'otlp_proto_grpc': timeout: expected a number, not a string"
    ]


def test_an_open_ended_signature_takes_any_option():
    got = []

    def build(path, **more):
        got.append((path, more))
        return Fitting()

    made = inbound_class(build)
    made(made.config_model.model_validate({"path": 1, "anything": [2]}))
    assert got == [(1, {"anything": [2]})]


def test_options_may_be_called_like_attributes_of_models():
    got = []

    def build(*, copy: int, model_config: str = "", json=None, _hidden=None):
        got.append((copy, model_config, json))
        return Fitting()

    model = inbound_class(build).config_model
    inbound_class(build)(model.model_validate({"copy": 1, "model_config": "x", "json": {"a": 1}}))
    assert got == [(1, "x", {"a": 1})]
    assert list(model.model_json_schema()["properties"]) == ["copy", "model_config", "json"]


def test_types_that_no_file_can_express_are_left_to_the_exporter():
    class Session:
        pass

    def build(session: Session | None, codes: "list[NowhereDefined]" = ()):  # noqa: F821, UP037 - as for type checkers
        return Fitting()

    session = Session()
    given = inbound_class(build).config_model.model_validate({"session": session, "codes": 5})
    assert given.arguments() == {"session": session, "codes": 5}


def test_an_iterable_can_be_gone_through_each_time_the_exporter_is_built():
    from collections.abc import Iterable

    def build(codes: Iterable[int] | None = None):
        return Fitting()

    given = inbound_class(build).config_model.model_validate({"codes": [1, 2]})
    assert [list(given.arguments()["codes"]) for _ in range(2)] == [[1, 2], [1, 2]]


def test_none_that_is_given_is_passed_and_a_default_is_not():
    def build(one=1, two=2):
        return Fitting()

    assert inbound_class(build).config_model.model_validate({"two": None}).arguments() == {"two": None}


class Fitting:
    """Fits, and does nothing."""

    def export(self, metrics_data, timeout_millis=0):
        pass

    def force_flush(self, timeout_millis=0):
        pass

    def shutdown(self, timeout_millis=0):
        pass


def test_a_factory_builds_the_exporter(installed, context, metrics):
    installed.add("a-printer", "invoices", EXPORTER + "\ndef factory(where='lpt1'):\n    return made(where)\n")
    points = next(installed.folder.glob("*.dist-info")) / "entry_points.txt"
    points.write_text("[opentelemetry_metrics_exporter]\ninvoices = bridged_a_printer:factory\n")
    assert "('lpt1', 1, 'black')" in outcome("invoices", None, context, metrics)


# --- what cannot be used ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "kind", "says"),
    [
        ("made = 7", ContractError, "is no MetricExporter class, and no function that returns a MetricExporter"),
        (
            "class made: pass",
            ContractError,
            "made is no MetricExporter: it has no export and no force_flush and no shut",
        ),
        (OURS, ContractError, f"made is an exporter_core.Exporter: register it in the group '{CONTRACT}'"),
        (
            "from opentelemetry.sdk.metrics.export import InMemoryMetricReader as made",
            ContractError,
            "InMemoryMetricReader is a MetricReader of the OpenTelemetry SDK, not an exporter: hand it to a MeterProv",
        ),
        ("def made(path, /): pass", ContractError, "made takes path by position only; options are keyword arguments"),
        ("def made(): pass", PluginLoadError, "cannot be built: builtins.NoneType.export is missing; a MetricExporter"),
        ("def made(): raise OSError('no such printer')", PluginLoadError, "cannot be built: OSError: no such printer"),
        ("import nowhere_at_all", PluginLoadError, "ModuleNotFoundError: No module named 'nowhere_at_all'"),
    ],
)
def test_what_is_no_exporter_is_one_line_with_its_distribution(installed, code, kind, says):
    installed.add("a-printer", "invoices", code)
    message = refusal(kind, "invoices")
    assert message.startswith("exporter 'invoices' (a-printer 3.1) ")
    assert says in message


def test_the_secrets_of_options_are_masked_when_building_fails(installed):
    installed.add("a-printer", "invoices", "def made(password): raise OSError('refused: ' + password)")
    assert refusal(PluginLoadError, "invoices", {"password": "tigerlily"}).endswith("OSError: refused: ***")


def test_it_is_guarded_like_any_other(installed, metrics):
    code = EXPORTER.replace("raise RuntimeError(repr(self.given))", "self.given[0].wait(30)")
    installed.add("a-printer", "invoices", code.replace("path: str", "path"))
    release = threading.Event()
    with load_exporter("invoices", {"path": release}) as exporter:
        try:
            with pytest.raises(DeadlineExceededError):
                exporter.export(Context.with_timeout(0.05), metrics)
        finally:
            release.set()


def test_the_class_is_called_as_the_exporter_is(installed):
    installed.add("a-printer", "invoices", EXPORTER)
    found = ExporterRegistry().exporter_class("invoices")
    assert issubclass(found, InboundExporter)
    assert (found.__module__, found.__qualname__, found.__doc__) == ("bridged_a_printer", "made", "Prints invoices.")


# --- the command line ------------------------------------------------------------------------------------------------


def command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "exporter_core", *arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_list_marks_them_and_says_which_name_means_another(installed):
    installed.add("a-printer", "invoices", "raise SystemExit('imported')")
    rows = {row["distribution"]: row for row in json.loads(command("list", "--json").stdout)["exporters"]}
    assert rows["a-printer"]["group"] == "opentelemetry_metrics_exporter"
    assert (rows["a-printer"]["status"], rows["a-printer"]["contract_version"]) == ("ok", None)
    sdk = rows["opentelemetry-sdk"]
    assert (sdk["name"], sdk["status"]) == ("console", "shadowed")
    assert sdk["reason"].endswith("; use 'opentelemetry-sdk:console' to select this one")
    table = command("list").stdout.splitlines()
    assert next(line for line in table if line.startswith("invoices")).split()[-1] == "SDK"


@pytest.mark.nightly  # it looks into every installed exporter, as those of the command do
def test_list_with_check_tries_the_shadowed_ones_too(installed, inspected_once, capsys):
    installed.add("a-printer", "console", "raise SystemExit('imported')")
    assert main(["list", "--check"]) == 1
    assert "console: failed: cannot be loaded: SystemExit: imported" in capsys.readouterr().out


def test_describe_and_init_show_the_parameters(installed):
    installed.add("a-printer", "invoices", EXPORTER)
    shown = command("describe", "invoices").stdout
    assert "invoices  a-printer 3.1, an exporter of the OpenTelemetry SDK" in shown
    assert "Prints invoices." in shown
    options = {
        option["name"]: option for option in json.loads(command("describe", "invoices", "--json").stdout)["options"]
    }
    assert (options["path"]["required"], options["copies"]["default"], options["ink"]["type"]) == (True, 1, "any")
    text = command("init", "invoices").stdout
    assert "path:  # REQUIRED" in text
    assert "# copies: 1" in text


def test_validate_and_schema_know_their_options(installed, tmp_path):
    installed.add("a-printer", "invoices", EXPORTER)
    file = tmp_path / "pipeline.yaml"
    text = "file_format: '1.1'\nmeter_provider:\n  readers:\n    - periodic:\n        exporter:\n          invoices:\n"
    file.write_text(f"{text}            path: lpt1\n            colour: red\n")
    done = command("validate", str(file))
    assert done.returncode == 2
    assert f"{file}:8:13: exporter 'invoices': unknown option 'colour'; valid here: copies, ink, path" in (
        done.stdout + done.stderr
    )
    file.write_text(f"{text}            path: lpt1\n")
    assert command("validate", str(file)).returncode == 0
    made = command("schema")
    assert made.stderr == ""
    definitions = json.loads(made.stdout)["$defs"]
    assert list(definitions["exporter invoices"]["properties"]) == ["path", "copies", "ink"]
    assert "endpoint" in definitions["exporter otlp_proto_http"]["properties"]


@pytest.mark.fresh_python
def test_listing_and_selecting_import_nothing_of_the_sdk(run_python):
    code = """if True:
        import sys
        from exporter_core.discovery import installed, select
        installed(), select("opentelemetry-sdk:console")
        heavy = {"grpc", "opentelemetry", "pluggy", "pydantic"}
        print(sorted({name.partition(".")[0] for name in sys.modules} & heavy))
    """
    assert run_python(code) == "[]\n"
