"""Builds an exporter once before any clause, so that one that cannot be built at all is one clear error."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from exporter_core.conformance.observe.harness import HARNESS_ERRORS
from exporter_core.conformance.observe.journal import Journal, ObservedCall
from exporter_core.conformance.sinks import SinkStartError
from exporter_core.conformance.subject import Raw
from exporter_core.context import Context
from exporter_core.errors import SetupError
from exporter_core.masking import describe, masker_for

if TYPE_CHECKING:
    from typing import Any

    from exporter_core.conformance.observe.harness import Harness
    from exporter_core.conformance.subject import Subject
    from exporter_core.exporter import ExporterConfig

_BUILD: Final = 30.0  # seconds
_LEAVE: Final = 1.0  # seconds for its shutdown, whose result is the clauses' business


def build_once(subject: Subject) -> ExporterConfig | None:
    """Build the exporter as it is, and shut it down; its options, None if the harness does not give them.

    Raises:
        SetupError: it cannot be built, its options are invalid, or its sink cannot be started. Other failures of a
            harness are left to the clauses, which report them.
    """
    config: object = {}
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True))
        if subject.harness is not None:
            try:
                harness = subject.harness()
                stack.callback(_teardown, harness)
                harness.setup(Path(directory), lambda *_event: None)
                config = harness.config()
            except SinkStartError as error:
                raise SetupError(str(error)) from error
            except SetupError:
                raise
            except HARNESS_ERRORS:
                return None
        return _build(subject, config) if isinstance(config, Mapping) else None


def _build(subject: Subject, config: Mapping[str, Any]) -> ExporterConfig:  # Any: options
    options = subject.validated(config)
    building = ObservedCall(lambda: Raw(subject.exporter_class(options)), "build", Journal())
    if not building.wait(_BUILD):
        raise SetupError(f"{subject.target!r} cannot be built: it took longer than {_BUILD:g} s")
    if building.error is not None:
        said = describe(building.error, masker_for(options))
        raise SetupError(f"{subject.target!r} cannot be built: {said}") from building.error
    exporter = building.result
    assert isinstance(exporter, Raw)  # noqa: S101 - the call made one
    ObservedCall(lambda: exporter.shutdown(Context.with_timeout(_LEAVE)), "shutdown", Journal()).wait(_LEAVE)
    return options


def _teardown(harness: Harness) -> None:
    with suppress(*HARNESS_ERRORS):
        harness.teardown()
