"""A worker's end of the messages: it finds the exporter or the reader, and runs clauses as it is told."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from exporter_core.conformance.clause import clauses
from exporter_core.conformance.observe import first_state
from exporter_core.conformance.observe.harness import HARNESS_ERRORS, Harness
from exporter_core.conformance.observe.journal import Journal, ObservedCall
from exporter_core.conformance.observe.sink_option import in_texts, pointed
from exporter_core.conformance.resources import empty_folder
from exporter_core.conformance.run.messages import (
    Message,
    Ready,
    Refused,
    RunClause,
    Secrets,
    WorkerSetup,
    decode,
    encode,
)
from exporter_core.conformance.run.run_clause import run_clause
from exporter_core.conformance.run.safety import connect_to_sinks_only
from exporter_core.conformance.sinks import SinkStartError
from exporter_core.conformance.subject import Mode, Raw, Subject, imported, prepare, resolve
from exporter_core.context import Context
from exporter_core.errors import SetupError
from exporter_core.masking import describe, masker_for
from exporter_core.none import NoneExporter
from exporter_core.untrusted import ErrorSnapshot, name_of_type

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator

    from exporter_core.conformance.readers import ReaderName
    from exporter_core.conformance.run.verdicts import Run
    from exporter_core.exporter import ExporterConfig

    Tell = Callable[[Message], None]
    RunNamed = Callable[[RunClause], Run]

_BUILD: Final = 30.0  # seconds
_LEAVE: Final = 1.0  # seconds for its shutdown, whose result is the clauses' business


def serve(channel: socket.socket) -> None:
    """Run the clauses that messages on the channel name, and send the results there, until the messages end."""
    own = os.getpid()

    def tell(message: Message) -> None:
        if os.getpid() != own:
            os._exit(0)  # a child that the exporter has forked, and that has come back from there
        channel.sendall(encode(message))

    with channel.makefile("rb") as lines:
        work(map(decode, lines), tell)


def work(messages: Iterator[Message], tell: Tell) -> None:
    """Run the clauses that messages name, and send the results."""
    setup = next(messages)
    assert isinstance(setup, WorkerSetup)  # noqa: S101 - a pool sends it first
    try:
        ready, run_named = _reader(setup) if setup.readers else _exporter(setup, tell)
    except BaseException as error:  # noqa: BLE001 - a plugin's import may raise anything
        tell(Refused(ErrorSnapshot.of(error).text.strip() or name_of_type(error)))
        return
    tell(ready)
    gc.collect()
    gc.freeze()  # what is there by now need not be looked through by every clause that counts what is left
    for order in messages:
        assert isinstance(order, RunClause)  # noqa: S101 - all that a pool sends after that
        tell(run_named(order))


def _exporter(setup: WorkerSetup, tell: Tell) -> tuple[Ready, RunNamed]:
    """Find the exporter."""
    sys.path += [one for one in setup.path if one not in sys.path]  # pytest's has the folders of tests
    known = {one.id: one for one in clauses()}
    mode = cast("Mode", setup.mode)
    subject = _telling_secrets(_subject(setup), tell)
    settings = setup.settings
    if setup.allow_real_backend:
        settings = replace(settings, canaries=False)
    elif subject.harness is not None and subject.harness.tier == "wire":
        connect_to_sinks_only()
    if mode == "raw":
        prepare()
    first_state.remember()
    ready = Ready(
        origin=None if subject.entry is None else f"{subject.entry.distribution} {subject.entry.version}",
        tier="none" if subject.harness is None else subject.harness.tier,
        options=in_texts(setup.options, masker_for(_build_once(subject))) if setup.first else None,
        of_the_sdk=subject.of_the_sdk,
    )

    def run_named(order: RunClause) -> Run:
        own = settings if order.canary else replace(settings, canaries=False)
        clause = known[order.clause]
        return run_clause(clause, subject, mode, own, order.failed, never_delivers=order.never_delivers)

    return ready, run_named


def _reader(setup: WorkerSetup) -> tuple[Ready, RunNamed]:
    """Find the reader."""
    from exporter_core.conformance.readers import reader_clauses, run_reader_clause  # noqa: PLC0415 - for readers alone

    known, name = {one.id: one for one in reader_clauses()}, cast("ReaderName", setup.mode)
    return Ready(None, "probe"), lambda order: run_reader_clause(known[order.clause], name, setup.settings)


def _telling_secrets(subject: Subject, tell: Tell) -> Subject:
    """The subject, changed to send each secret before the exporter has it, from this process alone."""
    told: set[str] = set()
    own = os.getpid()

    def on_secrets(secrets: Iterable[str]) -> None:
        new = set(secrets) - told
        if new and os.getpid() == own:
            told.update(new)
            tell(Secrets(tuple(sorted(new))))

    if subject.harness is not None and subject.harness.secret:
        on_secrets([subject.harness.secret])
    return replace(subject, on_secrets=on_secrets)


def _subject(setup: WorkerSetup) -> Subject:
    target, options = setup.target, setup.options
    if setup.sink is not None:
        return resolve(target, harness=pointed(setup.sink, options))
    subject = resolve(
        target, options=options, harness=imported(setup.harness, "the harness") if setup.harness else None
    )
    if setup.allow_real_backend:
        return subject
    if subject.harness is None and subject.exporter_class is not NoneExporter:
        raise SetupError(
            f"{target!r} has no harness: its options, its defaults or the environment may point at a real backend, to "
            "which the checker would send made-up data; point it at a sink with --sink, or give --allow-real-backend"
        )
    if subject.harness is not None and subject.harness.real:
        raise SetupError(
            f"the harness of {target!r} points at a real backend, and the checker duplicates and corrupts data: give "
            "--allow-real-backend if that is meant"
        )
    return subject


def _build_once(subject: Subject) -> ExporterConfig | None:
    """Build the exporter once before any clause, and shut it down: one that cannot be built is one clear error.

    Returns its options; None if the harness does not give them.

    Raises:
        SetupError: it cannot be built, its options are invalid, or its sink cannot be started. Other failures of a
            harness are left to the clauses, which report them.
    """
    config: object = {}
    with ExitStack() as stack:
        directory = stack.enter_context(empty_folder("conformance-"))
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
