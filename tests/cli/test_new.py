"""``exporter-core new``; that the plugin it makes installs and passes its tests is in ``tests/packaging``."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from exporter_core.cli.new import _check_name
from exporter_core.cli.skeleton import skeleton
from exporter_core.errors import SetupError


def test_it_makes_a_distribution_and_says_what_to_do_next(cli):
    code, out, err = cli("new", "my_backend")
    assert (code, err) == (0, "")
    folder = Path("exporter-core-my-backend")
    assert out.startswith("Made exporter-core-my-backend with 10 files.")
    for words in ("cd exporter-core-my-backend\n", "pip install -e '.[test]'\n", "exporter-core describe my_backend\n"):
        assert f"  {words}" in out
    assert (folder / out.split()[-1].rstrip(".")).is_file()
    project = tomllib.loads((folder / "pyproject.toml").read_text())
    assert project["project"]["name"] == "exporter-core-my-backend"
    assert project["project"]["entry-points"]["exporter_core.exporters.v1"] == {
        "my_backend": "exporter_core_my_backend:MyBackendExporter"
    }
    assert project["project"]["entry-points"]["opentelemetry_metrics_exporter"] == {
        "my_backend": "exporter_core_my_backend.sdk:MyBackendMetricExporter"
    }
    assert sum(path.is_file() for path in folder.rglob("*")) == 10


KINDS = pytest.mark.parametrize("kind", [[], ["--http"]], ids=["file", "http"])


@KINDS
def test_no_template_word_is_left_over(cli, kind):
    cli("new", "my_backend", *kind)
    for path in Path("exporter-core-my-backend").rglob("*"):
        assert "$" not in path.name
        assert path.is_dir() or "$" not in path.read_text()


@KINDS
def test_the_table_in_the_readme_is_the_one_that_the_tool_prints(cli, kind):
    cli("new", "my_backend", *kind)
    folder = Path("exporter-core-my-backend")
    command = [sys.executable, "-m", "exporter_core.option_table", "exporter_core_my_backend:MyBackendConfig"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout in (folder / "README.md").read_text()


@KINDS
@pytest.mark.parametrize("path", ["exporter_core_my_backend", "tests"])
def test_its_code_is_formatted_and_free_of_faults(cli, path, kind):
    cli("new", "my_backend", *kind)
    folder = Path("exporter-core-my-backend") / path
    for check in (["format", "--check", "--line-length=120"], ["check", "--isolated", "--select=E,F,I,UP,B,PT,PL"]):
        command = [sys.executable, "-m", "ruff", *check, "--no-cache", "--config=line-length=120", folder]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, done.stdout


@pytest.mark.nightly  # mypy without a cache
def test_their_exporters_are_completely_typed(cli):
    cli("new", "my_backend")
    cli("new", "my_service", "--http")
    folders = [f"exporter-core-my-{one}/exporter_core_my_{one}" for one in ("backend", "service")]
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir=/dev/null", *folders]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout
    assert "Success" in done.stdout


def test_an_exporter_over_http_is_short(cli):
    cli("new", "--http", "my_backend")
    module = Path("exporter-core-my-backend", "exporter_core_my_backend", "exporter.py").read_text()
    assert len(module.splitlines()) <= 60
    project = tomllib.loads(Path("exporter-core-my-backend", "pyproject.toml").read_text())["project"]
    assert project["dependencies"][0].startswith("exporter-core[net]>=")


def test_another_folder_can_be_named(cli, tmp_path):
    code, out, _ = cli("new", "thing", "-o", str(tmp_path / "my plugin"))
    assert code == 0
    assert f"cd '{tmp_path}/my plugin'" in out
    assert tmp_path.joinpath("my plugin", "pyproject.toml").is_file()


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("nowhere")])
def test_nothing_that_exists_is_touched(cli, make):
    folder = Path("exporter-core-thing")
    make(folder)
    before = folder.lstat()
    assert cli("new", "thing") == (2, "", "error: exporter-core-thing: exists; -o makes another folder\n")
    assert folder.lstat() == before
    assert not folder.is_dir() or not list(folder.iterdir())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("My-Backend", "did you mean 'my_backend'?"),
        ("my backend", "did you mean 'my_backend'?"),
        ("9lives", "did you mean 'lives'?"),
        ("../../etc", "did you mean 'etc'?"),
        ("a__b", "did you mean 'a_b'?"),
        ("grün", "did you mean 'gr_n'?"),
        ("x" * 200, "at most 50"),
        ("", "at most 50, a letter first"),
        ("\x1b[31m\n", "'\\x1b[31m\\n' cannot be"),
        ("\0", "cannot be"),
    ],
)
def test_a_name_that_is_not_well_formed_is_one_line(cli, name, words):
    code, out, err = cli("new", name)
    assert (code, out) == (2, "")
    assert words in err
    assert err.startswith("error: ")
    assert len(err.splitlines()) == 1
    assert not list(Path.cwd().iterdir())


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("sqlite", "is installed already, by exporter-core-sqlite"),
        ("none", "is installed already, by exporter-core"),
    ],
)
def test_a_name_that_is_taken_is_one_line(cli, name, words):
    code, out, err = cli("new", name)
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1


def test_the_name_of_a_first_party_exporter_that_is_not_installed_is_taken_too(cli, monkeypatch):
    monkeypatch.setattr("exporter_core.cli.new.installed", list)
    code, out, err = cli("new", "sqlite")
    assert (code, out) == (2, "")
    assert "is the exporter of the distribution exporter-core-sqlite" in err
    assert len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("missing/thing", "cannot be made: No such file or directory"),
        ("x" * 300, "cannot be made: File name too long"),
        ("nul\0l", "its name has a null character"),
    ],
)
def test_a_folder_that_cannot_be_made_is_one_line(cli, output, words):
    code, out, err = cli("new", "thing", "-o", output)
    assert (code, out) == (2, "")
    assert words in err
    assert len(err.splitlines()) == 1


def test_nothing_is_left_when_a_file_cannot_be_written(cli, monkeypatch):
    def full(self, *arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert cli("new", "thing") == (
        2,
        "",
        "error: exporter-core-thing: cannot be written: No space left on device\n",
    )
    assert not Path("exporter-core-thing").exists()


@given(st.one_of(st.text(max_size=60), st.text("abz09_-./", max_size=9)))
def test_every_accepted_name_is_one_of_a_module(name):
    try:
        _check_name(name)
    except SetupError:
        return
    assert f"exporter_core_{name}".isidentifier()
    assert all(not path.startswith(("/", "..")) for path in skeleton(name, f"exporter-core-{name}"))
