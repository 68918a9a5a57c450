"""``exporter-core doctor``: what is installed, configured and reachable, on one page to paste into an issue."""

from __future__ import annotations

import os
import platform
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from exporter_core.cli import output
from exporter_core.errors import ConfigError
from exporter_core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from exporter_core.cli.inspection import CheckResult
    from exporter_core.config import PipelineConfig, ReaderSettings
    from exporter_core.discovery import PluginEntry
    from exporter_core.registry import ExporterRegistry

_VARIABLE: Final = re.compile(
    r"(OTEL|EXPORTER_CORE)_\w+|((https?|all|no|grpc|no_grpc)_proxy|SSL_CERT_(FILE|DIR)|XDG_CACHE_HOME|PYTHONPATH)",
    re.IGNORECASE,
)
_REQUIREMENT: Final = re.compile(r"([\w.-]+)[^;]*(?:;\s*extra\s*==\s*['\"]([\w.-]+)['\"]\s*)?")
_MOST_FILES: Final = 20
_MOST_BYTES: Final = 1_000_000
_IMPORT_SECONDS: Final = 15.0  # for a plugin, in a child process


def doctor(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="FILE", help="Config files; without, those of OTEL_CONFIG_FILE and this folder.", show_default=False
        ),
    ] = None,
    *,
    offline: Annotated[bool, typer.Option("--offline", help="Connect to no backend.")] = False,
    timeout: Annotated[
        float, typer.Option(min=0.01, metavar="SECONDS", help="Time-out for reaching each backend.")
    ] = 3.0,
    json: Annotated[bool, typer.Option("--json", help="Print the page as JSON.")] = False,
) -> int:
    """Show what is installed, configured and reachable.

    One page to paste into an issue. Secrets are masked. Each plugin is imported in a child process; each backend of a
    config file is connected to, and sent nothing. The exit code is 1 if something is wrong.

    Example: exporter-core doctor metrics.yaml
    """
    exporters, failures = _exporters()
    page: dict[str, Any] = {  # Any: JSON
        "versions": _versions(row["distribution"] for row in exporters),
        "exporters": exporters,
        "environment": {
            name: _masked(name, value) for name, value in sorted(os.environ.items()) if _VARIABLE.fullmatch(name)
        },
        "files": [],
        "backends": [],
    }
    with output.stdout_kept(), output.tracebacks(False):
        registry = _registry(failures)
        for file, outcome in _outcomes(files or _found_files(), registry):
            page["files"].append(_file(file, outcome))
            if not (offline or isinstance(outcome, ConfigError)):
                page["backends"] += _backends(file, outcome, timeout)
    page["problems"] = list(_problems(page))
    if json:
        output.emit_json(page)
    else:
        output.write("".join(f"{printable(line)}\n" for line in _lines(page)))
    return 1 if page["problems"] else 0


# --- what is installed -----------------------------------------------------------------------------------------------


def _versions(distributions: Iterable[str]) -> dict[str, Any]:  # Any: JSON
    """Return the versions of Python, of our distributions and of what they require; None for what is missing."""
    from importlib.metadata import PackageNotFoundError, requires, version  # noqa: PLC0415 - of use to this command

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    packages: dict[str, str | None] = {}
    extras: dict[str, list[str]] = {}
    for distribution in ["exporter-core", *sorted(set(distributions) - {"exporter-core"})]:
        packages[distribution] = installed(distribution)
        required = requires(distribution) or () if packages[distribution] else ()
        for requirement in required:
            found = _REQUIREMENT.fullmatch(requirement)
            if found is None:
                continue  # it is needed on other systems only
            name, extra = found.groups()
            if extra is None or installed(name):
                packages[name] = installed(name)
            elif distribution == "exporter-core":
                extras.setdefault(extra, []).append(name)
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "platform": platform.platform(),
        "executable": sys.executable,
        "packages": packages,
        "missing_for_extras": extras,
    }


def _exporters() -> tuple[list[dict[str, Any]], dict[PluginEntry, CheckResult]]:  # Any: JSON
    """Return the installed exporters, each imported in a child process, and the failures."""
    from exporter_core.cli.inspection import check_all  # noqa: PLC0415 - starts processes
    from exporter_core.cli.listing import rows  # noqa: PLC0415 - as above

    found = rows()
    usable = [row.entry for row in found if row.status in {"ok", "conflict", "shadowed"} and not row.entry.of_sdk]
    failures = {one.entry: one for one in check_all(usable, timeout=_IMPORT_SECONDS) if not one.ok}
    table = [
        {
            "name": row.entry.name,
            "distribution": row.entry.distribution,
            "version": row.entry.version,
            "status": row.status if failure is None else "failed",
            "reason": row.reason if failure is None else f"{failure.reason}{failure.where}",
        }
        for row in found
        for failure in [failures.get(row.entry)]
    ]
    return table, failures


