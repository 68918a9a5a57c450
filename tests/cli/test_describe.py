"""``exporter-core describe``."""

from __future__ import annotations

import json
import sys

OPTIONS = '''
import sys
from typing import Literal

from opentelemetry.sdk.metrics.export import AggregationTemporality
from pydantic import Field, SecretStr

from exporter_core import Exporter, ExporterConfig, InstrumentKind

print("noise")
sys.stderr.write("noise")


class Tls(ExporterConfig):
    ca_file: str = "$HOME/ca.pem"
    """Whom to trust."""


class Options(ExporterConfig):
    endpoint: str{endpoint}
    """Where to send,
    with a line break and `marks`."""

    token: SecretStr | None = None
    """Who sends."""

    mode: Literal["fast", "safe"] = "safe"
    """How to send."""

    headers: dict[str, str] = Field(default_factory=dict)
    """What else to send."""

    tls: Tls = Tls()
    """Encryption."""


class Made(Exporter[Options]):
    """Send metrics somewhere.

    It does so
    ``quickly``.
    """

    def temporality(self, instrument_kind):
        delta = instrument_kind in (InstrumentKind.COUNTER, InstrumentKind.HISTOGRAM)
        return AggregationTemporality.DELTA if delta else AggregationTemporality.CUMULATIVE

    def export(self, context, metrics):
        pass
'''


def test_it_shows_docstring_distribution_and_every_option(cli, plugins):
    plugins.add("sending", OPTIONS.replace("{endpoint}", ""))
    code, out, err = cli("describe", "sending")
    assert (code, err) == (0, "")
    assert out == (
        "sending  made-sending 2.5, contract v1\n"
        "\n"
        "Send metrics somewhere.\n"
        "\n"
        "It does so `quickly`.\n"
        "\n"
        "endpoint  text  required\n"
        "    Where to send, with a line break and `marks`.\n"
        "\n"
        "token  text (secret)\n"
        "    Who sends.\n"
        "\n"
        "mode  fast, safe  [safe]\n"
        "    How to send.\n"
        "\n"
        "headers  mapping to text\n"
        "    What else to send.\n"
        "\n"
        'tls  mapping  [{"ca_file": "$HOME/ca.pem"}]\n'
        "    Encryption.\n"
        "\n"
        "tls.ca_file  text  [$HOME/ca.pem]\n"
        "    Whom to trust.\n"
        "\n"
        "Temporality: unknown until `endpoint` is set\n"
    )
    assert not [name for name in sys.modules if name.startswith("made_")]


def test_a_list_of_mappings_shows_its_shape_and_an_example(cli):
    code, out, err = cli("describe", "otlp_http")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    at = lines.index("headers  list of {name: text, value: text (secret)}, at least 1 item")
    assert lines[at + 2] == '    Example: `headers: [{name: api-key, value: "${HEADERS_VALUE}"}]`'
    assert "    TLS towards the server, for an endpoint with `https://`." in lines


def test_temporality_is_that_of_the_defaults(cli, plugins):
    plugins.add("sending", OPTIONS.replace("{endpoint}", " = 'here'"))
    assert cli("describe", "sending").out.endswith(
        "Temporality: delta for counter, histogram; "
        "cumulative for up_down_counter, gauge, observable_counter, observable_up_down_counter, observable_gauge\n"
    )
    assert "\nCollection: not shared\n" in cli("describe", "sending").out
    assert "\nCollection: shared by readers of the same interval" in cli("describe", "none").out
    assert cli("describe", "none").out.endswith("Temporality: cumulative for every instrument kind\n")
    assert "cumulative for every instrument kind, with the defaults of its options\n" in cli("describe", "console").out


def test_an_exporter_that_cannot_be_built_is_described_all_the_same(cli, plugins):
    code = OPTIONS.replace("{endpoint}", " = 'here'") + "    def __init__(self, config):\n        raise OSError('no')\n"
    plugins.add("sending", code)
    code, out, err = cli("describe", "sending")
    assert (code, err) == (0, "")
    assert out.endswith("Temporality: unknown: the exporter cannot be built with defaults\n")


