"""What a listing shows, and that nothing is imported for it."""

from __future__ import annotations

import os
import pickle
import sys
import zipfile

import pytest

from exporter_core import contract
from exporter_core.discovery import (
    PluginEntry,
    conflicts,
    entries as entries_module,
    installed,
    installed_observers,
    normalize,
    summary_of,
    unreadable,
)


def names(path, **options):
    return [entry.name for entry in installed(path=path, **options)]


def test_an_installed_exporter_is_listed_with_everything_its_metadata_says(site):
    info = site.exporter("Exporter-Core-Sqlite", "sqlite = exporter_core_sqlite:SqliteExporter [fast]", version="2.1")
    (entry,) = installed(path=site.path)
    assert entry == PluginEntry(
        name="sqlite",
        value="exporter_core_sqlite:SqliteExporter [fast]",
        group="exporter_core.exporters.v1",
        distribution="Exporter-Core-Sqlite",
        version="2.1",
        location=str(info),
    )
    assert summary_of(entry) == "What Exporter-Core-Sqlite is for"
    assert entry.qualified_name == "Exporter-Core-Sqlite:sqlite"


def test_a_folded_summary_is_one_line(site):
    info = site.exporter("a", "x")
    info.joinpath("METADATA").write_text("Name: a\nVersion: 1\nSummary: one\n   two\n\tthree\n\nbody\n")
    assert summary_of(installed(path=site.path)[0]) == "one two three"


def test_listing_imports_no_plugin_and_nothing_heavy(site, run_python, index_folder):
    site.exporter("loud", "loud = loud_plugin:X")
    (site.folder / "loud_plugin.py").write_text("raise SystemExit('imported')")
    code = f"""
import os, sys
os.environ["EXPORTER_CORE_CACHE"] = {str(index_folder)!r}
sys.path.insert(0, {str(site.folder)!r})
from exporter_core import discovery
assert "loud" in [entry.name for entry in discovery.installed()]
assert discovery.select("loud").value == "loud_plugin:X"
heavy = "importlib_metadata importlib.metadata pluggy pydantic opentelemetry dataclasses asyncio json logging inspect"
print([name for name in [*heavy.split(), "loud_plugin"] if name in sys.modules])
"""
    assert run_python(code, options=("-I",)).strip() == "[]"


def test_the_group_names_are_those_of_the_contract():
    assert entries_module.EXPORTER_PREFIX == contract.EXPORTER_GROUP_PREFIX
    assert f"{entries_module.OBSERVER_PREFIX}{contract.CONTRACT_VERSION}" == contract.OBSERVER_GROUP
    assert entries_module.SUPPORTED_CONTRACT == contract.CONTRACT_VERSION
    assert contract.HARNESS_GROUP.startswith(entries_module.INDEXED_PREFIX)


@pytest.mark.parametrize(
    ("suffix", "version"),
    [("1", 1), ("2", 2), ("99", 99), ("0", 0), ("X", None), ("", None), ("01", None), ("1.0", None), ("²", None)],
)
def test_entries_of_every_contract_version_are_listed_and_only_version_1_is_supported(site, suffix, version):
    site.exporter("a", "x", group=f"exporter_core.exporters.v{suffix}")
    (entry,) = installed(path=site.path)
    assert entry.contract_version == version
    assert entry.supported is (version == 1)


def test_observers_and_exporters_are_listed_apart(site):
    site.exporter("a", "watch", group="exporter_core.observers.v1")
    site.exporter("b", "send")
    site.exporter("c", "script", group="console_scripts")
    assert [entry.name for entry in installed_observers(path=site.path)] == ["watch"]
    assert names(site.path) == ["send"]


def test_the_first_of_two_distributions_with_one_name_shadows_the_other(site, other_site):
    site.exporter("some.plugin", "x = first:X", version="1.0")
    other_site.exporter("Some_Plugin", "x = second:X", "y = second:Y", version="2.0")
    assert [entry.value for entry in installed(path=site.path + other_site.path)] == ["first:X"]
    assert [entry.value for entry in installed(path=other_site.path + site.path)] == ["second:X", "second:Y"]


def test_what_an_uninstallation_left_behind_does_not_shadow_an_installed_distribution(site, other_site):
    left = site.exporter("plugin", "x = old:X", metadata=False)
    other_site.exporter("plugin", "x = installed:X")
    path = site.path + other_site.path
    assert [entry.value for entry in installed(path=path)] == ["installed:X"]
    site.settle()
    assert [entry.value for entry in installed(path=path)] == ["installed:X"]
    (left / "METADATA").write_text("Name: plugin\nVersion: 1\n\n")
    assert [entry.value for entry in installed(path=path)] == ["old:X"]


