"""A site directory to install made-up distributions into, and an index folder of the test's own."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

GROUP = "exporter_core.exporters.v1"


class Site:
    """A directory of installed distributions."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def path(self) -> list[str]:
        return [str(self.folder)]

    def install(
        self,
        name: str,
        points: str | bytes | None = None,
        *,
        version: str = "1.0",
        metadata: bool = True,
        suffix: str = "dist-info",
    ) -> Path:
        """Add a distribution; ``points`` is the text of its entry_points.txt."""
        info = self.folder / f"{name.replace('-', '_')}-{version}.{suffix}"
        info.mkdir()
        if metadata:
            file = "METADATA" if suffix == "dist-info" else "PKG-INFO"
            info.joinpath(file).write_text(
                f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\nSummary: What {name} is for\n\nSummary: no\n"
            )
        if points is not None:
            info.joinpath("entry_points.txt").write_bytes(points if isinstance(points, bytes) else points.encode())
        return info

    def exporter(self, distribution: str, *lines: str, group: str = GROUP, **options: object) -> Path:
        """Add a distribution with these lines (or names) in the exporters' group."""
        rows = [line if "=" in line else f"{line} = {distribution.replace('-', '_')}:Exporter" for line in lines]
        return self.install(distribution, "\n".join([f"[{group}]", *rows, ""]), **options)  # type: ignore[arg-type]

    def uninstall(self, info: Path) -> None:
        shutil.rmtree(info)

    def settle(self, *, age: float = 3600.0) -> None:
        """Let the file system's clock tick past every change, and make the directories look long installed."""
        then = time.time() - age
        for folder in [*self.folder.iterdir(), self.folder]:
            if folder.is_dir():
                os.utime(folder, (then, then))
        tick(self.folder.parent)


def tick(folder: Path) -> None:
    """Return when a change made from here on has another time than every change made before."""
    probe = folder / ".tick"
    probe.write_text("")
    before = probe.stat().st_ctime_ns
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        probe.write_text("")
        if probe.stat().st_ctime_ns > before:
            probe.unlink()
            return
    raise TimeoutError("the file system's clock does not tick")


@pytest.fixture(scope="session")
def clock_tick():
    """The function :func:`tick`."""
    return tick


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "site")


@pytest.fixture
def other_site(tmp_path: Path) -> Site:
    return Site(tmp_path / "other")


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