def test_an_exporter_without_options_says_so(cli):
    assert "It has no options." in cli("describe", "none").out


def test_as_json_it_has_every_field(cli, plugins):
    plugins.add("sending", OPTIONS.replace("{endpoint}", " = 'here'"))
    code, out, err = cli("describe", "sending", "--json")
    assert (code, err) == (0, "")
    said = json.loads(out)
    schema = said.pop("schema")
    assert set(schema["properties"]) == {"endpoint", "token", "mode", "headers", "tls"}
    options = said.pop("options")
    assert options[0] == {
        "name": "endpoint",
        "type": "text",
        "required": False,
        "default": "here",
        "description": "Where to send, with a line break and `marks`.",
        "secret": False,
        "nullable": False,
        "example": None,
    }
    assert [(option["name"], option["secret"]) for option in options] == [
        ("endpoint", False),
        ("token", True),
        ("mode", False),
        ("headers", False),
        ("tls", False),
        ("tls.ca_file", False),
    ]
    assert said.pop("temporality")["counter"] == "delta"
    assert said.pop("shares_collection") is False
    assert said == {
        "name": "sending",
        "distribution": "made-sending",
        "version": "2.5",
        "summary": "What made-sending does",
        "entry_point": "made_made_sending_sending:Made",
        "group": "exporter_core.exporters.v1",
        "contract_version": 1,
        "description": "Send metrics somewhere.\n\nIt does so\n``quickly``.",
    }


def test_the_unknown_exporter_is_answered_with_the_nearest(cli):
    code, out, err = cli("describe", "sqllite")
    assert (code, out) == (2, "")
    assert err.startswith("error: no exporter named 'sqllite' is installed; did you mean 'sqlite'?")
    assert len(err.splitlines()) == 1


def test_a_plugin_that_fails_is_one_line_with_its_distribution(cli, plugins):
    plugins.add("exiting", "raise SystemExit(3)")
    plugins.add("crashing", "import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    plugins.add("lying", "Made = 3")
    for name, words in [
        ("exiting", "cannot be loaded: SystemExit: 3"),
        ("crashing", "SIGKILL"),
        ("lying", "does not fit the contract"),
    ]:
        code, out, err = cli("describe", name)
        assert (code, out) == (2, "")
        assert err.startswith(f"error: exporter '{name}' (made-{name} 2.5): "), err
        assert words in err
        assert len(err.splitlines()) == 1


def test_where_a_plugin_raised_is_said_and_the_traceback_on_request(cli, plugins, tmp_path):
    plugins.add("raising", "def inner():\n    raise OSError('http://user:hunter2@host/')\n\ninner()\n")
    module = plugins.folder / "made_made_raising_raising.py"
    file = tmp_path / "metrics.yaml"
    file.write_text('file_format: "1.1"\nmeter_provider: {readers: [{periodic: {exporter: {raising: }}}]}\n')
    target = "made_made_raising_raising:Made"
    for command in (["describe", "raising"], ["validate", str(file)], ["run", str(file)], ["check", target]):
        code, out, err = cli(*command)
        assert (code, out, len(err.splitlines())) == (2, "", 1)
        assert err.endswith(f" ({module}:2)\n"), err
        if command[0] == "check":
            continue
        code, out, err = cli(*command, "-v")
        assert (code, out) == (2, "")
        assert "Traceback (most recent call last):" in err
        assert f'File "{module}", line 2, in inner' in err
        assert "hunter2" not in err


def test_an_ambiguous_name_is_settled_by_the_distribution(cli, plugins):
    plugins.add("clashing", distribution="made-one")
    plugins.add("clashing", distribution="made-two")
    code, out, err = cli("describe", "clashing")
    assert (code, out) == (2, "")
    assert "'made-one:clashing' or 'made-two:clashing'" in err
    assert cli("describe", "made-two:clashing").out.startswith("clashing  made-two 2.5, contract v1\n")
