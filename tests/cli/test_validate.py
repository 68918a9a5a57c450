"""``exporter-core validate``."""

from __future__ import annotations

import json
import os
import re

import pytest

GOOD = """\
file_format: "1.1"
meter_provider:
  readers:
    - periodic: {exporter: {none: }}
    - periodic: {exporter: {console: {format: json}}}
"""
WARNED = "tracer_provider: {}\n" + GOOD
WRONG = """\
file_format: "1.1"
meter_provider:
  readers:
    - periodic:
        intervall: 5
        exporter: {console: {fromat: json}}
"""

SHARED = "  one collection serves 0:none and 1:console\n"


@pytest.fixture
def file(tmp_path):
    """Write a config file; its path."""

    def write(text: str, name: str = "metrics.yaml") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def test_a_sound_file_is_said_to_be_fine_with_its_readers(cli, file):
    path = file(GOOD)
    assert cli("validate", path) == (
        0,
        f"{path}: fine, 2 readers: 0:none, 1:console\n{SHARED}",
        "",
    )


def test_a_file_that_exports_nothing_is_fine_and_says_so(cli, file):
    path = file('file_format: "1.1"\ndisabled: true\n')
    code, out, err = cli("validate", path)
    assert (code, out) == (0, f"{path}: fine, nothing is exported\n")
    assert err.startswith(f"{path}:2:1: warning: ")


def test_every_problem_is_a_line_with_its_place(cli, file):
    path = file(WRONG)
    code, out, err = cli("validate", path)
    assert (code, out) == (2, "")
    first, second = err.splitlines()
    assert first.startswith(f"{path}:5:9: ")
    assert "did you mean 'interval'?" in first
    assert second.startswith(f"{path}:6:30: ")
    assert "did you mean 'format'?" in second


def test_warnings_stand_apart_and_change_nothing(cli, file):
    path = file(WARNED)
    code, out, err = cli("validate", path)
    assert (code, out) == (
        0,
        f"{path}: fine, 2 readers: 0:none, 1:console\n{SHARED}",
    )
    assert err.startswith(f"{path}:1:1: warning: tracer_provider is ignored: ")


def test_an_unset_variable_that_takes_away_text_is_a_warning_with_its_place(cli, file):
    path = file(
        'file_format: "1.1"\n'
        "resource: {attributes: [{name: a, value: 'x-${NOT_SET}'}]}\n"
        "meter_provider:\n"
        "  readers:\n"
        "    - periodic: {exporter: {otlp_http: {headers_list: '${NOT_SET}'}}}\n"
        "    - periodic: {exporter: {otlp_http: {headers_list: '${NOT_SET:-}'}}}\n"
        "tracer_provider: {a: '${NOT_SET}'}\n"
    )
    code, out, err = cli("validate", path)
    assert (code, out) == (
        0,
        f"{path}: fine, 2 readers: 0:otlp_http, 1:otlp_http\n  one collection serves 0:otlp_http and 1:otlp_http\n",
    )
    first, second, _ = err.splitlines()
    assert first == (
        f"{path}:2:42: warning: resource.attributes[0].value: the environment variable NOT_SET is not set, "
        "and replaced by nothing; ${NOT_SET:-default} gives a default"
    )
    assert second == (
        f"{path}:5:55: warning: meter_provider.readers[0].periodic.exporter.otlp_http.headers_list: "
        "the environment variable NOT_SET is not set, so the value is empty; ${NOT_SET:-default} gives a default"
    )


@pytest.mark.parametrize(
    ("exporter", "value", "message"),
    [
        ("sqlite: {path: /nowhere/a.db}", "/nowhere", "path: the directory /nowhere does not exist"),
        (
            "otlp_file: {output_stream: 'file:///nowhere/a'}",
            "'file:",
            "output_stream: the directory /nowhere",
        ),
        ("otlp_http: {endpoint: 'http://host:4318'}", "'http:", "endpoint: the URL does not end in /v1/metrics"),
    ],
)
def test_a_valid_option_that_will_hardly_work_is_a_warning_with_its_place(cli, file, exporter, value, message):
    reader = f"{{periodic: {{exporter: {{{exporter}}}}}}}"
    path = file(f'file_format: "1.1"\nmeter_provider: {{readers: [\n{reader}]}}\n')
    code, out, err = cli("validate", path)
    assert code == 0
    assert ": fine, 1 reader: " in out
    name = exporter.partition(":")[0]
    (line,) = err.splitlines()
    assert line.startswith(f"{path}:3:{reader.index(value) + 1}: warning: exporter '{name}': {message}"), line


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("endpoint: 'http://'", "endpoint: expected a URL such as http://host:8080/path"),
        (
            "headers: [{name: connection, value: connection}]",
            "headers: entry 1 is one that the exporter sets itself (conn",
        ),
        ("retry: {enabled: 0}", "retry.enabled: expected true or false, not a number"),
    ],
)
def test_what_a_message_says_of_valid_values_is_not_masked(cli, file, options, message):
    path = file(
        f'file_format: "1.1"\nmeter_provider: {{readers: [{{periodic: {{exporter: {{otlp_http: {{{options}}}}}}}}}]}}\n'
    )
    code, _, err = cli("validate", path)
    assert code == 2
    assert f"exporter 'otlp_http': {message}" in err
    assert "***" not in err


