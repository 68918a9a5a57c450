import importlib.metadata
import inspect
from pathlib import Path

import pytest
from opentelemetry.sdk import metrics
from opentelemetry.sdk.metrics import export
from pydantic import SecretStr

from exporter_core.config import load_config, parse_config
from exporter_core.contract import InstrumentKind
from exporter_core.discovery import PluginPolicy
from exporter_core.errors import ConfigError

SIMPLE = """\
file_format: "1.1"
meter_provider:
  readers:
    - periodic:
        interval: 5000
        timeout: 3000
        exporter:
          sqlite:
            path: x.db
"""


def with_reader(*lines: str, exporter: str = "console:") -> str:
    """A file whose only reader has these further lines."""
    inside = "".join(f"        {line}\n" for line in lines)
    return (
        f'file_format: "1.1"\nmeter_provider:\n  readers:\n    - periodic:\n{inside}'
        f"        exporter:\n          {exporter}\n"
    )


def with_top(text: str) -> str:
    """A sound file with this at its end."""
    return with_reader() + text


def test_a_file_becomes_settings_with_times_in_seconds(load) -> None:
    config = load(SIMPLE)
    (reader,) = config.readers
    assert (reader.position, reader.exporter, reader.label) == (0, "sqlite", "0:sqlite")
    assert (reader.interval, reader.timeout) == (5.0, 3.0)
    assert reader.config.path == "x.db"
    assert (reader.runner, reader.copy) == ("thread", False)
    assert reader.cardinality_limits == {}
    assert config.source.endswith("pipeline.yaml")
    assert config.warnings == ()
    assert config.policy == PluginPolicy()
    assert config.exemplar_filter == "trace_based"
    assert (config.views, config.observers, config.disabled) == ((), (), False)


@pytest.mark.parametrize("lines", [(), ("interval:", "timeout: null")])
def test_what_is_left_out_or_null_has_the_defaults_of_the_schema(load, lines: tuple[str, ...]) -> None:
    (reader,) = load(with_reader(*lines)).readers
    assert (reader.interval, reader.timeout) == (60.0, 30.0)


def test_a_timeout_of_0_has_no_limit(load) -> None:
    assert load(with_reader("timeout: 0")).readers[0].timeout is None


def test_a_file_format_of_1_0_is_read_too(load) -> None:
    assert load(SIMPLE.replace("1.1", "1.0")).readers


def test_a_newer_minor_file_format_is_a_warning(load) -> None:
    config = load(SIMPLE.replace("1.1", "1.7"))
    assert config.readers
    (warning,) = config.warnings
    assert warning.message.startswith("file_format: 1.7 is newer than 1.1")
    assert warning.line == 1


def test_a_file_without_a_meter_provider_has_nothing_to_export_which_is_a_warning(load) -> None:
    config = load("file_format: '1.1'\n")
    assert config.readers == ()
    (warning,) = config.warnings
    assert warning.message == "there is no 'meter_provider', so no metrics are exported"


@pytest.mark.parametrize("value", ["console:", "console: {}", "console: ~", "console: null"])
def test_an_exporter_without_options_has_its_defaults(load, value: str) -> None:
    assert load(with_reader(exporter=value)).readers[0].config.path == "metrics.db"


@pytest.mark.parametrize("name", ["otlp_file/development", "dist-sqlite:sqlite"])
def test_exporter_keys_may_have_a_slash_or_a_distribution(load, name: str) -> None:
    assert load(with_reader(exporter=f"{name}: {{path: y}}")).readers[0].exporter == name
    assert load(with_reader(exporter=f'"{name}":')).readers[0].exporter == name


def test_two_readers_may_name_the_same_exporter(load) -> None:
    text = SIMPLE + SIMPLE[SIMPLE.index("    - periodic") :]
    assert [reader.label for reader in load(text).readers] == ["0:sqlite", "1:sqlite"]


