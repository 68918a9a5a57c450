import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
from pydantic import Field, SecretStr, field_validator

from exporter_core.config import PipelineConfig, load_config
from exporter_core.discovery import PluginEntry
from exporter_core.errors import ConfigError, ExporterNotFoundError, PluginLoadError
from exporter_core.exporter import ExporterConfig


class Tls(ExporterConfig):
    ca_file: str


class Options(ExporterConfig):
    gate: ClassVar[threading.Event] = threading.Event()
    path: str = Field("metrics.db", description="Where to write.")
    endpoint: str | None = None
    timeout: float = Field(1.0, gt=0)
    mode: Literal["fast", "safe"] = "safe"
    password: SecretStr = SecretStr("")
    headers: dict[str, SecretStr] = Field(default_factory=dict)
    tls: Tls | None = None

    @field_validator("password")
    @classmethod
    def _refuse(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value().startswith("leak"):
            raise ValueError(f"refused: {value.get_secret_value()}")
        if value.get_secret_value() == "exit":
            raise SystemExit("leaving")
        if value.get_secret_value() == "interrupt":
            raise KeyboardInterrupt
        if value.get_secret_value() == "hang":
            cls.gate.wait(60)
        if value.get_secret_value().startswith("crash"):
            raise TypeError(f"crashed on {value.get_secret_value()}")
        return value


class Required(ExporterConfig):
    endpoint: str
    port: int = 80


@dataclass
class FakeRegistry:
    """The registry's methods that configuration uses, over fixed models; records what would have been imported."""

    models: Mapping[str, type[ExporterConfig] | Exception]
    imported: list[str]
    pull_models: Mapping[str, type[ExporterConfig] | Exception]

    def entries(self) -> tuple[PluginEntry, ...]:
        pull = [self.select(name, pull=True) for name in self.pull_models]
        return (*(self.select(name) for name in self.models), *pull)

    def select(self, name: str, *, pull: bool = False) -> PluginEntry:
        distribution, colon, plain = name.rpartition(":")
        if plain not in (self.pull_models if pull else self.models):
            raise ExporterNotFoundError(f"no exporter named {name!r} is installed; did you mean 'sqlite'?")
        return PluginEntry(
            name=plain,
            value=f"{plain}:X",
            group="exporter_core.pull_exporters.v1" if pull else "exporter_core.exporters.v1",
            distribution=distribution if colon else f"dist-{plain}",
            version="1.0",
            location="/nowhere",
        )

    def config_model(self, name: str, *, pull: bool = False) -> type[ExporterConfig]:
        self.select(name, **({"pull": True} if pull else {}))
        plain = name.rpartition(":")[2]
        self.imported.append(plain)
        model = (self.pull_models if pull else self.models)[plain]
        if isinstance(model, Exception):
            raise model
        return model


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry(
        {
            "sqlite": Options,
            "console": Options,
            "needy": Required,
            "none": ExporterConfig,
            "otlp_file/development": Options,
            "broken": PluginLoadError("plugin broken of dist-broken 1.0 failed:\nImportError: nope"),
        },
        [],
        {"prometheus/development": Options, "pulled": Options},
    )


@pytest.fixture
def load(tmp_path: Path, registry: FakeRegistry) -> Callable[..., PipelineConfig]:
    """Load a file with this text."""

    def load(text: str, environ: Mapping[str, str] | None = None) -> PipelineConfig:
        file = tmp_path / "pipeline.yaml"
        file.write_text(text, encoding="utf-8")
        return load_config(file, environ=environ or {}, registry=registry)

    return load


@pytest.fixture
def problems(load: Callable[..., PipelineConfig]) -> Callable[..., list[str]]:
    """The problems of a file with this text, each as ``LINE:COLUMN: message``."""

    def problems(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(text, environ)
        lines = [str(problem) for problem in caught.value.problems]
        assert str(caught.value) == "\n".join(lines)
        for problem, line in zip(caught.value.problems, lines, strict=True):
            assert problem.source is not None
            assert line.startswith(problem.source)
            assert "\n" not in line
        return [line.partition("pipeline.yaml:")[2].strip() for line in lines]

    return problems


@pytest.fixture
def minimal() -> Callable[..., dict[str, Any]]:
    """The smallest config as a mapping, with parts replaced."""

    def minimal(**parts: Any) -> dict[str, Any]:
        readers = [{"periodic": {"exporter": {"console": None}}}]
        return {"file_format": "1.1", "meter_provider": {"readers": readers, **parts.pop("provider", {})}, **parts}

    return minimal
