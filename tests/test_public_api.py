"""What ``import exporter_core`` gives, what it costs, and that plugins use nothing else."""

from __future__ import annotations

import ast
import importlib
import typing
from pathlib import Path

import pytest

import exporter_core
from exporter_core import errors

ROOT = Path(__file__).parent.parent
PLUGIN_MODULES = sorted(ROOT.glob("plugins/*/exporter_core_*/**/*.py"))

PUBLIC = [
    "Collect",
    "ConfigError",
    "ConfigProblem",
    "Context",
    "ContextCancelledError",
    "ContractError",
    "DeadlineExceededError",
    "Destination",
    "DoneHandle",
    "Exporter",
    "ExporterBusyError",
    "ExporterConfig",
    "ExporterConflictError",
    "ExporterCoreError",
    "ExporterError",
    "ExporterForkedError",
    "ExporterNotFoundError",
    "ExporterReentrancyError",
    "ExporterRegistry",
    "ExporterShutdownError",
    "GuardedExporter",
    "InstrumentKind",
    "MaskedCauseError",
    "OutboundExporter",
    "PartialSuccessError",
    "PeriodicReader",
    "Pipeline",
    "PluginBlockedError",
    "PluginLoadError",
    "PluginPolicy",
    "PullExporter",
    "SetupError",
    "UnsupportedContractError",
    "__version__",
    "configure",
    "hookimpl",
    "load_exporter",
]


def test_the_public_names_are_these() -> None:
    assert exporter_core.__all__ == PUBLIC


def test_every_exception_is_public() -> None:
    assert set(errors.__all__) <= set(PUBLIC)


def test_every_public_name_is_looked_up_in_the_module_that_type_checkers_read_it_from() -> None:
    source = Path(exporter_core.__file__).read_text(encoding="utf-8")
    block = next(node for node in ast.parse(source).body if isinstance(node, ast.If))
    typed = {
        alias.asname: f"{statement.module}.{alias.name}"
        for statement in block.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }
    looked_up = {name: f"exporter_core.{module}.{name}" for name, module in exporter_core._MODULE_OF.items()}
    assert typed == looked_up
    assert set(looked_up) == set(PUBLIC) - {"__version__"}


@pytest.mark.parametrize("name", PUBLIC)
def test_every_public_name_can_be_imported(name: str) -> None:
    value = getattr(exporter_core, name)
    assert getattr(exporter_core, name) is value
    assert name in dir(exporter_core)
    if name in exporter_core._MODULE_OF:
        module = importlib.import_module(f"exporter_core.{exporter_core._MODULE_OF[name]}")
        assert getattr(module, name) is value


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Exportr'"):
        _ = exporter_core.Exportr  # type: ignore[attr-defined]


def test_importing_the_package_imports_nothing_heavy(run_python) -> None:
    heavy = [
        "asyncio",
        "importlib_metadata",
        "opentelemetry",
        "pluggy",
        "pydantic",
        "rich",
        "typer",
        "yaml",
        "logging",
        "inspect",
        "dataclasses",
    ]
    loaded = run_python(
        "import sys; before = set(sys.modules); import exporter_core; print(*sorted(set(sys.modules) - before))"
    ).split()
    assert not {name.partition(".")[0] for name in loaded} & set(heavy)
    assert [name for name in loaded if name.startswith("exporter_core")] == ["exporter_core", "exporter_core.lazy"]


def test_the_modules_below_discovery_import_no_third_party(run_python) -> None:
    loaded = run_python(
        "import sys, exporter_core.errors, exporter_core.clock, exporter_core.context; print(*sys.modules)"
    ).split()
    assert not {"opentelemetry", "pluggy", "pydantic", "yaml"} & set(loaded)


def test_the_contract_imports_pluggy_and_nothing_else_of_weight(run_python) -> None:
    loaded = run_python("import sys, exporter_core.contract; print(*sys.modules)").split()
    assert "pluggy" in loaded
    assert not {"opentelemetry", "pydantic", "yaml", "asyncio"} & set(loaded)


def test_the_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert exporter_core.__version__ == version("exporter-core")


def imports_of(tree: ast.Module) -> typing.Iterator[tuple[int, str, str | None]]:
    """Line, module and name (None for a plain import) of every import of exporter_core, wherever it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.partition(".")[0] == "exporter_core":
                    yield node.lineno, alias.name, None
        elif (
            isinstance(node, ast.ImportFrom)
            and node.level == 0
            and (node.module or "").split(".")[0] == "exporter_core"
        ):
            for alias in node.names:
                yield node.lineno, str(node.module), alias.name


PUBLIC_PACKAGES = {
    "exporter_core.authoring",
    "exporter_core.conformance",
    "exporter_core.conformance.sinks",
    "exporter_core.lazy",
    "exporter_core.net",
    "exporter_core.otlp",
    "exporter_core.testing",
}


def private_imports(source: str) -> list[str]:
    """What plugin code imports of the core beyond its public names and its public packages."""
    public = {*PUBLIC, "testing", "conformance"}
    return [
        f"{line}: {module}{'' if name is None else ' import ' + name}"
        for line, module, name in imports_of(ast.parse(source))
        if module not in PUBLIC_PACKAGES and not (module == "exporter_core" and (name is None or name in public))
    ]


def test_plugins_import_only_public_names_of_the_core() -> None:
    found = {
        str(path.relative_to(ROOT)): private
        for path in PLUGIN_MODULES
        if (private := private_imports(path.read_text(encoding="utf-8")))
    }
    assert not found
    assert PLUGIN_MODULES, "no plugin was looked at"


@pytest.mark.parametrize(
    "line",
    [
        "import exporter_core.guard",
        "from exporter_core.errors import ExporterError",
        "from exporter_core import guard",
        "from exporter_core import _MODULE_OF",
        "from exporter_core.context import Context as C",
        "def late():\n    from exporter_core.registry import load_exporter",
        "from exporter_core import *",
    ],
)
def test_the_check_of_plugins_finds_a_private_import(line: str) -> None:
    assert len(private_imports(line)) == 1


@pytest.mark.parametrize(
    "line",
    [
        "import exporter_core",
        "from exporter_core import Context, Exporter",
        "from exporter_core.testing import FakeExporter",
        "from exporter_core import testing",
        "import exporter_core_sqlite",
        "from .exporter_core import x",
    ],
)
def test_the_check_of_plugins_lets_public_names_pass(line: str) -> None:
    assert private_imports(line) == []