def test_cardinality_limits_are_given_per_kind(load, sdk_with_limits) -> None:
    text = with_reader("cardinality_limits:", "  default: 10", "  counter: 5", "  gauge:")
    limits = load(text).readers[0].cardinality_limits
    assert limits == {**dict.fromkeys(InstrumentKind, 10), InstrumentKind.COUNTER: 5}
    text = with_reader("cardinality_limits: {observable_gauge: 7}")
    assert load(text).readers[0].cardinality_limits == {InstrumentKind.OBSERVABLE_GAUGE: 7}


def test_cardinality_limits_that_the_sdk_does_not_have_are_ignored_with_a_warning(load, sdk_without_limits) -> None:
    config = load(with_reader("cardinality_limits: {counter: 5}"))
    assert config.readers[0].cardinality_limits == {}
    (warning,) = config.warnings
    assert str(warning).endswith(
        "pipeline.yaml:5:9: meter_provider.readers[0].periodic.cardinality_limits is ignored: "
        f"OpenTelemetry SDK {sdk_without_limits} does not have it; 1.45.2 does"
    )
    assert load(with_reader("cardinality_limits: {}")).warnings == ()
    assert load(with_reader("cardinality_limits: {counter: }")).warnings == ()


def test_the_section_of_our_own_is_read(load) -> None:
    config = load(
        with_top(
            "exporter_core:\n  exporters:\n    console: {runner: inline, copy: true}\n  plugins: {block: [other]}\n"
        )
    )
    assert (config.readers[0].runner, config.readers[0].copy) == ("inline", True)
    assert config.policy == PluginPolicy(block=["other"])
    assert load(with_top("exporter_core: {plugins: {allow: [console]}}\n")).policy == PluginPolicy(allow=["console"])


def test_variables_are_substituted_and_typed(load) -> None:
    text = with_reader("interval: ${MS}", exporter='console: {path: "${P}", password: "${PW}"}')
    (reader,) = load(text, {"MS": "250", "P": "7", "PW": "s3cret"}).readers
    assert reader.interval == 0.25
    assert reader.config.path == "7"
    assert reader.config.password == SecretStr("s3cret")
    assert "s3cret" not in repr(reader)