def _registry(failures: Mapping[PluginEntry, CheckResult]) -> ExporterRegistry:
    """Return a registry that does not import what has failed in a child process: it could end this one."""
    from exporter_core.errors import PluginLoadError  # noqa: PLC0415 - see exporter_core.cli
    from exporter_core.registry import ExporterRegistry  # noqa: PLC0415 - imports pydantic

    class Careful(ExporterRegistry):
        def select(self, name: str, *, pull: bool = False) -> PluginEntry:
            entry = super().select(name, pull=pull)
            if (failure := failures.get(entry)) is not None:
                raise PluginLoadError(f"exporter {name!r}: {failure.reason}{failure.where}")
            return entry

    return Careful()


def _masked(name: str, value: str) -> str:
    from exporter_core.masking import MASK, masker_for  # noqa: PLC0415 - imports pydantic

    if name.upper().endswith("HEADERS"):
        return re.sub(r"=[^,]*", f"={MASK}", value) if "=" in value else MASK
    return masker_for({name.lower(): value})(value)


# --- what is configured ----------------------------------------------------------------------------------------------


def _found_files() -> list[str]:
    """Return the config files that the environment names, or that lie in the current folder."""
    named = [os.environ[name] for name in ("OTEL_CONFIG_FILE", "OTEL_EXPERIMENTAL_CONFIG_FILE") if os.environ.get(name)]
    here = sorted(path for path in Path().iterdir() if path.suffix in {".yaml", ".yml"})
    return list(dict.fromkeys([*named, *(str(path) for path in here if _is_config(path))][:_MOST_FILES]))


def _is_config(path: Path) -> bool:
    try:
        if not path.is_file() or path.stat().st_size > _MOST_BYTES:
            return False
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return re.search(r"^['\"]?file_format\b", text, re.MULTILINE) is not None


def _outcomes(files: Iterable[str], registry: ExporterRegistry) -> Iterator[tuple[str, PipelineConfig | ConfigError]]:
    from exporter_core.config import load_config  # noqa: PLC0415 - imports pydantic

    for file in files:
        try:
            yield file, load_config(file, registry=registry)
        except ConfigError as error:
            yield file, error


def _file(file: str, outcome: PipelineConfig | ConfigError) -> dict[str, Any]:  # Any: JSON
    found: dict[str, Any] = {"file": file, "readers": [], "problems": [], "warnings": [], "series": None}  # Any: JSON
    if isinstance(outcome, ConfigError):
        found["problems"] = [str(one) for one in outcome.problems]
    else:
        found["readers"] = [one.label for one in outcome.readers]
        found["warnings"] = [str(one) for one in outcome.warnings]
        found["series"] = _series(outcome) if outcome.readers else None
    return found


def _series(config: PipelineConfig) -> str:
    """Return what a restart costs, by the resource's ``service.instance.id``."""
    given = config.resource.attributes.get("service.instance.id")
    if given is None and "service.instance.id" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", ""):
        given = "that of OTEL_RESOURCE_ATTRIBUTES"
    if given is None:
        return (
            "service.instance.id is random, new in each process: a restart begins every series of each worker anew; "
            "give it a stable one that differs between workers, such as ${HOSTNAME}, to keep them"
        )
    return (
        f"service.instance.id is given ({given}): a restart costs no series; processes that share it overwrite one "
        "another's series, so give each worker its own"
    )


# --- what is reachable -----------------------------------------------------------------------------------------------


def _backends(file: str, config: PipelineConfig, timeout: float) -> list[dict[str, Any]]:  # Any: JSON
    """Connect to the backends of a file's readers, side by side."""
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - of use to this command

    if not config.readers:
        return []
    with ThreadPoolExecutor(len(config.readers)) as pool:  # each of them ends in time
        reached = pool.map(lambda settings: _reach(config, settings, timeout), config.readers)
        pairs = zip(config.readers, reached, strict=True)
        return [{"file": file, "reader": settings.label, **found} for settings, found in pairs]


