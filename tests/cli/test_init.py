"""``exporter-core init``."""

from __future__ import annotations

import re

import pytest
import yaml

from exporter_core.config import load_config

NESTED = '''
from pydantic import Field, SecretStr

from exporter_core import Exporter, ExporterConfig


class Retry(ExporterConfig):
    attempts: int = 3
    """How often."""

    codes: list[int] = [500]
    """When."""


class Tls(ExporterConfig):
    ca_file: str
    """Whom to trust."""

    retry: Retry = Retry()
    """What then."""


class Options(ExporterConfig):
    password: SecretStr
    """Who sends:
    ${HOME} is not replaced in a comment."""

    api_key: SecretStr | None = None
    """Another secret."""

    greeting: str = "$HOME: 'yes', # \\u00fc"
    """Odd text."""

    word: str = "off"
    """A word that YAML may take for something else."""

    headers: dict[str, str] = Field(default_factory=dict)
    """What else."""

    names: list[str] = Field(default_factory=list)
    """Whom."""

    limit: float | None = None
    """How much."""

    tls: Tls
    """Encryption."""

    retry: Retry = Retry()
    """Again."""

    settled: Retry
    """All of it has defaults."""


class Made(Exporter[Options]):
    """Send metrics: \\x1b[31mred.

    More of it.
    """

    def export(self, context, metrics):
        pass
'''


@pytest.fixture
def nested(plugins):
    plugins.add("nested", NESTED)


def uncommented(text: str) -> str:
    """The text with every commented option of an exporter taken into use."""
    # Below a commented mapping the comments of its options become comments of one level, and stay.
    return re.sub(r"^( {12,})# ((  )*([\w\"]+:( .*)?|# .*))$", r"\1\2", text, flags=re.MULTILINE)


def test_what_it_writes_for_exporters_without_required_options_is_sound_as_it_is(cli, tmp_path):
    code, out, err = cli("init", "console", "none")
    assert (code, err) == (0, "")
    file = tmp_path / "metrics.yaml"
    file.write_text(out)
    assert [reader.label for reader in load_config(file).readers] == ["0:console", "1:none"]
    assert cli("validate", str(file)).code == 0


def test_required_options_are_marked_and_nothing_else_is_needed(cli, tmp_path):
    file = tmp_path / "metrics.yaml"
    assert cli("init", "sqlite", "-o", str(file)) == (0, "", "")
    text = file.read_text()
    assert text.count("REQUIRED") == 1
    assert "            path:  # REQUIRED\n" in text
    code, _, err = cli("validate", str(file))
    assert code == 2
    assert len(err.splitlines()) == 1
    file.write_text(text.replace("path:  # REQUIRED", "path: metrics.db"))
    (reader,) = load_config(file).readers
    assert (reader.interval, reader.timeout) == (60.0, 30.0)
    assert reader.config.path.name == "metrics.db"


@pytest.mark.parametrize("name", ["console", "sqlite"])
def test_every_commented_default_is_the_default(cli, tmp_path, name):
    text = cli("init", name).out.replace("path:  # REQUIRED", "path: metrics.db")
    file = tmp_path / "metrics.yaml"
    file.write_text(text)
    (as_written,) = load_config(file).readers
    file.write_text(uncommented(text))
    (taken_into_use,) = load_config(file).readers
    assert taken_into_use.config == as_written.config
    assert len(taken_into_use.config.model_fields_set) == len(type(as_written.config).model_fields)


def one_block_each(text: str) -> list[str]:
    """The text once for each commented option of an exporter, with the lines of that option uncommented."""
    texts = []
    for block in re.split(r"\n\n+", text):
        found = re.search(r"^ {12}# \(.*\)\n((?: {12}#.*\n?)+)\Z", f"{block}\n", flags=re.MULTILINE)
        if found:
            texts.append(
                text.replace(found[1].rstrip(), re.sub(r"^( {12})# ?", r"\1", found[1], flags=re.MULTILINE).rstrip())
            )
    assert text not in texts
    return texts


@pytest.mark.parametrize("name", ["console", "sqlite", "otlp_http", "otlp_grpc", "otlp_file", "nested"])
def test_the_file_is_valid_whichever_commented_block_is_uncommented_as_it_stands(cli, nested, tmp_path, name):
    text = cli("init", name).out.replace("path:  # REQUIRED", "path: metrics.db")
    text = text.replace("ca_file:  # REQUIRED", "ca_file: ca.pem")
    texts = one_block_each(text)
    assert len(texts) >= 2
    file = tmp_path / "metrics.yaml"
    environment = {"NESTED_PASSWORD": "12345"}
    for one in texts:
        file.write_text(one)
        load_config(file, environ=environment)
    file.write_text(uncommented(text))
    load_config(file, environ=environment)


def test_each_line_of_the_tls_block_takes_a_value_as_it_stands(cli, tmp_path):
    (text,) = [one for one in one_block_each(cli("init", "otlp_http").out) if "            tls:" in one]
    assert "              ca_file:\n" in text
    file = tmp_path / "metrics.yaml"
    endpoint = "https://host/v1/metrics"
    text = text.replace("# endpoint:", f"endpoint: {endpoint} #").replace("  ca_file:\n", "  ca_file: ca.pem\n")
    file.write_text(text)
    (reader,) = load_config(file).readers
    assert (reader.config.endpoint, str(reader.config.tls.ca_file)) == (endpoint, "ca.pem")