def test_the_environment_is_the_process_own_unless_given(
    tmp_path: Path, registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPORTER_CORE_TEST_MS", "9000")
    file = tmp_path / "f.yaml"
    file.write_text(with_reader("interval: ${EXPORTER_CORE_TEST_MS}"))
    assert load_config(str(file), registry=registry).readers[0].interval == 9.0


# --- wrong input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\n", ["1:1: missing required key 'file_format'"]),
        (SIMPLE.replace('"1.1"', "1.1"), ["1:14: file_format: expected '1.0' or '1.1'; put quotes around it"]),
        (SIMPLE.replace("1.1", "2.0"), ["1:14: file_format: expected '1.0' or '1.1'"]),
        (SIMPLE.replace("1.1", "1.0-rc.1"), ["1:14: file_format: expected '1.0' or '1.1'"]),
        (SIMPLE.replace("sqlite", "sqlit"), ["8:11: no exporter named 'sqlit' is installed; did you mean 'sqlite'?"]),
        (SIMPLE.replace("path", "pth"), ["9:13: exporter 'sqlite': unknown option 'pth'; did you mean 'path'?"]),
        (SIMPLE.replace("x.db", "5"), ["9:19: exporter 'sqlite': path: expected a string, not a number; put quotes"]),
        (SIMPLE.replace("x.db", "[]"), ["9:13: exporter 'sqlite': path: expected a string, not a list"]),
        (
            SIMPLE.replace("5000", "'5000'"),
            ["5:19: meter_provider.readers[0].periodic.interval: expected whole milliseconds, such as 5000"],
        ),
        (
            SIMPLE.replace("5000", "5s"),
            ["5:19: meter_provider.readers[0].periodic.interval: expected whole milliseconds, such as 5000"],
        ),
        (
            SIMPLE.replace("5000", "-1"),
            ["5:19: meter_provider.readers[0].periodic.interval: -1 would export without a pause; expected at least 1"],
        ),
        (
            SIMPLE.replace("5000", "0"),
            ["5:19: meter_provider.readers[0].periodic.interval: 0 would export without a pause; expected at least 1"],
        ),
        (
            SIMPLE.replace("interval", "intervall"),
            ["5:9: meter_provider.readers[0].periodic: unknown key 'intervall'; did you mean 'interval'?"],
        ),
        (
            SIMPLE + "          console:\n",
            ["10:11: meter_provider.readers[0].periodic.exporter.console: a second exporter under one reader, after"],
        ),
        (with_reader(exporter="{}"), ["5:9: meter_provider.readers[0].periodic.exporter: no exporter; name one"]),
        (
            with_reader(exporter="~"),
            ["5:9: meter_provider.readers[0].periodic.exporter: expected a mapping, not null"],
        ),
        (
            with_reader(exporter="console"),
            ["6:11: meter_provider.readers[0].periodic.exporter: expected a mapping, not a string; write"],
        ),
        (with_reader(exporter="console: 5"), ["6:20: meter_provider.readers[0].periodic.exporter.console: expected a"]),
        (with_reader(exporter="needy:"), ["6:11: exporter 'needy': missing required option 'endpoint'"]),
        (
            with_reader(exporter="needy: {endpoint: '${E}', port: '${P}'}"),
            ["6:43: exporter 'needy': port: expected an integer, not a string; the environment variable P is not set"],
        ),
        (
            with_reader(exporter="needy:\n            endpoint: ${E}"),
            ["7:23: exporter 'needy': endpoint: expected a string, not null; the environment variable E is not set"],
        ),
        (
            with_reader(exporter="broken:"),
            ["6:11: plugin broken of dist-broken 1.0 failed: ImportError: nope"],
        ),
        (
            with_reader(exporter="console: {password: leak-my-secret}"),
            ["6:31: exporter 'console': password: refused: ***"],
        ),
        (
            with_reader(exporter="console: {password: crash-my-secret}"),
            ["6:11: exporter 'console': checking the options failed: TypeError: crashed on ***"],
        ),
        (
            with_reader(exporter="console: {password: exit}"),
            ["6:11: exporter 'console': checking the options failed: SystemExit: leaving"],
        ),
        (
            with_reader(exporter="console: {password: interrupt}"),
            ["6:11: exporter 'console': checking the options failed: KeyboardInterrupt"],
        ),
        (
            with_reader("producers: [{opencensus: }]"),
            ["5:9: meter_provider.readers[0].periodic.producers: metric producers are not supported by the OpenTel"],
        ),
        (
            with_reader("cardinality_limits: {counter: 0, gague: 1}"),
            [
                "5:39: meter_provider.readers[0].periodic.cardinality_limits.counter: expected a value greater than 0",
                "5:42: meter_provider.readers[0].periodic.cardinality_limits: unknown key 'gague'; did you mean 'g",
            ],
        ),
        (
            "file_format: '1.1'\nmeter_provider:\n  readers:\n  - pull: {exporter: {pulled: {pth: x}}}\n",
            ["4:32: exporter 'pulled': unknown option 'pth'; did you mean 'path'?"],
        ),
        (
            "file_format: '1.1'\nmeter_provider:\n  readers:\n  - pull: {exporter: {console: }}\n",
            ["4:23: no exporter named 'console' is installed; did you mean 'sqlite'?"],
        ),
        (
            "file_format: '1.1'\nmeter_provider:\n  readers:\n  - pull: {exporter: pulled, interval: 5}\n",
            [
                "4:22: meter_provider.readers[0].pull.exporter: expected a mapping, not a string; write the exporter's",
                "4:30: meter_provider.readers[0].pull: unknown key 'interval'",
            ],
        ),
        (
            "file_format: '1.1'\nmeter_provider:\n  readers:\n  - pull: {exporter: {pulled: }, producers: [{x: }]}\n",
            ["4:34: meter_provider.readers[0].pull.producers: metric producers are not supported"],
        ),
        (
            "file_format: '1.1'\nmeter_provider:\n  readers: []\n",
            ["3:3: meter_provider.readers: expected at least one"],
        ),
        ("file_format: '1.1'\nmeter_provider: {}\n", ["2:1: meter_provider: missing required key 'readers'"]),
        (
            "file_format: '1.1'\nmeter_provider:\n  readers:\n  - {}\n",
            ["4:5: meter_provider.readers[0]: expected one of periodic or pull"],
        ),
        (with_top("resorce: {}\n"), ["7:1: unknown key 'resorce'; did you mean 'resource'?"]),
        (
            with_top("exporter_core: {exporters: {console: {runner: proces}}}\n"),
            ["7:47: exporter_core.exporters.console.runner: expected 'thread' or 'inline'"],
        ),
        (
            with_top("exporter_core: {plugin: {block: []}}\n"),
            ["7:17: exporter_core: unknown key 'plugin'; did you mean 'plugins'?"],
        ),
        (
            with_top("exporter_core: {observers: [nobody]}\n"),
            ["7:29: no observer named 'nobody' is installed"],
        ),
    ],
)
def test_each_fault_is_a_line_with_its_position(problems, text: str, expected: list[str]) -> None:
    found = problems(text)
    assert len(found) == len(expected), found
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


