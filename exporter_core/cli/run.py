"""``exporter-core run``: this machine's metrics through a pipeline, until it is stopped."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from exporter_core.cli import output
from exporter_core.cli.stopping import stopped_by_signals
from exporter_core.clock import MONOTONIC
from exporter_core.errors import SetupError
from exporter_core.sync import Signal

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from opentelemetry.metrics import MeterProvider

    from exporter_core.cli.run_output import History
    from exporter_core.config import PipelineConfig
    from exporter_core.pipeline import Pipeline, PipelineReport
    from exporter_core.pipeline.reports import ReaderReport
    from exporter_core.reader import ReaderStats

_INSTRUMENTS: dict[str, list[str] | None] = {
    "system.cpu.time": ["idle", "user", "system", "irq"],
    "system.memory.usage": ["used", "free", "cached"],
    "system.memory.utilization": ["used", "free", "cached"],
    "system.swap.usage": ["used", "free"],
    "system.disk.io": ["read", "write"],
    "system.disk.operations": ["read", "write"],
    "system.disk.time": ["read", "write"],
    "system.network.io": ["transmit", "receive"],
    "system.network.packets": ["transmit", "receive"],
    "system.network.errors": ["transmit", "receive"],
    "system.network.dropped.packets": ["transmit", "receive"],
    "system.network.connections": [],
    "process.cpu.time": ["user", "system"],
    "process.cpu.utilization": ["user", "system"],
    "process.memory.usage": None,
    "process.memory.virtual": None,
    "process.disk.io": ["read", "write"],
    "process.context_switches": ["involuntary", "voluntary"],
    "process.open_file_descriptor.count": None,
    "process.thread.count": None,
}
"""The instruments, as the instrumentation's configuration.