def test_nested_options_secrets_and_odd_defaults_come_out_right(cli, nested, tmp_path):
    text = cli("init", "nested").out
    assert "\x1b" not in text
    assert text.count("# REQUIRED") == 2
    file = tmp_path / "metrics.yaml"
    file.write_text(text.replace("ca_file:  # REQUIRED", "ca_file: ca.pem"))
    environment = {"NESTED_PASSWORD": "12345", "HOME": "wrong"}
    (reader,) = load_config(file, environ=environment).readers
    config = reader.config
    assert config.password.get_secret_value() == "12345"
    assert (config.tls.ca_file, config.settled.attempts) == ("ca.pem", 3)
    file.write_text(uncommented(file.read_text()))
    (reader,) = load_config(file, environ={**environment, "NESTED_API_KEY": "key"}).readers
    assert reader.config == config.model_copy(update={"api_key": reader.config.api_key})
    assert reader.config.api_key.get_secret_value() == "key"
    assert len(reader.config.model_fields_set) == len(type(config).model_fields)


def test_each_option_is_described(cli, nested):
    text = cli("init", "nested").out
    for words in ("Who sends: ${HOME} is not replaced", "Encryption.", "Whom to trust.", "How often.", "(number)"):
        assert f"# {words}" in text
    assert "# Send metrics: \\x1b[31mred." in text
    assert "More of it" not in text
    assert '# greeting: "$$HOME' in text
    assert '# word: "off"' in text
    assert "secret, best kept in the environment" in text


def test_the_settings_of_exporter_core_are_sound_too(cli, tmp_path):
    text = cli("init", "console", "none").out
    file = tmp_path / "metrics.yaml"
    head, _, tail = text.partition("# Settings of exporter-core itself.\n")
    file.write_text(head + re.sub("^# ", "", tail, flags=re.MULTILINE))
    assert set(yaml.safe_load(file.read_text())["exporter_core"]) == {"exporters", "plugins"}
    assert load_config(file).warnings == ()


def test_several_names_give_several_readers_also_of_one_exporter(cli, tmp_path):
    file = tmp_path / "metrics.yaml"
    cli("init", "none", "console", "none", "-o", str(file))
    assert [reader.label for reader in load_config(file).readers] == ["0:none", "1:console", "2:none"]


def test_a_qualified_name_stands_in_the_file_as_it_was_given(cli, plugins, tmp_path):
    plugins.add("clashing", distribution="made-one")
    plugins.add("clashing", distribution="made-two")
    file = tmp_path / "metrics.yaml"
    assert cli("init", "made-two:clashing", "-o", str(file)).code == 0
    assert [reader.label for reader in load_config(file).readers] == ["0:made-two:clashing"]


def test_a_name_with_odd_characters_is_a_key_all_the_same(cli, plugins, tmp_path):
    plugins.add("made_file/development")
    plugins.add("yes")
    plugins.add("grün #1")
    plugins.add("$HOME")
    file = tmp_path / "metrics.yaml"
    assert cli("init", "made_file/development", "yes", "grün #1", "$HOME", "-o", str(file)).code == 0
    names = [reader.exporter for reader in load_config(file).readers]
    assert names == ["made_file/development", "yes", "grün #1", "$HOME"]


def test_the_service_name_comes_from_the_environment_and_stays_text(cli, tmp_path):
    file = tmp_path / "metrics.yaml"
    cli("init", "none", "-o", str(file))
    assert load_config(file, environ={}).resource.attributes == {"service.name": "unknown_service"}
    assert load_config(file, environ={"OTEL_SERVICE_NAME": "42"}).resource.attributes == {"service.name": "42"}


def test_nothing_is_overwritten_without_force(cli, tmp_path):
    file = tmp_path / "metrics.yaml"
    file.write_text("mine")
    assert cli("init", "none", "-o", str(file)) == (2, "", f"error: {file}: exists; --force replaces it\n")
    assert file.read_text() == "mine"
    assert cli("init", "none", "-o", str(file), "--force") == (0, "", "")
    assert "none:" in file.read_text()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        (".", "is a directory; name a file"),
        ("missing/metrics.yaml", "cannot be written: No such file or directory"),
        ("file/metrics.yaml", "cannot be written: Not a directory"),
        ("x" * 300, "cannot be written: File name too long"),
        ("nul\0l", "cannot be written: its name has a null character"),
        ("", "is a directory; name a file"),
    ],
)
@pytest.mark.parametrize("force", [(), ("--force",)])
def test_a_file_that_cannot_be_written_is_one_line(cli, tmp_path, monkeypatch, path, words, force):
    tmp_path.joinpath("file").touch()
    monkeypatch.chdir(tmp_path)
    code, out, err = cli("init", "none", "-o", path, *force)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert err.endswith(f": {words}\n")
    assert len(err.splitlines()) == 1


def test_every_name_that_cannot_be_used_is_said_in_one_pass(cli, plugins, tmp_path):
    plugins.add("exiting", "raise SystemExit(3)")
    code, out, err = cli("init", "nothing", "sqllite", "exiting", "none", "-o", str(tmp_path / "metrics.yaml"))
    assert (code, out) == (2, "")
    lines = err.splitlines()
    assert [line.split(";")[0].split(":")[1] for line in lines] == [
        " no exporter named 'nothing' is installed",
        " no exporter named 'sqllite' is installed",
        " exporter 'exiting' (made-exiting 2.5)",
    ]
    assert not tmp_path.joinpath("metrics.yaml").exists()


def test_a_dash_is_standard_output(cli):
    assert cli("init", "none", "-o", "-") == cli("init", "none")