def test_all_problems_of_all_kinds_are_found_in_one_pass_in_file_order(problems) -> None:
    found = problems("""\
file_format: 2
resource:
  attributes:
    - {name: a, value: 1}
    - {name: b, valu: 2}
meter_provider:
  readers:
    - periodic:
        intervall: 5
        interval: 0
        exporter:
          sqlite:
            pth: x
            mode: ${1}
            password: 123
            password: 456
    - periodic:
        exporter: {sqlite: {pth: 1, timeout: -1, tls: {}}}
    - periodic:
        exporter: {sqlit: null}
  views:
    - selector: {instrument_name: "a*"}
      stream: {name: x}
exporter_core: {exporters: {sqlite: {runner: process}}}
""")
    positions = [tuple(int(part) for part in line.split(":")[:2]) for line in found]
    assert positions == sorted(positions)
    lines = {line for line, _ in positions}
    assert lines == {1, 4, 5, 9, 10, 13, 14, 15, 16, 18, 20, 23, 24}
    assert sum(line == 18 for line, _ in positions) == 3


def test_a_value_with_an_invalid_reference_gets_no_second_problem(problems) -> None:
    found = problems(with_reader("interval: ${1X}", exporter="console: {mode: '${2X}'}"))
    assert len(found) == 2
    assert all("invalid reference" in line for line in found)


def test_secrets_are_quoted_in_no_problem(problems) -> None:
    options = "{password: ['${S}'], headers: {a: {b: '${S}'}}, mode: '${S}', timeout: '${S}', tls: '${S}'}"
    found = problems(with_reader(exporter=f"console: {options}"), {"S": "c4n4ry-s3cr3t"})
    assert len(found) == 5
    assert not any("c4n4ry-s3cr3t" in line for line in found)