def test_a_hint_is_given_once_and_a_number_is_no_boolean(cli, file):
    text = GOOD.replace("none: ", "otlp_grpc: {tls: {insecure: 0}}")
    path = file(text.replace("meter_provider", "resource: {attributes: [{name: a, value: 5}]}\nmeter_provider", 1))
    code, _, err = cli("validate", path)
    first, second = err.splitlines()
    assert code == 2
    assert first.count("put quotes around it") == 1
    assert "tls.insecure: expected true or false, not a number" in second


def test_warnings_of_a_plugin_that_fail_or_tell_secrets_do_no_harm(cli, plugins, file):
    code = """
from pydantic import SecretStr
from exporter_core import Exporter, ExporterConfig

class Options(ExporterConfig):
    password: SecretStr = SecretStr("hunter22")

    def config_warnings(self):
        BODY

class Made(Exporter[Options]):
    def export(self, context, metrics):
        pass
"""
    plugins.add("telling", code.replace("BODY", 'return {"password": f"{self.password.get_secret_value()} is weak"}'))
    plugins.add("failing", code.replace("BODY", "raise OSError('no')"))
    path = file(GOOD.replace("none", "telling"))
    result, _, err = cli("validate", path)
    assert result == 0
    assert err == f"{path}:4:29: warning: exporter 'telling': password: *** is weak\n"
    result, _, err = cli("validate", file(GOOD.replace("none", "failing")))
    assert result == 2
    assert re.search(r"exporter 'failing': checking the options failed: OSError: no \(/.*\.py:9\)\n$", err)


def test_several_files_are_all_checked(cli, file):
    wrong, good = file(WRONG, "wrong.yaml"), file(GOOD, "good.yaml")
    code, out, err = cli("validate", wrong, good, "/nowhere")
    assert code == 2
    assert out == f"{good}: fine, 2 readers: 0:none, 1:console\n{SHARED}"
    assert [line.split(":")[0] for line in err.splitlines()] == [wrong, wrong, "/nowhere"]


def test_as_json_it_has_problems_and_warnings_with_their_places(cli, file):
    wrong, warned = file(WRONG, "wrong.yaml"), file(WARNED, "warned.yaml")
    code, out, err = cli("validate", "--json", wrong, warned)
    assert (code, err) == (2, "")
    first, second = json.loads(out)["files"]
    assert (first["file"], first["valid"], first["readers"], first["warnings"]) == (wrong, False, [], [])
    assert [(one["line"], one["column"]) for one in first["problems"]] == [(5, 9), (6, 30)]
    assert first["problems"][0]["path"] == ["meter_provider", "readers", 0, "periodic", "intervall"]
    assert "did you mean 'interval'?" in first["problems"][0]["message"]
    assert (second["valid"], second["readers"], second["problems"]) == (True, ["0:none", "1:console"], [])
    assert second["warnings"][0]["line"] == 1
    assert cli("validate", "--json", warned).code == 0


def test_what_a_plugin_prints_does_not_get_into_the_output(cli, plugins, file):
    plugins.add("noisy", "print('noise')\nfrom exporter_core.none import NoneExporter as Made\n")
    path = file(GOOD.replace("none", "noisy"))
    code, out, _ = cli("validate", "--json", path)
    assert code == 0
    assert json.loads(out)["files"][0]["valid"]


def test_blocked_plugins_are_a_problem_and_not_imported(cli, plugins, file):
    plugins.add("exiting", "raise SystemExit(3)")
    path = file(GOOD.replace("none", "exiting") + "exporter_core: {plugins: {block: [made-exiting]}}\n")
    code, out, err = cli("validate", path)
    assert (code, out) == (2, "")
    assert "block list" in err
    assert "SystemExit" not in err


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: None, "cannot read the file: No such file or directory"),
        (lambda path: path.mkdir(), "is a directory; name a config file"),
        (lambda path: path.write_bytes(b""), "the file is empty"),
        (lambda path: path.write_bytes(b"a: \xff"), "is not UTF-8"),
        (lambda path: path.write_bytes(b"a: b\n\tc: d"), "tab"),
        (lambda path: path.write_bytes(b"# " + b"x" * 2_000_000), "a config file has at most 1,000,000"),
        (os.mkfifo, "is not a regular file"),
    ],
)
def test_what_is_no_config_file_is_one_line(cli, tmp_path, make, words):
    path = tmp_path / "metrics.yaml"
    make(path)
    code, out, err = cli("validate", str(path))
    assert (code, out) == (2, "")
    assert err.startswith(f"{path}:")
    assert words in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize("arguments", [["validate", ""], ["list", "--config", ""]])
def test_an_empty_name_is_one_line(cli, arguments):
    assert cli(*arguments) == (2, "", "error: expected the name of a config file, not an empty text\n")


def test_a_file_name_with_odd_characters_cannot_act_on_the_terminal(cli):
    code, out, err = cli("validate", "\x1b[31mred\n.yaml")
    assert (code, out) == (2, "")
    assert err == "\\x1b[31mred\\n.yaml: cannot read the file: No such file or directory\n"
