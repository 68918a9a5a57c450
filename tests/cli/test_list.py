"""``exporter-core list``."""

from __future__ import annotations

import json

import pytest

from exporter_core.cli.listing import BUILT_IN_SUMMARY
from exporter_core.none import NoneExporter

EXITING = "raise SystemExit(3)"


def listed(done) -> dict:
    assert (done.code, done.err) == (0, "")
    return {row["name"]: row for row in json.loads(done.out)["exporters"]}


def test_it_shows_name_status_distribution_contract_and_summary(cli, plugins):
    plugins.add("made_up")
    code, out, err = cli("list")
    assert (code, err) == (0, "")
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["NAME", "STATUS", "DISTRIBUTION", "CONTRACT", "SUMMARY"]
    assert ["made_up", "ok", "made-made_up", "2.5", "v1", "What", "made-made_up", "does"] in lines
    assert ["none", "ok", "exporter-core", "1.0.0", "v1", "Discard", "all", "metrics."] in lines
    assert not any(line.endswith(" ") for line in out.splitlines())


def test_80_columns_leave_the_summary_room_and_break_no_word(on_terminal, plugins):
    plugins.add("made_file/development", distribution="opentelemetry-exporter-otlp-proto-http")
    code, out, _ = on_terminal("list", columns=80, NO_COLOR="1")
    lines = [line.rstrip() for line in out.splitlines()]
    assert code == 0
    assert max(map(len, lines)) <= 80
    (at,) = [n for n, line in enumerate(lines) if line.startswith("made_file/development") and "What" in line]
    assert lines[at].split() == ["made_file/development", "ok", "What", "opentelemetry-exporter-otlp-proto-http"]
    below = [word for line in lines[at + 1 : at + 4] for word in line.split()]  # the longest name decides its width
    assert below[:4] == ["does", "opentelemetry-exporter-otlp-proto-http", "2.5,", "v1"]
    assert len(lines) < 60


def test_a_wide_terminal_has_one_line_an_exporter(on_terminal, plugins):
    plugins.add("made_up")
    code, out, _ = on_terminal("list", columns=220, NO_COLOR="1")
    assert code == 0
    assert "made_up ok made-made_up 2.5 v1 What made-made_up does" in [
        " ".join(line.split()) for line in out.splitlines()
    ]


def test_as_json_it_has_every_field(cli, plugins):
    plugins.add("made_up")
    assert listed(cli("list", "--json"))["made_up"] == {
        "name": "made_up",
        "distribution": "made-made_up",
        "version": "2.5",
        "summary": "What made-made_up does",
        "entry_point": "made_made_made_up_made_up:Made",
        "group": "exporter_core.exporters.v1",
        "contract_version": 1,
        "status": "ok",
        "reason": None,
        "place": None,
    }


def test_the_summary_of_the_built_in_exporter_is_its_own():
    assert NoneExporter.__doc__ == BUILT_IN_SUMMARY


@pytest.mark.parametrize("flags", [(), ("--refresh",), ("--refresh", "--json")])
def test_the_short_way_without_typer_and_the_long_one_write_the_same(cli, plugins, monkeypatch, flags):
    plugins.add("one")
    plugins.add("two", group="exporter_core.exporters.v7")
    plugins.folder.joinpath("bad-1.0.dist-info").mkdir()
    plugins.folder.joinpath("bad-1.0.dist-info", "entry_points.txt").write_bytes(
        b"[exporter_core.exporters.v1]\n\xff=x"
    )
    short = cli("list", "--json", *flags)
    monkeypatch.setattr("exporter_core.cli._LIST_FLAGS", set())
    assert cli("list", "--json", *flags) == short
    assert "bad-1.0" in short.out


def test_refresh_sees_what_the_index_cannot(cli, plugins, monkeypatch):
    seen = []
    from exporter_core.discovery import installed

    monkeypatch.setattr(
        "exporter_core.cli.listing.installed", lambda *, refresh: seen.append(refresh) or installed(refresh=refresh)
    )
    for arguments in (["--json"], ["--json", "--refresh"], [], ["--refresh"]):
        assert cli("list", *arguments).code == 0
    assert seen == [False, True, False, True]


@pytest.mark.fresh_python
def test_listing_as_json_imports_no_plugin_and_nothing_heavy(run_python, plugins):
    plugins.add("exiting", EXITING)
    checked = """
import contextlib, io, sys
with contextlib.redirect_stdout(io.StringIO()) as out:
    from exporter_core.cli import main
    assert main(["list", "--json"]) == 0
assert '"exiting"' in out.getvalue()
heavy = {"typer", "rich", "click", "pydantic", "pluggy", "opentelemetry", "yaml", "importlib_metadata", "pathlib",
          "dataclasses", "inspect", "importlib.metadata", "email", "subprocess", "logging"}
found = heavy & set(sys.modules) | {name for name in sys.modules if name.startswith("made_")}
assert not found, found
"""
    run_python(checked)
    run_python(checked)  # with the index that the first has made


@pytest.mark.fresh_python
def test_listing_for_people_imports_no_plugin_and_no_plugin_machinery(run_python, plugins):
    plugins.add("exiting", EXITING)
    run_python("""
import sys
from exporter_core.cli import main
assert main(["list"]) == 0
found = {"exporter_core.exporter", "pluggy", "opentelemetry", "yaml"} & set(sys.modules)
assert not found | {name for name in sys.modules if name.startswith("made_")}, found
""")