def test_a_plugin_that_hangs_while_it_checks_its_options_is_left_behind(
    problems, registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exporter_core.config.readers._CHECK_SECONDS", 0.05)
    registry.models["console"].gate.clear()
    try:
        found = problems(with_reader(exporter="console: {password: hang}"))
    finally:
        registry.models["console"].gate.set()
    assert found == ["6:11: exporter 'console': checking the options failed: it did not end within 0.05 s"]


@pytest.mark.parametrize("policy", ["block: [sqlite]", "block: [Dist_SQLite]", "allow: [console]", "allow: []"])
def test_a_plugin_that_the_file_forbids_is_not_imported(problems, registry, policy: str) -> None:
    (problem,) = problems(SIMPLE + f"exporter_core: {{plugins: {{{policy}}}}}\n")
    assert problem.startswith("8:11: exporter 'sqlite' may not be used: ")
    assert registry.imported == []


def test_no_plugin_is_imported_while_it_is_unclear_which_are_allowed(problems, registry) -> None:
    (problem,) = problems(SIMPLE + "exporter_core: {plugins: {blck: [sqlite]}}\n")
    assert problem == "10:27: exporter_core.plugins: unknown key 'blck'; did you mean 'block'?"
    assert registry.imported == []


# --- warnings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("tracer_provider: {}\n", "7:1: tracer_provider is ignored: exporter-core configures metrics only"),
        ("logger_provider: {}\n", "7:1: logger_provider is ignored: exporter-core configures metrics only"),
        ("propagator: {}\n", "7:1: propagator is ignored: exporter-core configures metrics only"),
        ("instrumentation/development: {}\n", "7:1: instrumentation/development is ignored: exporter-core"),
        ("log_level: debug\n", "7:1: log_level is ignored: exporter-core leaves the log levels to"),
        ("attribute_limits: {}\n", "7:1: attribute_limits is ignored: the OpenTelemetry Python SDK has no"),
        ("distribution: {x: {}}\n", "7:1: distribution is ignored"),
        ("vendor_thing: {}\n", "7:1: vendor_thing is ignored: it is no key of the OpenTelemetry configuration"),
        (
            "exporter_core: {exporters: {consol: {}}}\n",
            "7:29: exporter_core.exporters.consol: no reader exports to 'consol'; did you mean 'console'?",
        ),
        (
            "resource: {attributes: [{name: a, value: }]}\n",
            "7:25: resource.attributes[0]: the attribute 'a' has no value and is left out",
        ),
    ],
)
def test_what_is_ignored_is_said(load, text: str, warning: str) -> None:
    (found,) = load(with_top(text)).warnings
    assert str(found).partition("pipeline.yaml:")[2].startswith(warning)


def test_the_batch_size_of_a_reader_is_read(load) -> None:
    config = load(with_reader("max_export_batch_size/development: 5"))
    assert (config.warnings, config.readers[0].max_batch_size) == ((), 5)
    assert load(SIMPLE).readers[0].max_batch_size is None


@pytest.mark.parametrize(
    ("value", "enabled"),
    [
        ("{}", ["a", "a.b", "other"]),
        ("{default_config: {enabled: false}}", []),
        ("{meters: [{name: a, config: {enabled: false}}]}", ["a.b", "other"]),
        ("{meters: [{name: 'a*', config: {enabled: false}}]}", ["other"]),
        (
            "{default_config: {enabled: false}, meters: [{name: a, config: {}}, {name: 'a?b', config: {}}]}",
            ["a", "a.b"],
        ),
        (
            "{meters: [{name: a.b, config: {enabled: true}}, {name: 'a*', config: {enabled: false}}]}",
            ["a.b", "other"],
        ),
    ],
)
def test_a_meter_configurator_says_which_meters_are_enabled(load, value: str, enabled: list[str]) -> None:
    config = load(with_reader() + f"  meter_configurator/development: {value}\n")
    assert config.warnings == ()
    assert [name for name in ("a", "a.b", "other") if config.meters.enables(name)] == enabled


def test_the_parts_that_a_provider_that_exists_cannot_take_are_known_with_their_places(load) -> None:
    text = with_reader() + "  exemplar_filter: always_on\n  views: [{selector: {unit: s}, stream: {}}]\n"
    assert [str(problem).partition("pipeline.yaml:")[2] for problem in load(text).of_provider] == [
        f"{place} cannot apply to the MeterProvider that is set already: remove it, or set exporter-core up before "
        "that provider"
        for place in ("8:3: meter_provider.views", "7:3: meter_provider.exemplar_filter")
    ]
    assert load(SIMPLE).of_provider == ()


def test_a_disabled_file_has_no_readers_and_imports_nothing(load, registry) -> None:
    config = load(SIMPLE + "disabled: true\n")
    assert config.disabled
    assert config.readers == ()
    assert [warning.message for warning in config.warnings] == ["disabled: nothing is collected and nothing exported"]
    assert registry.imported == []
    assert load('file_format: "1.1"\ndisabled: true\n').disabled


def test_a_disabled_file_is_still_checked(problems) -> None:
    assert problems(SIMPLE.replace("interval", "intervall") + "disabled: true\n")[0].startswith("5:9:")


# --- mappings ---------------------------------------------------------------------------------------------------------


