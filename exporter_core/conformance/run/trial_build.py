"""Builds a subject once before any clause, so that one that cannot be built at all is one clear error."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final

from exporter_core.conformance.observe.harness import HARNESS_ERRORS
from exporter_core.conformance.sinks import SinkStartError
from exporter_core.conformance.subject import Raw
from exporter_core.context import Context
from exporter_core.errors import SetupError
from exporter_core.masking import describe, masker_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from exporter_core.conformance.observe.harness import Harness
    from exporter_core.conformance.subject import Subject
    from exporter_core.exporter import ExporterConfig

_BUILD: Final = 30.0  # seconds
_LEAVE: Final = 1.0  # seconds for its shutdown, whose outcome is the clauses' business


def rehearse(subject: Subject) -> ExporterConfig | None:
    """Build the exporter as it is, and shut it down; its options, None if the harness does not give them.

    Raises:
        SetupError: it cannot be built, its options do not do, or its sink cannot be started. What else a harness does
            wrong is left to the clauses, which report it.
    """
    with tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True) as directory:
        try:
            harness = subject.harness() if subject.harness else None
        except HARNESS_ERRORS:
            return None  # the clauses say it
        try:
            config = _config(harness, Path(directory))
            return None if config is None else _build(subject, config)
        finally:
            if harness is not None:
                _teardown(harness)


def _config(harness: Harness | None, directory: Path) -> Mapping[str, Any] | None:  # Any: options
    if harness is None:
        return {}
    try:
        harness.setup(directory, lambda *_event: None)
        config: object = harness.config()
        return config if isinstance(config, Mapping) else None
    except SinkStartError as error:
        raise SetupError(str(error)) from error
    except SetupError:
        raise
    except HARNESS_ERRORS:  # the clauses say it
        return None


def _build(subject: Subject, config: Mapping[str, Any]) -> ExporterConfig:  # Any: options
    options = subject.validated(config)
    built: list[Raw] = []
    errors: list[BaseException] = []

    def build() -> None:
        try:
            built.append(Raw(subject.exporter_class(options)))
        except BaseException as error:  # noqa: BLE001 - whatever the plugin raises
            errors.append(error)

    _in_time(build, _BUILD)
    if errors:
        said = describe(errors[0], masker_for(options))
        raise SetupError(f"{subject.target!r} cannot be built: {said}") from errors[0]
    if not built:
        raise SetupError(f"{subject.target!r} cannot be built: that took longer than {_BUILD:g} s")
    _in_time(lambda: built[0].shutdown(Context.with_timeout(_LEAVE)), _LEAVE)
    return options


def _teardown(harness: Harness) -> None:
    try:
        harness.teardown()
    except HARNESS_ERRORS:
        pass


def _in_time(function: Callable[[], object], seconds: float) -> None:
    """Call on a daemon thread, and wait so long for its end; what it raises is not looked at."""

    def run() -> None:
        try:
            function()
        except BaseException:  # noqa: BLE001, S110 - as the docstring says
            pass

    thread = threading.Thread(target=run, name="conformance-rehearsal", daemon=True)
    thread.start()
    thread.join(seconds)