def test_a_directory_reached_under_several_names_counts_once(site, tmp_path, monkeypatch):
    site.exporter("a", "x")
    link = tmp_path / "link"
    link.symlink_to(site.folder)
    monkeypatch.chdir(site.folder)
    path = [str(site.folder), str(link), "", ".", f"{site.folder}/", str(site.folder)]
    assert names(path) == ["x"]
    assert conflicts(installed(path=path)) == {}
    assert installed(path=[""]) == installed(path=site.path)


def test_a_path_may_have_entries_that_are_missing_or_files_or_no_text(site, tmp_path):
    site.exporter("a", "x")
    file = tmp_path / "file.txt"
    file.write_text("not a zip file")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    path = [str(tmp_path / "missing"), str(file), str(fifo), b"bytes", None, "nul\0", *site.path]
    assert names(path) == ["x"]
    assert names([site.folder]) == ["x"]


def test_a_directory_that_appears_later_is_seen(site, tmp_path, other_site):
    site.exporter("a", "x")
    path = [*site.path, str(tmp_path / "later")]
    site.settle()
    assert names(path) == ["x"]
    other_site.exporter("b", "y")
    other_site.folder.rename(tmp_path / "later")
    assert names(path) == ["x", "y"]


@pytest.mark.parametrize(
    "line",
    [
        "two words = m:X",
        'it\'s "quoted" = m:X',
        "größe-µ = m:X",
        "a.b/c:d = m:X",
        "x=m:X=y",
        "[x = m:X",
        "x = m:X [one, two]",
        "= m:X",
        "x =",
        "\u00a0x\u2003=\tm:X",
    ],
)
def test_odd_names_and_values_read_as_importlib_metadata_reads_them(site, line):
    import importlib_metadata

    info = site.exporter("a", line)
    (point,) = importlib_metadata.Distribution.at(info).entry_points
    (entry,) = installed(path=site.path)
    assert (entry.name, entry.value, entry.group) == (point.name, point.value, point.group)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"[exporter_core.exporters.v1]\nx = caf\xe9:X\n", "not UTF-8"),
        ("[exporter_core.exporters.v1]\nx = m:X\n".encode("utf-16"), "not UTF-8"),
        (b"[exporter_core.exporters.v1]\nno equals sign\n", "line 2: expected 'name = module:attribute'"),
        (b"#" * ((1 << 20) + 1), "longer than"),
    ],
)
def test_broken_entry_points_are_reported_and_hide_no_others(site, content, reason):
    broken = site.install("broken", content)
    site.exporter("a", "x")
    site.settle()
    for _ in range(2):
        assert names(site.path) == ["x"]
        ((location, problem),) = unreadable(path=site.path)
        assert location == str(broken)
        assert reason in problem


def test_a_file_that_may_not_be_read_is_reported_and_hides_no_others(site, monkeypatch):
    denied = site.exporter("denied", "y")
    site.exporter("a", "x")
    site.settle()
    open_file = os.open

    def refusing(path, *arguments, **options):
        # Permissions stop nobody who runs the tests as root.
        if path == str(denied / "entry_points.txt"):
            raise PermissionError(13, "Permission denied")
        return open_file(path, *arguments, **options)

    monkeypatch.setattr(os, "open", refusing)
    for _ in range(2):
        assert names(site.path) == ["x"]
        assert unreadable(path=site.path) == ((str(denied), "entry_points.txt: Permission denied"),)
    monkeypatch.undo()
    (denied / "entry_points.txt").chmod(0o600)
    assert names(site.path) == ["x", "y"]


def test_good_lines_beside_a_bad_one_are_kept(site):
    info = site.install("b", "[exporter_core.exporters.v1]\ngood = m:X\nbad\nfine = m:Z\n[other]\nalso bad\n")
    assert names(site.path) == ["fine", "good"]
    assert [location for location, _ in unreadable(path=site.path)] == [str(info)]


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo, lambda path: path.symlink_to("missing")])
def test_something_else_in_the_place_of_entry_points_is_no_entry_point_and_never_blocks(site, make):
    info = site.install("odd")
    make(info / "entry_points.txt")
    site.exporter("a", "x")
    assert names(site.path) == ["x"]


def test_a_loop_of_links_hides_no_others(site):
    info = site.install("odd")
    (info / "entry_points.txt").symlink_to("entry_points.txt")
    site.exporter("a", "x")
    assert names(site.path) == ["x"]


def test_egg_info_of_a_development_install_is_read(site):
    site.exporter("dev-plugin", "x = dev:X", suffix="egg-info", version="0.1")
    (entry,) = installed(path=site.path)
    assert (entry.distribution, entry.version) == ("dev-plugin", "0.1")


