"""What is in the distributions that are published: the package, typed and licensed, and nothing else."""

from __future__ import annotations

import re
import tarfile
import tomllib
import zipfile
from email import message_from_string
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DISTRIBUTIONS = [ROOT, *sorted(path.parent for path in ROOT.glob("plugins/*/pyproject.toml"))]


@pytest.mark.parametrize("source", DISTRIBUTIONS, ids=lambda source: "core" if source == ROOT else source.name)
def test_a_wheel_is_the_package_typed_and_licensed_and_nothing_else(source: Path, build) -> None:
    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    package = project["name"].replace("-", "_")
    with zipfile.ZipFile(build(source)) as wheel:
        names = wheel.namelist()
        metadata = f"{package}-{project['version']}.dist-info"
        headers = message_from_string(wheel.read(f"{metadata}/METADATA").decode())
        licence = wheel.read(f"{metadata}/licenses/LICENSE").decode()
        entry_points = wheel.read(f"{metadata}/entry_points.txt").decode()

    assert {name.partition("/")[0] for name in names} == {package, metadata}
    assert not [name for name in names if Path(name).name.startswith(("test_", "conftest"))]
    assert not [name for name in names if "/tests/" in name]
    assert f"{package}/py.typed" in names
    modules = {str(path.relative_to(source)) for path in (source / package).rglob("*.py")}
    assert modules <= set(names)

    assert headers["Name"] == project["name"]
    assert headers["License-Expression"] == "Apache-2.0"
    assert headers["Requires-Python"] == ">=3.11"
    assert headers["Summary"]
    assert "Apache License" in licence
    assert "Typing :: Typed" in headers.get_all("Classifier", [])
    assert ("exporter-core = " if source == ROOT else "[exporter_core.exporters.v1]") in entry_points


@pytest.mark.parametrize(
    "source",
    [pytest.param(one, marks=[pytest.mark.nightly] * (number > 1)) for number, one in enumerate(DISTRIBUTIONS)],
    ids=lambda source: "core" if source == ROOT else source.name,
)
def test_the_source_distribution_builds_the_same_wheel(source: Path, build, tmp_path: Path) -> None:
    with tarfile.open(build(source, "sdist")) as archive:
        safe = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # Debian 12's Python 3.11.2 has none
        archive.extractall(tmp_path / "unpacked", **safe)  # noqa: S202 - an archive made a moment ago
    (unpacked,) = (tmp_path / "unpacked").iterdir()
    with zipfile.ZipFile(build(unpacked)) as theirs, zipfile.ZipFile(build(source)) as ours:
        assert {name: theirs.read(name) for name in theirs.namelist()} == {
            name: ours.read(name) for name in ours.namelist()
        }


def test_the_core_has_no_exporter_that_only_proves_the_checker(build) -> None:
    with zipfile.ZipFile(build(ROOT)) as wheel:
        names = wheel.namelist()
        source = "".join(wheel.read(name).decode() for name in names if name.endswith(".py"))
    assert not [name for name in names if re.search("mutant|reference[.]|memory|false_alarm|/kit", name)]
    for word in ("ReferenceExporter", "MemoryHarness", "MUTANTS", "class Mutant"):
        assert word not in source


def test_the_core_depends_on_no_more_than_it_says(build) -> None:
    with zipfile.ZipFile(build(ROOT)) as wheel:
        (metadata,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
        headers = message_from_string(wheel.read(metadata).decode())
    required = {
        requirement.split(">=")[0].lower()
        for requirement in headers.get_all("Requires-Dist", [])
        if "extra ==" not in requirement
    }
    assert required == {"importlib-metadata", "opentelemetry-sdk", "pluggy", "pydantic", "pyyaml"}
