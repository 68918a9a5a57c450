"""The strangers' exporters: the catalogue is complete, and the checker still catches those that it has caught."""

import importlib
import inspect
import json

import pytest
from opentelemetry.sdk.metrics.export import MetricExporter
from third_party.catalogue import RIGHT, WRONG
from third_party.score import FOLDER, LONGEST, check

from exporter_core import Exporter
from exporter_core.conformance.clause import clauses

ENTRIES = {entry.name: entry for entry in (*RIGHT, *WRONG)}
HELPERS = {
    "EditingExporter",
    "ForgivesStatuses",
    "AppendingExporter",
    "CommandExporter",
    "KeptDatabaseExporter",
    "RewritingExporter",
    "Rewrites",
    "_Cut",
}
# "unsteady": a race decides, or the number of interleavings that a busy machine has time for.
LAST = json.loads((FOLDER / "last_score.json").read_text(encoding="utf-8"))
CAUGHT = [name for name, score in LAST.items() if score.get("named") and not score.get("unsteady")]
SAMPLE = ("FullDiskIsFine", "ReadsTheBodyOnce")
FEW = 521  # points, so that a sample is cheap


def test_every_exporter_loads_and_says_its_fault():
    assert len(ENTRIES) == len(RIGHT) + len(WRONG)
    for entry in ENTRIES.values():
        exporter = entry.load()
        assert issubclass(exporter, (Exporter, MetricExporter)), entry
        assert vars(exporter)["__doc__"], entry


def test_every_exporter_of_the_modules_is_in_the_catalogue():
    modules = [importlib.import_module(f"third_party.{module}") for module in {e.module for e in ENTRIES.values()}]
    found = {
        name
        for module in modules
        for name, thing in inspect.getmembers(module, inspect.isclass)
        if thing.__module__ == module.__name__ and issubclass(thing, (Exporter, MetricExporter))
    }
    assert found == set(ENTRIES) | HELPERS


def test_every_clause_exists_and_every_counterpart_is_right():
    known = {clause.id for clause in clauses()}
    right = {entry.name for entry in RIGHT}
    for entry in WRONG:
        assert set(entry.breaks) <= known, entry
        assert entry.breaks, entry
        assert entry.right in right, entry
    assert not any(entry.breaks for entry in RIGHT)


def test_the_score_is_of_these_exporters():
    assert set(LAST) == set(ENTRIES)


def test_at_most_one_wrong_exporter_in_fourteen_slips():
    slips = [entry.name for entry in WRONG if not LAST[entry.name]["caught"]]
    assert len(slips) * 14 <= len(WRONG), slips


def test_no_right_exporter_was_accused():
    assert {entry.name: LAST[entry.name]["must"] for entry in RIGHT if LAST[entry.name]["must"]} == {}


def test_the_documentation_has_this_score():
    text = " ".join((FOLDER.parents[2] / "docs/conformance.md").read_text(encoding="utf-8").split())
    caught = sum(LAST[entry.name]["caught"] for entry in WRONG)
    assert f"{len(WRONG)} wrong ones, of which it catches {caught}, and {len(RIGHT)} right ones" in text


@pytest.mark.parametrize("name", SAMPLE)
def test_a_sample_of_the_wrong_exporters_is_caught(name):
    entry = ENTRIES[name]
    found = check(entry, entry.breaks[:1], points=FEW)
    assert found.get("failed") == [entry.breaks[0]], found


@pytest.mark.nightly
@pytest.mark.parametrize("name", CAUGHT)
@pytest.mark.timeout(2 * LONGEST)
def test_a_wrong_exporter_is_still_caught(name):
    entry = ENTRIES[name]
    found = check(entry, entry.breaks)
    assert set(found.get("failed", ())) & set(entry.breaks), found


@pytest.mark.nightly
@pytest.mark.timeout(2 * LONGEST)
def test_a_delivery_that_never_ends_by_itself_fails_one_clause():
    found = check(ENTRIES["BoundToItsThread"])
    assert found["failed"] == ["EXP-01"], found


@pytest.mark.nightly
@pytest.mark.parametrize("name", [entry.name for entry in RIGHT])
@pytest.mark.timeout(2 * LONGEST)
def test_a_right_exporter_is_not_accused(name):
    found = check(ENTRIES[name])
    assert found.get("must") == [], found