def test_an_egg_info_file_shadows_as_any_distribution_does(site, other_site):
    (site.folder / "a-1.0.egg-info").write_text("Name: a\nVersion: 1.0\n")
    other_site.exporter("a", "x")
    assert names(site.path + other_site.path) == []


def test_without_metadata_the_directory_names_the_distribution(site):
    site.exporter("a-plugin", "x", version="3.2", metadata=False)
    (entry,) = installed(path=site.path)
    assert (entry.distribution, entry.version) == ("a_plugin", "3.2")
    assert summary_of(entry) == ""


def test_a_metadata_directory_that_nothing_names_is_reported(site):
    info = site.folder / "-1.0.dist-info"
    info.mkdir()
    (info / "entry_points.txt").write_text("[exporter_core.exporters.v1]\nx = m:X\n")
    assert names(site.path) == []
    assert [location for location, _ in unreadable(path=site.path)] == [str(info)]
    (info / "METADATA").write_text("Name: named\nVersion: 1\n\n")
    assert [entry.distribution for entry in installed(path=site.path)] == ["named"]


def test_zip_files_and_legacy_eggs_are_read_and_remembered(site, tmp_path, scans):
    archive = tmp_path / "plugins.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("zipped-1.5.dist-info/METADATA", "Name: zipped\nVersion: 1.5\nSummary: in a zip\n\n")
        file.writestr("zipped-1.5.dist-info/entry_points.txt", "[exporter_core.exporters.v1]\nz = zipped:Z\n")
    egg = tmp_path / "laid-0.3-py3.11.egg"
    (egg / "EGG-INFO").mkdir(parents=True)
    (egg / "EGG-INFO" / "PKG-INFO").write_text("Name: laid\nVersion: 0.3\n\n")
    points = egg / "EGG-INFO" / "entry_points.txt"
    points.write_text("[exporter_core.exporters.v1]\ne = laid:E\n")
    path = [*site.path, str(archive), str(egg)]
    site.settle()
    found = installed(path=path)
    assert [(e.name, e.distribution, e.version) for e in found] == [("e", "laid", "0.3"), ("z", "zipped", "1.5")]
    assert summary_of(found[1]) == "in a zip"
    assert installed(path=path) == found
    assert len(scans) == 1
    points.write_text("[exporter_core.exporters.v1]\nother = laid:E\n")
    assert names(path) == ["other", "z"]


def test_a_custom_finder_is_asked_every_time_and_a_failing_one_hides_nothing(site, monkeypatch, scans):
    import importlib_metadata

    class Virtual(importlib_metadata.Distribution):
        def read_text(self, filename):
            return {
                "METADATA": "Name: virtual\nVersion: 7\nSummary: from nowhere\n\n",
                "entry_points.txt": "[exporter_core.exporters.v1]\nv = virtual:V\n",
            }.get(filename)

        def locate_file(self, path):
            raise NotImplementedError

    class Finder:
        def find_spec(self, *args):
            return None

        def find_distributions(self, context):
            return [Virtual()]

    class Failing(Finder):
        def find_distributions(self, context):
            raise RuntimeError("no network")

    site.exporter("a", "x")
    monkeypatch.setattr(sys, "meta_path", [Failing(), Finder(), *sys.meta_path])
    assert names(site.path) == ["v", "x"]
    virtual = installed(path=site.path)[0]
    assert (virtual.distribution, virtual.version) == ("virtual", "7")
    assert virtual.location.startswith("virtual 7 from ")
    assert summary_of(virtual) == "from nowhere"
    assert any("RuntimeError: no network" in problem for _, problem in unreadable(path=site.path))
    assert scans == []


def test_conflicts_are_names_that_several_supported_entries_give(site):
    site.exporter("a", "x", "y", "same = m:S", "same = m:S")
    site.exporter("b", "x")
    site.exporter("c", "y", group="exporter_core.exporters.v2")
    found = conflicts(installed(path=site.path))
    assert {name: [entry.distribution for entry in rivals] for name, rivals in found.items()} == {"x": ["a", "b"]}


def test_entries_are_immutable_comparable_and_survive_pickling(site):
    site.exporter("a", "x")
    (entry,) = installed(path=site.path)
    with pytest.raises(AttributeError, match="immutable"):
        entry.name = "y"
    with pytest.raises(AttributeError, match="immutable"):
        del entry.name
    copy = pickle.loads(pickle.dumps(entry))  # noqa: S301 - its own pickle
    assert copy == entry
    assert hash(copy) == hash(entry)
    assert eval(repr(entry)) == entry  # noqa: S307 - its own repr
    assert entry != "x"


@pytest.mark.parametrize("name", ["A.b_C", "a--b__c", "a-_.b-c", "A-B-C"])
def test_names_are_normalised_as_pep_503_says(name):
    assert normalize(name) == "a-b-c"
