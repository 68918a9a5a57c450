"""From a name to one entry, or to an error that says the way out."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from exporter_core.discovery import FIRST_PARTY, PluginEntry, PluginPolicy, installed, select, select_observer
from exporter_core.discovery.select import _unsupported
from exporter_core.errors import (
    ExporterConflictError,
    ExporterNotFoundError,
    PluginBlockedError,
    UnsupportedContractError,
)


def error_of(kind, name, site, **options):
    with pytest.raises(kind) as caught:
        select(name, path=site.path, **options)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_name_selects_its_entry(site):
    site.exporter("a", "x", "y")
    assert select("y", path=site.path) == installed(path=site.path)[1]


def test_the_nearest_spelling_and_what_is_installed_are_in_the_error(site):
    site.exporter("a", "sqlite")
    site.exporter("b", "statsd", "two words ")
    message = error_of(ExporterNotFoundError, "sqlitte", site)
    assert message == (
        "no exporter named 'sqlitte' is installed; did you mean 'sqlite'? installed: sqlite, statsd, two words"
    )


def test_nothing_installed_is_said(site):
    assert error_of(ExporterNotFoundError, "zzz", site) == "no exporter named 'zzz' is installed; installed: none"


@pytest.mark.parametrize(("name", "distribution"), sorted(FIRST_PARTY.items()))
def test_the_distribution_of_a_first_party_name_is_in_the_error(site, name, distribution):
    message = error_of(ExporterNotFoundError, name, site)
    assert f"it comes with the distribution {distribution}: pip install {distribution}; installed: none" in message


def test_a_first_party_name_that_its_installed_distribution_lacks_asks_for_an_upgrade(site):
    site.exporter("exporter_core_otlp", "otlp_http")
    assert "pip install -U exporter-core-otlp" in error_of(ExporterNotFoundError, "otlp_grpc", site)


def test_a_misspelt_first_party_name_is_corrected_though_it_is_not_installed(site):
    message = error_of(ExporterNotFoundError, "sqltie", site)
    assert "did you mean 'sqlite' (pip install exporter-core-sqlite)?" in message


def test_the_first_party_names_are_those_of_the_plugins_that_exist():
    registered = {}
    for file in (Path(__file__).parents[2] / "plugins").glob("*/pyproject.toml"):
        project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
        registered |= dict.fromkeys(project["entry-points"]["exporter_core.exporters.v1"], project["name"])
    assert registered == FIRST_PARTY


@pytest.mark.parametrize("name", ["kafka", "nats", "postgresql"])
def test_a_distribution_that_does_not_exist_is_not_suggested(site, name):
    assert "pip install" not in error_of(ExporterNotFoundError, name, site)


def test_names_that_are_built_in_are_suggested_too(site):
    site.exporter("exporter-core", "none")
    assert "did you mean 'none'?" in error_of(ExporterNotFoundError, "non", site)


def test_entry_points_that_cannot_be_read_are_in_the_error(site):
    broken = site.install("broken", b"\xff")
    assert f"not readable: {broken}: entry_points.txt: not UTF-8" in error_of(ExporterNotFoundError, "x", site)


def test_two_distributions_with_one_name_conflict_when_that_name_is_selected(site):
    site.exporter("first-plugin", "x", "mine")
    site.exporter("second-plugin", "x", version="2.0")
    message = error_of(ExporterConflictError, "x", site)
    assert message == (
        "exporter 'x' is registered by first-plugin 1.0 and by second-plugin 2.0: "
        "name it 'first-plugin:x' or 'second-plugin:x', or block one of the distributions"
    )
    assert select("mine", path=site.path).distribution == "first-plugin"


@pytest.mark.parametrize("name", ["second-plugin:x", "Second_Plugin:x", "second.plugin:x"])
def test_the_distribution_settles_a_conflict(site, name):
    site.exporter("first-plugin", "x")
    site.exporter("second-plugin", "x")
    assert select(name, path=site.path).distribution == "second-plugin"


def test_no_plugin_takes_the_place_of_a_qualified_name(site):
    site.exporter("good", "x")
    site.exporter("bad", "good:x = bad:X")
    assert select("good:x", path=site.path).value == "good:Exporter"
    assert select("bad:good:x", path=site.path).value == "bad:X"


def test_a_name_with_a_colon_is_selected_where_no_distribution_is_meant(site):
    site.exporter("a", "odd:name = m:X")
    assert select("odd:name", path=site.path).value == "m:X"


def test_a_misspelt_qualified_name_is_corrected(site):
    site.exporter("first-plugin", "x")
    assert "did you mean 'first-plugin:x'?" in error_of(ExporterNotFoundError, "frst-plugin:x", site)


def test_one_distribution_with_a_name_twice_is_an_error_that_names_both_values(site):
    site.exporter("a", "x = m:X", "x = m:Y")
    message = error_of(ExporterConflictError, "x", site)
    assert "a 1.0 registers exporter 'x' more than once, as 'm:X' and 'm:Y'" in message


def test_a_repeated_identical_line_is_no_conflict(site):
    site.exporter("a", "x = m:X", "x = m:X")
    assert select("x", path=site.path).value == "m:X"


@pytest.mark.parametrize(
    ("suffix", "says"),
    [
        ("2", "made for contract version 2, this exporter-core supports version 1: upgrade exporter-core, or install"),
        ("99", "made for contract version 99, this exporter-core supports version 1: upgrade exporter-core"),
        ("0", "made for contract version 0, this exporter-core supports version 1: upgrade a-plugin"),
        ("X", "in the group 'exporter_core.exporters.vX', which names no contract version: upgrade a-plugin"),
    ],
)
def test_an_unsupported_contract_version_is_said_with_distribution_and_way_out(site, suffix, says):
    site.exporter("a-plugin", "x", group=f"exporter_core.exporters.v{suffix}", version="3.1")
    message = error_of(UnsupportedContractError, "x", site)
    assert message.startswith("exporter 'x' of a-plugin 3.1 is ")
    assert says in message


@pytest.mark.parametrize("suffix", ["0", "2", "X"])
def test_a_distribution_whose_name_would_break_the_line_is_quoted(suffix):
    group = f"exporter_core.exporters.v{suffix}"
    entry = PluginEntry("x", "m:X", group, "we\nird", "1\n.0", "/site/weird.dist-info")
    message = _unsupported("exporter", entry)
    assert message.isprintable()
    assert "'we\\nird 1\\n.0'" in message


def test_of_two_contract_versions_the_supported_one_is_selected(site):
    lines = "[exporter_core.exporters.v2]\nx = m:New\n[exporter_core.exporters.v1]\nx = m:X\n"
    site.install("a", lines)
    site.exporter("b", "x", group="exporter_core.exporters.v3")
    assert select("x", path=site.path).value == "m:X"


def test_a_blocked_plugin_is_an_error_that_says_why(site):
    site.exporter("a-plugin", "x")
    message = error_of(PluginBlockedError, "x", site, policy=PluginPolicy(block=("A_Plugin",)))
    assert message.startswith(
        "exporter 'x' of a-plugin 1.0 may not be used: its distribution 'a-plugin' is in the block list"
    )


def test_blocking_one_of_two_distributions_settles_their_conflict(site):
    site.exporter("a", "x")
    site.exporter("b", "x")
    assert select("x", path=site.path, policy=PluginPolicy(block=("a",))).distribution == "b"
    assert select("x", path=site.path, policy=PluginPolicy(allow=("a",))).distribution == "a"


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (PluginPolicy(), None),
        (PluginPolicy(allow=("my_exporter",)), None),
        (PluginPolicy(allow=("The.Plugin",)), None),
        (PluginPolicy(allow=()), "neither its name 'my-exporter' nor its distribution 'the-plugin' is in the allow"),
        (PluginPolicy(allow=("other",)), "neither its name"),
        (PluginPolicy(block=("My.Exporter",)), "its name 'my-exporter' is in the block list"),
        (PluginPolicy(block=("the_plugin",)), "its distribution 'the-plugin' is in the block list"),
        (PluginPolicy(allow=("the-plugin",), block=("my-exporter",)), "its name 'my-exporter' is in the block list"),
    ],
)
def test_a_policy_compares_names_and_distributions_normalised(site, policy, reason):
    site.exporter("the-plugin", "my-exporter")
    (entry,) = installed(path=site.path)
    against = policy.reason_against(entry)
    assert against is None if reason is None else reason in against


def test_a_policy_is_a_value():
    assert PluginPolicy(["a"], ["b"]) == PluginPolicy(("a",), ("b",))
    assert hash(PluginPolicy(["a"])) == hash(PluginPolicy(("a",)))
    assert PluginPolicy() != PluginPolicy(())
    assert repr(PluginPolicy(("a",))) == "PluginPolicy(allow=('a',), block=())"


@pytest.mark.parametrize("lists", [{"allow": "sqlite"}, {"block": "sqlite"}])
def test_one_name_in_place_of_a_list_is_refused(lists):
    with pytest.raises(TypeError, match="sequences of names"):
        PluginPolicy(**lists)


def test_the_distribution_that_the_policy_judges_is_the_one_on_disk(site):
    info = site.exporter("a", "x")
    site.settle()
    select("x", path=site.path)
    (info / "METADATA").write_text("Name: blocked-one\nVersion: 1.0\n\n")
    with pytest.raises(PluginBlockedError):
        select("x", path=site.path, policy=PluginPolicy(block=("blocked-one",)))


def test_observers_are_selected_among_observers(site):
    site.exporter("a", "watch", group="exporter_core.observers.v1")
    site.exporter("b", "send")
    assert select_observer("watch", path=site.path).distribution == "a"
    with pytest.raises(ExporterNotFoundError, match="no observer named 'send' is installed; installed: watch"):
        select_observer("send", path=site.path)


def test_an_exporter_in_a_legacy_egg_is_selected(site, tmp_path):
    egg = tmp_path / "laid-0.3-py3.11.egg"
    (egg / "EGG-INFO").mkdir(parents=True)
    (egg / "EGG-INFO" / "PKG-INFO").write_text("Name: laid\nVersion: 0.3\n\n")
    (egg / "EGG-INFO" / "entry_points.txt").write_text("[exporter_core.exporters.v1]\ne = laid:E\n")
    assert select("e", path=[*site.path, str(egg)]).value == "laid:E"
