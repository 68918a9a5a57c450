"""``exporter-core probe``: send one metric through each exporter of a config file, step by step."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads the annotations
from time import time_ns
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from exporter_core.cli import output
from exporter_core.clock import MONOTONIC
from exporter_core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.config import PipelineConfig, ReaderSettings

METRIC = "exporter_core.probe"
"""The name of the metric that is sent: a gauge with the value 1."""


class _Step(NamedTuple):
    """One step with one exporter, and its outcome."""

    reader: str
    step: str
    seconds: float
    error: str | None


def probe(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The config file.", show_default=False)],
    timeout: Annotated[
        float, typer.Option(min=0.01, metavar="SECONDS", help="Time-out of each step, per exporter.")
    ] = 10.0,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Show the tracebacks of plugins' errors.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the steps as JSON.")] = False,
) -> int:
    """Send one metric through each exporter of a config file, and print the outcome of each step.

    The metric is real: the backends receive a gauge called exporter_core.probe with the value 1. Each exporter is
    loaded with the file's options, exports the metric, is flushed and shut down.

    Example: exporter-core probe metrics.yaml
    """
    from exporter_core.config import load_config  # noqa: PLC0415 - imports pydantic

    with output.tracebacks(verbose):
        config = load_config(file)
    for problem in config.warnings:
        output.warn_of(problem)
    steps = []
    with output.stdout_kept(json):
        for settings in config.readers:
            for step in _steps(config, settings, timeout, verbose=verbose):
                steps.append(step)
                if not json:
                    _show(step)
    if json:
        output.emit_json({"ok": not any(step.error for step in steps), "steps": [step._asdict() for step in steps]})
    elif not config.readers:
        output.warn(f"{file}: no readers, so no exporter to probe")
    return 1 if any(step.error for step in steps) else 0


def _steps(config: PipelineConfig, settings: ReaderSettings, timeout: float, *, verbose: bool) -> Iterator[_Step]:
    """Take the steps; after the first that fails only the shutdown follows."""
    from exporter_core.context import Context  # noqa: PLC0415 - see above
    from exporter_core.errors import ExporterCoreError  # noqa: PLC0415 - see above
    from exporter_core.reader import Scrapes  # noqa: PLC0415 - see above

    def step(name: str, take: Callable[[], object]) -> _Step:
        began = MONOTONIC.monotonic()
        error = None
        try:
            with output.tracebacks(verbose):
                take()
        except ExporterCoreError as raised:
            error = output.with_place(raised)
        return _Step(settings.label, name, MONOTONIC.monotonic() - began, error)

    loaded = []
    scrapes = Scrapes() if settings.pull else None
    yield step(
        "load",
        lambda: loaded.append(
            config.registry.load(
                settings.exporter,
                settings.config,
                runner=settings.runner,
                copy=settings.copy,
                timeout=timeout,
                collect=scrapes,
            )
        ),
    )
    for exporter in loaded:
        if settings.pull:  # nothing is sent: that it serves is all that can be tried
            yield step("shutdown", lambda: exporter.shutdown(Context.with_timeout(timeout)))  # noqa: B023 - called at once
            continue
        sent = step("export", lambda: exporter.export(Context.with_timeout(timeout), _metrics(config)))  # noqa: B023 - called at once
        yield sent
        if sent.error is None:
            yield step("force_flush", lambda: exporter.force_flush(Context.with_timeout(timeout)))  # noqa: B023 - called at once
        yield step("shutdown", lambda: exporter.shutdown(Context.with_timeout(timeout)))  # noqa: B023 - called at once


def _metrics(config: PipelineConfig) -> MetricsData:
    """Return a batch of one point, from the resource that the file describes."""
    import os  # noqa: PLC0415 - a probe only

    from opentelemetry.sdk.metrics.export import (  # noqa: PLC0415 - 150 ms
        Gauge,
        Metric,
        MetricsData,
        NumberDataPoint,
        ResourceMetrics,
        ScopeMetrics,
    )
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415 - see above

    from exporter_core import __version__  # noqa: PLC0415 - see above
    from exporter_core.config import sdk_resource  # noqa: PLC0415 - see above

    point = NumberDataPoint(attributes={}, start_time_unix_nano=0, time_unix_nano=time_ns(), value=1)
    metric = Metric(METRIC, "Shows that metrics get through", "1", Gauge([point]))
    scope = ScopeMetrics(InstrumentationScope("exporter_core.cli", __version__), [metric], "")
    return MetricsData([ResourceMetrics(sdk_resource(config.resource, os.environ), [scope], "")])


def _show(step: _Step) -> None:
    from rich.text import Text  # noqa: PLC0415 - text output only

    word, style = ("OK   ", "green") if step.error is None else ("ERROR", "bold red")
    line = Text.assemble(
        (word, style), f" {printable(step.reader)} {step.step:<11} ", (f"{step.seconds * 1000:.1f} ms", "dim")
    )
    if step.error is not None:
        line.append(f"  {printable(step.error)}")
    output.show(line, soft_wrap=True)