def test_a_mapping_says_the_same_as_a_file(load, registry) -> None:
    mapping = {
        "file_format": "1.1",
        "meter_provider": {
            "readers": ({"periodic": {"interval": 5000, "timeout": 3000, "exporter": {"sqlite": {"path": "x.db"}}}},)
        },
    }
    config = parse_config(mapping, registry=registry)
    assert config.source is None
    assert config.readers == load(SIMPLE).readers


def test_nothing_is_substituted_in_a_mapping(registry, minimal) -> None:
    mapping = minimal()
    mapping["meter_provider"]["readers"][0]["periodic"]["exporter"]["console"] = {"path": "${HOME}$$"}
    assert parse_config(mapping, registry=registry).readers[0].config.path == "${HOME}$$"


def test_a_mapping_may_hold_values_that_no_file_can(registry, minimal) -> None:
    mapping = minimal()
    mapping["meter_provider"]["readers"][0]["periodic"]["exporter"]["console"] = {"password": SecretStr("x")}
    assert parse_config(mapping, registry=registry).readers[0].config.password == SecretStr("x")


def test_the_problems_of_a_mapping_name_the_whole_path(registry, minimal) -> None:
    mapping = minimal()
    mapping["meter_provider"]["readers"][0]["periodic"]["exporter"] = {"sqlit": None}
    mapping["meter_provider"]["readers"].append({"periodic": {"exporter": {"console": {"pth": 1}}}})
    with pytest.raises(ConfigError) as caught:
        parse_config(mapping, registry=registry)
    assert [str(problem) for problem in caught.value.problems] == [
        (
            "meter_provider.readers[0].periodic.exporter.sqlit: "
            "no exporter named 'sqlit' is installed; did you mean 'sqlite'?"
        ),
        "meter_provider.readers[1].periodic.exporter.console: unknown option 'pth'; did you mean 'path'?",
    ]


def test_a_mapping_that_holds_itself_is_refused(registry, minimal) -> None:
    mapping = minimal()
    mapping["loop"] = mapping
    with pytest.raises(ConfigError, match="nested deeper than"):
        parse_config(mapping, registry=registry)


def test_what_is_no_mapping_is_refused(registry) -> None:
    with pytest.raises(ConfigError, match="expected a mapping with the key file_format, not a list"):
        parse_config([], registry=registry)  # type: ignore[arg-type]  # that is the point


def test_the_registry_is_asked_once_for_each_name(problems, registry, monkeypatch):
    asked = []
    monkeypatch.setattr(registry, "select", lambda name, select=registry.select: (asked.append(name), select(name))[1])
    reader = "    - periodic: {exporter: {%s: {}}}\n"
    text = 'file_format: "1.1"\nmeter_provider:\n  readers:\n'
    found = problems(text + 3 * (reader % "sqllite") + 3 * (reader % "sqlite"))
    assert len(found) == 3
    assert [asked.count(name) for name in ("sqllite", "sqlite")] == [1, 2]  # "sqlite" again for its model


def test_metric_producers_are_refused_because_the_sdk_has_none():
    """The reason of the message: once the SDK takes producers, this fails, and the key has to be honoured."""
    named = [name for module in (metrics, export) for name in dir(module) if "producer" in name.lower()]
    taken = [name for name in inspect.signature(export.MetricReader).parameters if "producer" in name.lower()]
    registering = [name for name in dir(export.MetricReader) if "producer" in name.lower()]
    assert named + taken + registering == []
    assert [group for group in importlib.metadata.entry_points().groups if "producer" in group] == []


def test_a_distribution_that_leaves_pydantic_without_entry_points_is_named(run_python, site, monkeypatch):
    monkeypatch.delenv("PYDANTIC_DISABLE_PLUGINS")
    location = site.install("half-written", b"\xff\xfe[exporter_core")
    code = """
import sys
from exporter_core.config import parse_config
from exporter_core.errors import ConfigError

sys.path.append(sys.argv[1])
try:
    parse_config({"file_format": "1.1"})
except ConfigError as error:
    print(*error.problems, sep="\\n")
"""
    (line,) = run_python(code, *site.path).splitlines()
    assert line.startswith(f"{location}: entry_points.txt: not UTF-8")
