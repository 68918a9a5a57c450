import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from exporter_core.discovery import PluginEntry
from exporter_core.errors import ExporterNotFoundError
from exporter_core.exporter import ExporterConfig
from exporter_core.guard import GuardedExporter
from exporter_core.pipeline import Pipeline
from exporter_core.registry import ExporterRegistry
from exporter_core.testing import FakeExporter

LONG = 30.0


class FakeRegistry(ExporterRegistry):
    """A registry whose exporters are made by functions, by name; keeps what it made."""

    def __init__(self, factories: Mapping[str, Callable[[], object]], observers: Mapping[str, object]) -> None:
        super().__init__()
        self.factories = factories
        self.observers = observers
        self.made: list[GuardedExporter] = []

    def select(self, name: str) -> PluginEntry:
        if name not in self.factories:
            raise ExporterNotFoundError(f"no exporter named {name!r} is installed")
        group = "exporter_core.exporters.v1"
        return PluginEntry(name=name, value="m:X", group=group, distribution="dist", version="1", location="/nowhere")

    def config_model(self, name: str) -> type[ExporterConfig]:
        return ExporterConfig

    def load(self, name: str, config: Any = None, **options: Any) -> GuardedExporter:
        self.made.append(GuardedExporter(factory=self.factories[name], name=name, **options))
        return self.made[-1]

    def observer(self, name: str) -> object:
        return self.observers[name]


def mapping(*names: str, interval: int = 3_600_000, timeout: int = 30_000, **more: Any) -> dict[str, Any]:
    """A config with a reader for each of these exporters."""
    readers = [{"periodic": {"interval": interval, "timeout": timeout, "exporter": {name: {}}}} for name in names]
    provider = {"readers": readers, **more.pop("provider", {})}
    return {"file_format": "1.1", "meter_provider": provider, **more}


@pytest.fixture
def config() -> Callable[..., dict[str, Any]]:
    return mapping


@pytest.fixture
def registry() -> Callable[..., FakeRegistry]:
    def make(observers: Mapping[str, object] | None = None, **exporters: Any) -> FakeRegistry:
        """Exporters are given as instances or as functions that make them."""
        factories = {
            name: (lambda one=one: one) if isinstance(one, FakeExporter) else one for name, one in exporters.items()
        }
        return FakeRegistry(factories, observers or {})

    return make


@pytest.fixture
def pipeline(registry: Callable[..., FakeRegistry]) -> Iterator[Callable[..., Pipeline]]:
    """Make pipelines, with a reader for each exporter given."""
    made: list[Pipeline] = []

    def make(
        *, parts: Mapping[str, Any] | None = None, options: Mapping[str, Any] | None = None, **exporters: Any
    ) -> Pipeline:
        described = mapping(*exporters, **(parts or {}))
        made.append(Pipeline.from_config(described, registry=registry(**exporters), **(options or {})))
        return made[-1]

    yield make
    for one in made:
        one.shutdown(LONG)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Every thread that a test's readers and guards started has ended after it."""
    before = set(threading.enumerate())
    yield
    for thread in set(threading.enumerate()) - before:
        if thread.name.startswith("exporter-core-") and thread.name != "exporter-core-timer":
            thread.join(LONG)
            assert not thread.is_alive(), thread.name


@pytest.fixture
def hung() -> Iterator[Callable[..., None]]:
    """A function that hangs until its gate is opened, at the end of the test at the latest."""
    gate = threading.Event()

    def hang(*_: object) -> None:
        hang.entered.set()
        assert gate.wait(LONG)

    hang.gate, hang.entered = gate, threading.Event()
    yield hang
    gate.set()