def _reach(config: PipelineConfig, settings: ReaderSettings, timeout: float) -> dict[str, Any]:  # Any: JSON
    """Build a reader's exporter and connect to its server, if it has one; nothing is sent."""
    from exporter_core.clock import MONOTONIC  # noqa: PLC0415 - see exporter_core.cli
    from exporter_core.context import Context  # noqa: PLC0415 - as above
    from exporter_core.errors import ExporterCoreError  # noqa: PLC0415 - as above
    from exporter_core.masking import describe, masker_for  # noqa: PLC0415 - as above
    from exporter_core.registry import run_plugin_code  # noqa: PLC0415 - as above

    found: dict[str, Any] = {"place": None, "connected": None, "milliseconds": None, "error": None}  # Any: JSON
    if settings.pull:  # it would begin to serve
        return {**found, "place": "it is scraped"}
    mask = masker_for(settings.config)

    def connect() -> None:
        exporter = config.registry.exporter_class(settings.exporter)(settings.config)
        destination = exporter.destination() if hasattr(exporter, "destination") else None
        found["place"] = None if destination is None else mask(destination.location)
        net = sys.modules.get("exporter_core.net")
        client = getattr(exporter, "client", None)
        if net is None or not isinstance(client, net.Client):
            return
        waiter, context = net.Waiter(), Context.with_timeout(timeout)
        begun = MONOTONIC.monotonic()
        try:
            with waiter.woken_by(context):
                client.connect(context, waiter).wire.close()
            found["connected"] = True
        except ExporterCoreError as error:
            found["connected"], found["error"] = False, describe(error, client.mask)
        finally:
            found["milliseconds"] = round((MONOTONIC.monotonic() - begun) * 1000, 1)
            waiter.close()

    try:
        # A moment more than connecting may take: the exporter is built, too.
        run_plugin_code(connect, "it", timeout + 2.0, masker=mask, failed=" cannot be built")
    except ExporterCoreError as error:
        found["connected"], found["error"] = False, output.with_place(error)
    return found


# --- the page --------------------------------------------------------------------------------------------------------


def _problems(page: Mapping[str, Any]) -> Iterator[str]:  # Any: JSON
    for name, version in page["versions"]["packages"].items():
        if version is None:
            yield f"{name} is not installed"
    for row in page["exporters"]:
        if row["status"] in {"failed", "conflict"}:
            yield f"exporter {row['name']}: {row['status']}: {row['reason']}"
    for file in page["files"]:
        yield from file["problems"]
    for backend in page["backends"]:
        if backend["connected"] is False:
            yield f"{backend['file']}: {backend['reader']}: {backend['place'] or 'its backend'}: {backend['error']}"


def _lines(page: Mapping[str, Any]) -> Iterator[str]:  # Any: JSON
    versions = page["versions"]
    yield f"{versions['python']} on {versions['platform']}"
    yield f"{versions['executable']}"
    yield from ("", "Packages")
    yield from (f"  {name} {version or 'MISSING'}" for name, version in versions["packages"].items())
    for extra, lack in versions["missing_for_extras"].items():
        yield f"  extra {extra} not installed: {', '.join(lack)}"
    yield from ("", "Exporters")
    for row in page["exporters"]:
        reason = f": {row['reason']}" if row["reason"] else ""
        yield f"  {row['name']} ({row['distribution']} {row['version']}) {row['status']}{reason}"
    yield from ("", "Environment")
    yield from (f"  {name}={value}" for name, value in page["environment"].items())
    yield from (() if page["environment"] else ("  none of the variables that count is set",))
    yield from ("", "Config files")
    for file in page["files"]:
        readers = f"valid, readers {', '.join(file['readers'])}" if file["readers"] else "valid, nothing is exported"
        yield f"  {file['file']}: {'NOT VALID' if file['problems'] else readers}"
        yield from (f"    {line}" for line in (*file["problems"], *(f"warning: {one}" for one in file["warnings"])))
        yield from (() if file["series"] is None else (f"    {file['series']}",))
    yield from (() if page["files"] else ("  none found",))
    yield from ("", "Backends")
    for backend in page["backends"]:
        state = {True: f"connected in {backend['milliseconds']} ms", None: "no server to connect to; probe tries it"}
        outcome = state.get(backend["connected"], f"NOT REACHED: {backend['error']}")
        yield f"  {backend['reader']}: {backend['place'] or 'no known address'}: {outcome}"
    yield from (() if page["backends"] else ("  none looked at",))
    count = len(page["problems"])
    yield from ("", f"{count} problem{'s' * (count != 1)} found" if count else "No problem found")