The instrumentation's deprecated ``process.runtime`` names are left out, and so is ``system.cpu.utilization``: psutil,
its source, counts an interval of less than a second as a whole one. The rate of ``system.cpu.time`` is exact.
"""

_REFRESH_SECONDS = 0.25
_LONGEST_SECONDS = 1e9  # 32 years; a file may say more, but not infinity


def run(  # noqa: PLR0917 - Typer passes them by name
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="The config file; without one, metrics go to SQLite.", show_default=False),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="SECONDS", help="Stop after SECONDS (default: run until stopped).", show_default=False
        ),
    ] = None,
    database: Annotated[
        Path | None,
        typer.Option(metavar="PATH", help="SQLite file, if there is no config file. [metrics.db]", show_default=False),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(
            min=0.01,
            max=_LONGEST_SECONDS,
            metavar="SECONDS",
            help="Time between two exports, if there is no config file. [1]",
            show_default=False,
        ),
    ] = None,
    shutdown_timeout: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Time-out of the last export and the shutdown.")
    ] = 10.0,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show the tracebacks of plugins' errors.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the delivery summary as JSON.")] = False,
) -> int:
    """Export this machine's metrics: processors, memory, disks, network and this process.

    On SIGTERM, Ctrl-C or the end of the terminal it exports the last metrics, within the shutdown time-out, and reports
    everything that was not delivered. A second signal stops it at once. The exit code is 1 if the last export of a
    reader failed, or all of them.

    Example: exporter-core run --duration 10
    """
    if file is not None and (database is not None or interval is not None):
        raise typer.BadParameter("--database and --interval are for runs without a config file: set both in the file")
    from exporter_core.cli.run_output import TappingRegistry  # noqa: PLC0415 - imports the SDK
    from exporter_core.pipeline import Pipeline  # noqa: PLC0415 - as above

    messages = Messages()
    # Counted from here, so that the last collection, at the end, does not come right behind a scheduled one.
    began = MONOTONIC.monotonic()
    with output.tracebacks(verbose), stopped_by_signals(Signal()) as stop, output.stdout_kept(json):
        config = _to_sqlite(database or Path("metrics.db"), interval or 1.0) if file is None else _from_file(file)
        registry = TappingRegistry(config.registry, messages.delivers_again)
        if config.readers and os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            output.warn("OTEL_SDK_DISABLED is true: the OpenTelemetry SDK measures nothing, and nothing is exported")
        pipeline = Pipeline(config, registry=registry, shutdown_timeout=shutdown_timeout, error_handler=messages.warn)
        try:
            for reader, settings in zip(pipeline.readers, config.readers, strict=True):
                place = reader.exporter.destination
                if settings.pull and place is not None:
                    output.inform(f"{reader.name}: serves {place.location}")
            with _measured_by(pipeline.meter_provider):
                _wait(pipeline, stop, began, duration)
                report = pipeline.shutdown()
        except BaseException:
            pipeline.shutdown(timeout=0)
            raise
    return _conclude(pipeline, report, registry.histories, MONOTONIC.monotonic() - began, json=json)


def _from_file(file: Path) -> PipelineConfig:
    from exporter_core.config import load_config  # noqa: PLC0415 - imports pydantic

    config = load_config(file)
    for problem in config.warnings:
        output.warn_of(problem)
    return replace(config, warnings=())  # the pipeline would log them too


def _to_sqlite(database: Path, interval: float) -> PipelineConfig:
    """Return the configuration of ``run`` without a file. Raises SetupError if the exporter is not installed."""
    from exporter_core.config import parse_config  # noqa: PLC0415 - imports pydantic
    from exporter_core.registry import ExporterRegistry  # noqa: PLC0415 - imports pluggy

    ExporterRegistry().select("sqlite")  # for its error, which names the distribution to install
    exporter = {"sqlite": {"path": str(database)}}
    periodic = {"interval": max(1, round(interval * 1000)), "timeout": 10_000, "exporter": exporter}
    return parse_config(
        {
            "file_format": "1.1",
            "resource": {"attributes": [{"name": "service.name", "value": "exporter-core-run"}]},
            "meter_provider": {"readers": [{"periodic": periodic}]},
        }
    )


class Messages:
    """Lines on standard error while the pipeline runs, each with its time: failures, and their end."""

    def __init__(self) -> None:
        self._written: set[str] = set()

    def warn(self, error: Exception) -> None:
        """Write a failure; one that repeats only once, until its exporter delivers again."""
        text = output.with_place(error)
        if text not in self._written:
            self._written.add(text)
            output.warn(text, timed=True)

    def delivers_again(self, exporter: str, failed: int) -> None:
        """Write that an exporter delivers after so many failed exports."""
        title = f"exporter {exporter!r}: "
        self._written = {text for text in self._written if not text.startswith(title)}
        output.inform(f"{title}delivers again, after {failed} failed export{'s' * (failed != 1)}")


@contextmanager
def _measured_by(provider: MeterProvider) -> Iterator[None]:
    """Measure this machine into the provider. Raises SetupError if the instrumentation is not installed."""
    try:
        from opentelemetry.instrumentation.system_metrics import (  # noqa: PLC0415 - an optional dependency
            SystemMetricsInstrumentor,
        )
    except ModuleNotFoundError as error:
        raise SetupError("this machine's metrics need an extra: pip install 'exporter-core[host]'") from error
    instrumentor = SystemMetricsInstrumentor(config=_INSTRUMENTS)
    instrumentor.instrument(meter_provider=provider)
    try:
        yield
    finally:
        instrumentor.uninstrument()


def _wait(pipeline: Pipeline, stop: Signal, began: float, duration: float | None) -> None:
    """Wait for the end; on a terminal, show progress meanwhile."""
    # The console exporter writes to the terminal itself, and would break a live table.
    on_console = any(reader.exporter.rpartition(":")[2] == "console" for reader in pipeline.config.readers)
    if sys.stderr is None or not sys.stderr.isatty() or on_console:
        stop.wait(None if duration is None else began + duration - MONOTONIC.monotonic())
        return
    from rich.live import Live  # noqa: PLC0415 - a terminal only

    from exporter_core.cli.run_output import progress  # noqa: PLC0415 - a terminal only

    with Live(console=output.console(sys.stderr), transient=True, auto_refresh=False) as live:
        while not stop.is_set():
            seconds = MONOTONIC.monotonic() - began
            if duration is not None and seconds >= duration:
                return
            live.update(progress(pipeline.stats(), seconds, duration), refresh=True)
            stop.wait(_REFRESH_SECONDS if duration is None else min(_REFRESH_SECONDS, duration - seconds))


def _conclude(
    pipeline: Pipeline, report: PipelineReport, histories: Sequence[History], seconds: float, *, json: bool
) -> int:
    """Print what was delivered, and what was not; return the exit code."""
    stats = pipeline.stats()
    places = {
        reader.name: place
        for reader in pipeline.readers
        if (place := reader.exporter.destination) is not None and reader.exporter.stats().points_accepted
    }
    delivered = {one.name: history for one, history in zip(stats, histories, strict=True)}
    failures = [line for one, counted in zip(report.readers, stats, strict=True) for line in _failures(one, counted)]
    failed = any(_failed(one, counted) for one, counted in zip(report.readers, stats, strict=True))
    try:
        if json:
            output.emit_json(
                {
                    "ok": not failed,
                    "seconds": round(seconds, 3),
                    "shutdown": report.as_dict(),
                    "readers": [one.as_dict() for one in stats],
                    "destinations": {name: place._asdict() for name, place in places.items()},
                    "metrics": [
                        {"reader": name, **row._asdict()}
                        for name, history in delivered.items()
                        for row in history.rows()
                    ],
                }
            )
        else:
            from rich.text import Text  # noqa: PLC0415 - text output only

            from exporter_core.cli.run_output import summary  # noqa: PLC0415 - imports rich

            for part in summary(delivered, stats, places, output.console().options):
                output.show(part, soft_wrap=isinstance(part, Text))  # a command is to be copied in one piece
    finally:  # even if the summary cannot be written
        for line in failures:
            (output.fail if failed else output.warn)(line)
    return 1 if failed else 0


def _failed(report: ReaderReport, stats: ReaderStats) -> bool:
    """Return True if the last metrics were not delivered, or none ever; a failure that was made good is none."""
    counted = stats.exporter
    return report.error is not None or bool(counted.exports_failed and not counted.points_accepted)


def _failures(report: ReaderReport, stats: ReaderStats) -> Iterator[str]:
    """Return a line for the failures of one reader while it ran, and one for those at the end."""
    counted = stats.exporter
    lost = counted.points_handed_over - counted.points_accepted
    if counted.exports_failed:
        yield (
            f"{report.name}: {counted.exports_failed} of {counted.exports_failed + counted.exports_ok} exports failed: "
            f"{lost} of {counted.points_handed_over} data points were not delivered; last: {counted.last_error}"
        )
    if report.error is not None and not (counted.exports_failed and report.error == counted.last_error):
        yield f"{report.name}: the last metrics were not delivered: {report.error}"
