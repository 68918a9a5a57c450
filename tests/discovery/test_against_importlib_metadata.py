"""The index says what importlib-metadata says, whatever is installed and whatever happens to it."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import importlib_metadata
from hypothesis import given, strategies as st

from exporter_core.discovery import index, installed, installed_observers, normalize
from exporter_core.discovery.entries import SDK_GROUP

GROUPS = (
    "exporter_core.exporters.v1",
    "exporter_core.exporters.v2",
    "exporter_core.exporters.vX",
    "exporter_core.observers.v1",
    "exporter_core.harnesses.v1",
    "opentelemetry_metrics_exporter",
    "opentelemetry_metrics_exporter2",
    "console_scripts",
    "exporter_core",
)
NAMES = ("plug", "Plug", "plug.in", "plug_in", "plug--in", "other", "größe")

text = st.text(st.characters(codec="utf-8", exclude_characters="=\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), max_size=8)
line = st.one_of(
    st.builds("{} = {}".format, text, text),
    st.builds("{}={}:{} [{}]".format, text, text, text, text),
    st.sampled_from(["", "# comment", "   ", "; = x", "x = y = z", "\ufeffa = b"]),
)
section = st.builds(
    lambda group, pad, lines: "\n".join([f"{pad}[{group}]{pad}", *lines]),
    st.sampled_from(GROUPS),
    st.sampled_from(["", " ", "\t"]),
    st.lists(line, max_size=4),
)
points = st.one_of(st.none(), st.builds("\n".join, st.lists(st.one_of(section, st.just("a = b")), max_size=3)))
newline = st.sampled_from(["\n", "\r\n", "\r"])
directory = st.builds(
    "{}{}.{}".format,
    st.sampled_from(NAMES),
    st.sampled_from(["-1.0", "-2.0", "-1.0-py3.11", ""]),
    st.sampled_from(["dist-info", "egg-info"]),
)
step = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 1), directory, points, newline, st.booleans()),
    st.tuples(st.just("remove"), st.integers(0, 1), st.integers(0, 20)),
    st.tuples(st.just("edit"), st.integers(0, 1), st.integers(0, 20), points.filter(bool)),
    st.tuples(st.just("list")),
    st.tuples(st.just("refresh")),
)


def truth(path, prefix, sdk_group=None):
    """What importlib-metadata lists: sorted rows, with the distribution each row is of."""
    chosen = {}
    distributions = list(importlib_metadata.MetadataPathFinder.find_distributions(_context(path)))
    # Its entry_points() does this: those with metadata first, then each name once.
    for distribution in sorted(distributions, key=lambda one: not one._has_metadata()):
        chosen.setdefault(distribution._normalized_name, distribution)
    rows = sorted(
        (point.name, point.value, point.group, normalize(key), str(distribution._path))
        for key, distribution in chosen.items()
        for point in distribution.entry_points
        if point.group.startswith(prefix) or point.group == sdk_group
    )
    return [row for row in rows if not (row[2] == sdk_group and is_given_to_the_sdk(row, rows))]


def is_given_to_the_sdk(row, rows):
    """A distribution's own exporter of the contract, which it registers for the SDK's reader too."""
    ours = {(name, location) for name, _, group, _, location in rows if group.startswith("exporter_core.exporters.v")}
    return not ours.isdisjoint((name, row[4]) for name in (row[0], row[0].removeprefix("exporter_core_")))


def _context(path):
    return importlib_metadata.DistributionFinder.Context(path=path)


def listed(entries):
    return sorted((e.name, e.value, e.group, _key(e), e.location) for e in entries)


def _key(entry):
    return normalize(Path(entry.location).name.rpartition(".")[0].partition("-")[0])


def apply(folders, change):
    kind, *rest = change
    if kind == "write":
        number, name, text_of_points, end, metadata = rest
        info = folders[number] / name
        info.mkdir(exist_ok=True)
        if metadata:
            (info / "METADATA").write_text("Name: from-metadata\nVersion: 4.5\n\n")
        if text_of_points is not None:
            (info / "entry_points.txt").write_bytes(text_of_points.replace("\n", end).encode())
    elif kind in {"remove", "edit"}:
        present = sorted(folders[rest[0]].iterdir())
        if present and kind == "remove":
            shutil.rmtree(present[rest[1] % len(present)])
        elif present:
            file = present[rest[1] % len(present)] / "entry_points.txt"
            if file.exists():
                file.write_text(rest[2])


@given(steps=st.lists(step, max_size=12))
def test_the_index_equals_importlib_metadata_after_every_step(clock_tick, steps):
    # Not through fixtures, which would be shared by all examples.
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name, "first"), Path(name, "second")]
        for folder in folders:
            folder.mkdir()
        path = [str(folder) for folder in folders]
        for change in [*steps, ("list",)]:
            apply(folders, change)
            importlib_metadata.MetadataPathFinder.invalidate_caches()
            refresh = change[0] == "refresh"
            if change[0] == "list":
                clock_tick(Path(name))
                found = index.listing(path)
                remembered = Path(index._file_for("\0".join(path).encode())).exists()
                # The file's format uses NUL, so what has it in a name is scanned every time.
                assert remembered is not ("\\x00" in repr((found.entries, found.problems)))
            for _ in range(2):
                assert listed(installed(path=path, refresh=refresh)) == truth(
                    path, "exporter_core.exporters.v", SDK_GROUP
                )
                assert listed(installed_observers(path=path)) == truth(path, "exporter_core.observers.v")


def test_the_environment_of_these_tests_is_listed_as_importlib_metadata_lists_it():
    given = {"exporter_core_console", "exporter_core_otlp_file", "exporter_core_otlp_grpc", "exporter_core_otlp_http"}
    given |= {"sqlite", "prometheus_remote_write"}
    theirs = [
        *importlib_metadata.entry_points(group="exporter_core.exporters.v1"),
        *importlib_metadata.entry_points(group="opentelemetry_metrics_exporter"),
        *importlib_metadata.entry_points(group="exporter_core.pull_exporters.v1"),
        *importlib_metadata.entry_points(group="opentelemetry_pull_metric_exporter"),
    ]
    outbound = [e for e in theirs if e.group == SDK_GROUP and e.dist.name.startswith("exporter-core-")]
    assert {e.name for e in outbound} == given
    theirs = [e for e in theirs if e not in outbound]
    ours = [entry for entry in installed() if entry.supported]
    assert sorted((e.name, e.value, e.distribution, e.version) for e in ours) == sorted(
        (e.name, e.value, e.dist.name, e.dist.version) for e in theirs
    )