def test_two_distributions_with_one_name_are_a_conflict_that_says_how_to_choose(cli, plugins):
    plugins.add("clashing", distribution="made-one")
    plugins.add("clashing", distribution="made-two")
    code, out, err = cli("list")
    assert (code, err) == (0, "")
    assert (
        "clashing: conflict: also registered by made-two 2.5; use 'made-one:clashing' to select this one"
        in out.splitlines()
    )
    assert (
        "clashing: conflict: also registered by made-one 2.5; use 'made-two:clashing' to select this one"
        in out.splitlines()
    )
    assert listed(cli("list", "--json"))["clashing"]["status"] == "conflict"


def test_other_contract_versions_are_listed_as_unsupported(cli, plugins):
    plugins.add("later", group="exporter_core.exporters.v2")
    plugins.add("odd", group="exporter_core.exporters.vX")
    rows = listed(cli("list", "--json"))
    assert rows["later"]["status"] == rows["odd"]["status"] == "unsupported"
    assert (rows["later"]["contract_version"], rows["odd"]["contract_version"]) == (2, None)
    assert rows["later"]["reason"] == "it is registered for contract version 2; this exporter-core supports version 1"
    assert "later: unsupported: it is registered for contract version 2;" in cli("list").out


def test_what_cannot_be_read_is_said(cli, plugins):
    folder = plugins.folder / "bad-1.0.dist-info"
    folder.mkdir()
    folder.joinpath("entry_points.txt").write_bytes(b"[exporter_core.exporters.v1]\nx = \xff\n")
    code, out, err = cli("list")
    assert (code, err) == (0, "")
    assert f"{folder}: unreadable: " in out
    (problem,) = json.loads(cli("list", "--json").out)["unreadable"]
    assert problem["location"] == str(folder)
    assert "UTF-8" in problem["reason"]


@pytest.mark.nightly  # it looks into every installed exporter
def test_checking_imports_each_and_says_which_fail(cli, plugins):
    plugins.add("good", "import sys\nprint('noise')\nsys.stderr.write('noise')\n" + GOOD)
    plugins.add("exiting", EXITING)
    plugins.add("later", EXITING, group="exporter_core.exporters.v2")
    plugins.add("clashing", EXITING, distribution="made-one")
    plugins.add("clashing", GOOD, distribution="made-two")
    code, out, err = cli("list", "--check", "--json")
    assert (code, err) == (1, "")
    rows = {(row["name"], row["distribution"]): row for row in json.loads(out)["exporters"]}
    assert rows["good", "made-good"]["status"] == "ok"
    assert rows["exiting", "made-exiting"]["status"] == "failed"
    assert rows["exiting", "made-exiting"]["reason"] == "cannot be loaded: SystemExit: 3"
    assert rows["later", "made-later"]["status"] == "unsupported"
    assert rows["clashing", "made-one"]["status"] == "failed"
    assert rows["clashing", "made-two"]["status"] == "conflict"
    code, out, err = cli("list", "--check")
    assert (code, err) == (1, "")
    assert "noise" not in out
    place = f"{plugins.folder / 'made_made_exiting_exiting.py'}:1"
    assert f"exiting: failed: cannot be loaded: SystemExit: 3 ({place})" in out.splitlines()
    assert rows["exiting", "made-exiting"]["place"] == place
    assert "Traceback" not in err
    code, _, err = cli("list", "--check", "--verbose")
    assert code == 1
    assert err.count("Traceback (most recent call last):") == 2
    assert f'File "{plugins.folder / "made_made_exiting_exiting.py"}", line 1, in <module>' in err


@pytest.mark.nightly
def test_checking_is_well_when_all_can_be_used(cli):
    code, out, err = cli("list", "--check")
    assert (code, err) == (0, "")
    assert "failed" not in out


def test_a_config_file_blocks_before_anything_is_imported(cli, plugins, tmp_path):
    plugins.add("exiting", EXITING)
    plugins.add("clashing", distribution="made-one")
    plugins.add("clashing", distribution="made-two")
    file = tmp_path / "metrics.yaml"
    file.write_text(
        'file_format: "1.0"\n'
        "meter_provider: {readers: [{periodic: {exporter: {unheard_of: {a: 1}}}}]}\n"
        "exporter_core: {plugins: {block: [exiting, made-two]}}\n"
    )
    code, out, err = cli("list", "--config", str(file), "--check", "--json")
    assert (code, err) == (0, "")
    rows = {(row["name"], row["distribution"]): row for row in json.loads(out)["exporters"]}
    assert rows["exiting", "made-exiting"]["status"] == "blocked"
    assert rows["exiting", "made-exiting"]["reason"] == "its name 'exiting' is in the block list"
    assert rows["clashing", "made-one"]["status"] == "ok"
    assert rows["clashing", "made-two"]["status"] == "blocked"
    assert "exiting: blocked: its name 'exiting' is in the block list" in cli("list", "--config", str(file)).out


def test_a_config_file_that_is_wrong_is_said(cli, tmp_path):
    file = tmp_path / "metrics.yaml"
    file.write_text('file_format: "1.0"\nexporter_core: {plugins: {blok: [a]}}\n')
    code, out, err = cli("list", "--config", str(file))
    assert (code, out) == (2, "")
    assert f"{file}:2:27: " in err
    assert "did you mean 'block'?" in err


def test_what_plugins_say_of_themselves_cannot_act_on_the_terminal(cli, plugins):
    plugins.add("\x1b[31mred")
    code, out, _ = cli("list")
    assert code == 0
    assert "\\x1b[31mred" in out
    assert "\x1b" not in out
    assert "\x1b" not in cli("list", "--json").out


GOOD = """
from exporter_core import Exporter, ExporterConfig

class Made(Exporter[ExporterConfig]):
    def export(self, context, metrics):
        pass
"""
