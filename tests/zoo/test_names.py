"""Distributions whose metadata is odd or hostile: names of every kind, one name twice, entry points that are broken."""

from __future__ import annotations

import json

import pytest

from exporter_core import ExporterRegistry, PluginPolicy
from exporter_core.cli.inspection import check_all
from exporter_core.discovery import conflicts, installed, unreadable
from exporter_core.errors import (
    ExporterConflictError,
    ExporterNotFoundError,
    PluginBlockedError,
    SetupError,
    UnsupportedContractError,
)

GROUP = "exporter_core.exporters.v1"
GOOD = "zoo_base:Good"

# As entry points are listed: what surrounds a name is stripped.
NAMES = [
    "two words",
    "tape_file/development",
    "a:b",
    "zoo-good:good",
    "../../etc/passwd",
    "C:\\metrics",
    "'single' \"double\"",
    "yes",
    "null",
    "~",
    "1.5",
    "- item",
    "{key: value}",
    "*alias",
    "!!python/object:os.system",
    "${HOME}",
    "%s %(name)s {0} {name}",
    "comment # comment",
    "ünïcödé",
    "u\u0308",
    "😀",
    "\u202eesrever",
    "zero\u200bwidth",
    "\x1b[31mred\x1b[0m",
    "bell\x07",
    "tab\there",
    "nul\x00",
    "x" * 5000,
    "[bold]markup[/bold]",
    "-o",
    "--help",
]


@pytest.fixture
def oddly_named(site):
    """One distribution that registers a well-behaved exporter under every odd name."""
    lines = "".join(f"{name} = {GOOD}\n" for name in NAMES)
    site.install("zoo-names", f"[{GROUP}]\n{lines}")


@pytest.mark.usefixtures("oddly_named")
def test_odd_names_are_listed_as_they_are(site, run):
    assert sorted(site.entries()) == sorted(NAMES)
    listed = json.loads(run("-m", "exporter_core", "list", "--json").stdout)["exporters"]
    assert sorted(row["name"] for row in listed if row["distribution"] == "zoo-names") == sorted(NAMES)


@pytest.mark.usefixtures("oddly_named")
def test_a_terminal_is_shown_no_control_characters(run):
    shown = run("-m", "exporter_core", "list").stdout
    assert "\\x1b[31mred" in shown
    assert not set(shown) & {"\x1b", "\x07", "\x00", "\u202e", "\u200b"}
    assert "[bold]markup[/bold]" in shown


@pytest.mark.usefixtures("oddly_named")
def test_odd_names_select_by_themselves_and_with_their_distribution_and_can_be_blocked(site):
    registry = ExporterRegistry(path=site.path)
    blocked = ExporterRegistry(path=site.path, policy=PluginPolicy(block=NAMES))
    for name in NAMES:
        assert registry.select(f"zoo-names:{name}").name == name
        if name != "zoo-good:good":  # which is the good one of zoo-good, whatever else has that name
            assert registry.select(name).name == name
            with pytest.raises(PluginBlockedError):
                blocked.select(name)
    assert registry.select("zoo-good:good").distribution == "zoo-good"


@pytest.mark.usefixtures("oddly_named")
def test_odd_names_load_export_and_are_checked(site, visit):
    assert visit(NAMES) == {name: ["ok"] * 5 for name in NAMES}
    sample = [site.entries()[name] for name in ("a:b", "\x1b[31mred\x1b[0m")]
    assert [result.failure for result in check_all(sample, path=site.path)] == [None] * 2


PIPELINE = """
import sys
from exporter_core import Pipeline
with Pipeline.from_file(sys.argv[1]) as pipeline:
    pipeline.meter_provider.get_meter("zoo").create_counter("visitors").add(1)
    report = pipeline.flush(30)
    assert report.ok, report
    print(len(report.readers), sum(reader.points_accepted for reader in report.readers))
"""


@pytest.mark.usefixtures("oddly_named")
def test_a_config_file_can_name_them_all(site, run, tmp_path):
    # YAML's keys are printable and have at most 1024 characters.
    names = [name for name in NAMES if name.isprintable() and len(name) < 1000]
    readers = [{"periodic": {"exporter": {name: {}}}} for name in names]
    config = {"file_format": "1.0", "meter_provider": {"readers": readers}}
    tmp_path.joinpath("config.yaml").write_text(json.dumps(config, ensure_ascii=False))
    done = run("-c", PIPELINE, tmp_path / "config.yaml")
    assert done.stdout.split() == [str(len(names))] * 2
    assert done.stderr == ""


def line_of(registry, name):
    """The one line that selecting says, and the kind of its error."""
    with pytest.raises(SetupError) as caught:
        registry.select(name)
    assert len(str(caught.value).splitlines()) == 1
    return type(caught.value), str(caught.value)


def test_a_name_of_two_distributions_is_a_conflict_that_names_both_and_each_can_be_selected(site, visit):
    for distribution in ("zoo-one", "zoo-two"):
        site.install(distribution, f"[{GROUP}]\nsame = {GOOD}\n")
    registry = ExporterRegistry(path=site.path)
    assert set(conflicts(installed(path=site.path))) == {"same"}
    assert line_of(registry, "same") == (
        ExporterConflictError,
        (
            "exporter 'same' is registered by zoo-one 6.6 and by zoo-two 6.6: "
            "name it 'zoo-one:same' or 'zoo-two:same', or block one of the distributions"
        ),
    )
    assert registry.select("zoo-two:same").distribution == "zoo-two"
    assert visit(["zoo-two:same"]) == {"zoo-two:same": ["ok"] * 5}
    assert [result.ok for result in check_all(installed(path=site.path), path=site.path)] == [True, True, True]


