"""An index folder of the test's own, and a count of the scans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def index_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "index"
    monkeypatch.setenv("EXPORTER_CORE_CACHE", str(folder))
    return folder


@pytest.fixture
def scans(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The path of every scan, in order: a listing that adds none came from the index."""
    from exporter_core.discovery import index

    made: list[tuple[str, ...]] = []
    scan = index.scan

    def counted(path, watch):
        made.append(tuple(path))
        return scan(path, watch)

    monkeypatch.setattr(index, "scan", counted)
    return made