def test_a_name_twice_in_one_distribution_is_a_conflict_of_its_own(site):
    site.install("zoo-twice", f"[{GROUP}]\nsame = {GOOD}\nsame = {GOOD}2\n")
    says = "zoo-twice 6.6 registers exporter 'same' more than once, as 'zoo_base:Good' and 'zoo_base:Good2': ..."
    kind, line = line_of(ExporterRegistry(path=site.path), "same")
    assert kind is ExporterConflictError
    assert line.startswith(says.rstrip("."))
    twice = [entry for entry in installed(path=site.path) if entry.name == "same"]
    assert [result.failure for result in check_all(twice, path=site.path)] == [line, line]


def test_the_same_line_twice_is_one_exporter(site):
    site.install("zoo-twice", f"[{GROUP}]\nsame = {GOOD}\nsame = {GOOD}\n")
    assert ExporterRegistry(path=site.path).select("same").value == GOOD


@pytest.mark.parametrize("version", ["0", "2", "99", "X", "", "1.0", "-1"])
def test_other_versions_of_the_contract_are_listed_and_not_selected(site, version):
    site.install("zoo-later", f"[exporter_core.exporters.v{version}]\nlater = zoo_later:Gone\n")
    (entry,) = [entry for entry in installed(path=site.path) if entry.name == "later"]
    assert not entry.supported
    kind, line = line_of(ExporterRegistry(path=site.path), "later")
    assert kind is UnsupportedContractError
    assert "zoo-later 6.6" in line


def test_a_check_says_that_the_version_is_another_without_an_import(site):
    site.install(
        "zoo-later", "[exporter_core.exporters.v2]\nlater = zoo_later:Gone\n", {"zoo_later": "import os; os.abort()"}
    )
    (entry,) = [entry for entry in installed(path=site.path) if entry.name == "later"]
    (result,) = check_all([entry], path=site.path)
    assert result.failure == line_of(ExporterRegistry(path=site.path), "later")[1]


BROKEN = {
    "no_equals_sign": (f"[{GROUP}]\nbroken\n", "line 2: expected 'name = module:attribute', not 'broken'"),
    "not_text": (b"[exporter_core.exporters.v1]\nx = \xff\xfe:X\n", "entry_points.txt: not UTF-8 at byte 33"),
    "endless": (f"[{GROUP}]\n" + "x" * (2 << 20), "entry_points.txt: longer than 1048576 bytes"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_entry_points_that_cannot_be_read_are_said_and_hide_no_others(site, run, kind):
    info = site.install("zoo-broken", BROKEN[kind][0])
    assert unreadable(path=site.path) == ((str(info), BROKEN[kind][1]),)
    assert [entry.name for entry in installed(path=site.path)] == ["good"]
    kind, line = line_of(ExporterRegistry(path=site.path), "broken")
    assert kind is ExporterNotFoundError
    assert line.endswith(f"not readable: {info}: {unreadable(path=site.path)[0][1]}")


VALUES = {
    "no_module": ("", "ValueError: Empty module name"),
    "no_attribute": ("zoo_base", "module is not a class"),
    "relative": (".zoo_base:Good", "TypeError: the 'package' argument is required"),
    "deep": ("zoo_base:Good.nothing.there", "AttributeError: type object 'Good' has no attribute 'nothing'"),
    "code": ("os; import sys:Good", "ModuleNotFoundError: No module named 'os; import sys'"),
    "of_the_standard_library": ("json:JSONEncoder", "json.encoder.JSONEncoder has no operation 'temporality'"),
    "a_submodule_of_a_module": ("zoo_base.more:Good", "ModuleNotFoundError: No module named 'zoo_base.more'"),
}


def test_values_that_refer_to_no_exporter_are_said_when_selected(site, visit):
    site.install("zoo-values", f"[{GROUP}]\n" + "".join(f"{name} = {value}\n" for name, (value, _) in VALUES.items()))
    said = visit(VALUES)
    for name, (_, text) in VALUES.items():
        assert f"exporter {name!r} (zoo-values 6.6)" in said[name][0]
        assert text in said[name][0]


METADATA = {
    "empty": "",
    "no_version": "Name: zoo-odd\n",
    "escapes": "Name: zoo\x1b[31m-odd\nVersion: 1\x07\n",
    "colons": "Name: zoo:odd\nVersion: 1:2\n",
    "name_of_another": "Name: zoo-good\nVersion: 99\n",
    "not_text": b"Name: zoo-\xff\nVersion: 1\n",
    "binary": bytes(range(256)) * 1000,
    "long_name": f"Name: {'x' * 60_000}\nVersion: 1\n",
}


@pytest.mark.parametrize("kind", METADATA)
def test_odd_metadata_hides_nobody_and_every_message_about_it_is_one_printable_line(site, kind):
    site.install("zoo-odd", f"[{GROUP}]\nodd = zoo_base:Nothing\n", metadata=METADATA[kind])
    assert {entry.name for entry in installed(path=site.path)} == {"good", "odd"}
    registry = ExporterRegistry(path=site.path)
    assert registry.select("good").value == "zoo_base:Good"
    with pytest.raises(SetupError) as caught:
        registry.load("odd")
    assert str(caught.value).isprintable()
