"""HND: what becomes of an exporter's errors, and what they say."""

from __future__ import annotations

import base64
import io
import json
import math
import sys
import threading
import traceback
import warnings
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

from exporter_core.conformance.clause import clause
from exporter_core.conformance.clauses.canary import Canary, Swallows
from exporter_core.conformance.observe.logs import recorded_logs, standard_files, written_past_python
from exporter_core.conformance.run.verdicts import Failed, Verdict, VerdictError
from exporter_core.errors import ExporterCoreError, ExporterError
from exporter_core.guard import GuardedExporter
from exporter_core.masking import secrets_of
from exporter_core.reader import PeriodicReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.conformance.case import Case
    from exporter_core.conformance.observe.descriptors import FileIdentity
    from exporter_core.conformance.subject import Driven
    from exporter_core.context import Context

_INTERVAL = 0.01  # seconds
_BRIEF = 0.1  # seconds of a deadline that passes while nobody answers
_TRYING = 0.5  # seconds in which an exporter may go on trying what may get better
_TELLING = 4  # characters of a secret that is looked for: fewer are anywhere
_MOST = 3 / 4  # of a secret's characters in a row, which tell it
_PLAIN = frozenset(" /:")  # characters of texts of which a part may be told, such as of an address
_BETWEEN_BYTES = ("", " ", ":", "-", ",", ", ", "\\x", ", 0x", " 0x", " \\x")
"""The texts between the bytes of a dump."""
_LEAVE = 60.0  # seconds that the reader may take to shut down


class _Numbered(Canary):
    """Gives each error of an exporter's exports a number."""

    def __init__(self, case: Case, inner: Driven) -> None:
        super().__init__(case, inner)
        self.attempts = 0
        self.failed: list[str] = []
        """The words that each failed export was raised with."""

    def export(self, context: Context, metrics: MetricsData) -> None:
        self.attempts += 1
        try:
            self.inner.export(context, metrics)
        except Exception as error:
            words = f"scheduled export {self.attempts} failed."
            self.failed.append(words)
            raise ExporterError(words) from error

    def shutdown(self, context: Context) -> None:
        """Return: the exporter has been shut down, which is why its exports fail."""


@clause(
    "HND-01",
    "MUST",
    "an export error reaches the error handler exactly once",
    words="Every failure of a scheduled export is reported, once.",
    technique="S",
    check="the exporter raises when it fails, so that the reader can report it",
    canary=Swallows,
    after=("KND-01", "SHD-06"),
)
def handled(case: Case) -> None:
    """Run a reader over an exporter that was shut down: each failed export is reported once."""
    from opentelemetry.metrics import Observation  # noqa: PLC0415 - this clause alone needs it
    from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 - as above

    exporter = case.exporter()
    case.shut_down(exporter)
    numbered = _Numbered(case, exporter)
    reported: list[Exception] = []
    guarded = GuardedExporter(numbered, name=case.subject.target)
    reader = PeriodicReader(guarded, interval=_INTERVAL, error_handler=reported.append)
    provider = MeterProvider([reader], shutdown_on_exit=False)
    # A gauge that is asked has a point in every collection, also with delta temporality.
    provider.get_meter("conformance").create_observable_gauge("conformance.asked", [lambda _: [Observation(1)]])
    try:
        came = case.until(lambda: numbered.attempts > 1)
    finally:
        stopped = case.do("reader shutdown", lambda: reader.shutdown(_LEAVE * 1000))
    if not came:
        raise VerdictError(Verdict.INCONCLUSIVE, f"{numbered.attempts} scheduled exports in {case.patience:g} s")
    if not numbered.failed:
        raise Failed("an export after shutdown fails, and is reported", f"{numbered.attempts} exports, not one report")
    # The last export is that of the reader's shutdown, which raises its error.
    texts = [_chain(error) for error in (*reported, stopped.error) if error is not None]
    for words in numbered.failed:
        times = sum(words in text for text in texts)
        if times != 1:
            raise Failed(
                "each failed export is reported once", f"{words.removesuffix('.')}, and was reported {times} times"
            )
    case.observe(f"{len(numbered.failed)} of {numbered.attempts} exports failed, and each was reported once")


def _chain(error: BaseException) -> str:
    """The text that logging shows of an error, with the errors that it chains or groups."""
    return "".join(traceback.TracebackException.from_exception(error, limit=0).format())


class TellsSecret(Canary):
    """Raises an error with the secret in its message; a RuntimeError where there is no secret."""

    def around(self, context: Context, call: Callable[[Context], object]) -> object:
        try:
            return call(context)
        except Exception as error:
            secrets = _secrets(self.case)
            if not secrets:
                raise RuntimeError("failed") from error
            raise ExporterError(f"failed with {min(secrets)}") from error


@clause(
    "HND-02",
    "SHOULD",
    "errors are typed, chain their cause, carry no secret",
    words="Plugins raise ExporterError (or anything else: the guard wraps what they raise), without secrets.",
    technique="S",
    check="raise ExporterError(...) from error, with a message that holds no URL, header or body",
    canary=TellsSecret,
    hygiene=True,
    after=("EXP-05", "EXP-14"),
)
def errors(case: Case) -> None:
    """Look at the errors of a cancelled export, of a refused one, of one whose connection was reset, of a partial
    success, of one that ended at its deadline, and of one after a shutdown; and at what is logged, warned of, printed
    and written to standard output and error past Python, from the making of an exporter to its shutdown, further
    attempts included. A secret counts in the forms of headers, URLs and dumps, too, and so does most of it.

    In the SDK's interface an answer has no type and no cause: there it is logs and exceptions that carry no secret.
    """
    standard = standard_files()
    if case.has_harness:
        case.harness.config()  # a harness may have taken the place of one of them
    with _heard(standard) as logged:
        exporter = case.exporter()
        case.export(exporter)
        case.flush(exporter)
        texts = [*_shown(getattr(exporter, "exporter", exporter)), *(one.name for one in threading.enumerate())]
    if _tells(case, texts):
        raise Failed(
            "no secret in the exporter's repr and str, nor in a thread's name", "the secret of the options is there"
        )
    if case.judged_by_sdk and not _secrets(case):
        raise VerdictError(
            Verdict.INEXPRESSIBLE, "a MetricExportResult has no type and no cause, and the options have no secret"
        )
    _tells_nothing(case, logged)
    if not case.judged_by_sdk:
        context = case.done_contexts()[1][1]
        _look(case, case.raised(case.export(exporter, context=context)))
    for step in ("status:401", "full", "reset") if case.has_harness else ():
        if step.partition(":")[0] in case.harness.faults:
            case.harness.fault(step)
            with _heard(standard) as logged:
                call = case.sent(case.exporter(), case.batch(), case.short_context(_TRYING))
            error = case.raised(call, when=f"with {step}")
            _look(case, error, logged)
            # The bridge makes an error of the SDK's answer, which has no cause.
            if step == "reset" and error.__cause__ is None and not call.overrun and not case.subject.of_the_sdk:
                raise Failed("the cause is chained", f"{type(error).__name__} has no __cause__")
    if case.canary is None and case.has_harness and "ok" in case.harness.faults:
        case.harness.fault("ok")
        _in_every_branch(case, standard)
    with _heard(standard) as logged:
        case.shut_down(exporter)
        call = case.export(exporter)
    _tells_nothing(case, logged)
    if case.canary is None and call.error is not None:  # else another clause's business
        _tells_no_secret(case, call.error)


def _in_every_branch(case: Case, standard: Mapping[int, FileIdentity]) -> None:
    """Look at what is told where a failure passes, where it is one in part, and at a deadline."""
    for steps in ("status:503 ok", "partial:1 ok", "hang"):
        if not {step.partition(":")[0] for step in steps.split()} <= case.harness.faults:
            continue
        case.harness.fault(*steps.split())
        with _heard(standard) as logged:
            call = case.send(case.exporter(), case.batch(), case.short_context(_BRIEF if steps == "hang" else _TRYING))
            case.until(lambda: call.over, seconds=2 * _TRYING)  # noqa: B023 - awaited here
        case.harness.fault("ok")
        if call.error is not None:
            _tells_no_secret(case, call.error)
        _tells_nothing(case, logged)


@contextmanager
def _heard(standard: Mapping[int, FileIdentity]) -> Iterator[list[str]]:
    """Everything that is logged, warned of and printed in the block, by any thread, past Python too."""
    before, printed = (sys.stdout, sys.stderr), io.StringIO()
    with (
        written_past_python(standard) as written,
        recorded_logs() as texts,
        warnings.catch_warnings(record=True) as warned,
    ):
        warnings.simplefilter("always")
        sys.stdout = sys.stderr = printed
        try:
            yield texts
        finally:
            sys.stdout, sys.stderr = before
            texts.extend([*(str(one.message) for one in warned), printed.getvalue(), written()])


def _secrets(case: Case) -> set[str]:
    """The secrets of the exporter's options, and of its harness."""
    named = case.harness.secret if case.has_harness else None
    found = secrets_of(case.options) | ({named} if named else set())
    return {secret for secret in found if len(secret) >= _TELLING}


def _look(case: Case, error: BaseException, logged: Sequence[str] = ()) -> None:
    if not case.judged_by_sdk and not isinstance(error, ExporterCoreError):
        raise Failed("an error of exporter_core.errors", f"{type(error).__module__}.{type(error).__qualname__}")
    _tells_no_secret(case, error)
    _tells_nothing(case, logged)


def _tells_no_secret(case: Case, error: BaseException) -> None:
    if _tells(case, [_chain(error), *(text for one in _errors_of(error) for text in _shown(one, vars(one)))]):
        raise Failed("no secret in the error", "the secret of the options is in its text, or in that of what it chains")


def _errors_of(error: BaseException) -> Iterator[BaseException]:
    """The error, and those that it chains or groups."""
    found, left = set[int](), [error]
    while left:
        one = left.pop()
        if id(one) in found:
            continue
        found.add(id(one))
        yield one
        grouped = one.exceptions if isinstance(one, BaseExceptionGroup) else ()
        left.extend(other for other in (one.__cause__, one.__context__, *grouped) if other is not None)


def _shown(*things: object) -> list[str]:
    """The texts that the things give for themselves."""
    texts = []
    for thing in things:
        for show in (repr, str):
            with suppress(Exception):  # of a subject's own
                texts.append(show(thing))
    return texts


def _tells_nothing(case: Case, logged: Sequence[str]) -> None:
    if _tells(case, logged):
        raise Failed("no secret in the logs", "the secret of the options is in what was logged, warned of or printed")


def _tells(case: Case, texts: Sequence[str]) -> bool:
    """True if a secret is in one of the texts, in any of its forms."""
    forms = {form for secret in _secrets(case) for form in _forms(secret)}
    return any(form in text for form in forms for text in texts)


def _forms(secret: str) -> Iterator[str]:
    """The secret as it is, most of it, and as headers, URLs and dumps have it; Base64 of a text that it stands in."""
    data = secret.encode()
    yield from (secret, quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1])
    most = max(2 * _TELLING, math.ceil(len(secret) * _MOST))
    if not _PLAIN.intersection(secret):
        yield from (secret[start : start + most] for start in range(len(secret) - most + 1))
    longer = [sep.join(f"{byte:{form}}" for byte in data) for sep in _BETWEEN_BYTES for form in ("02x", "02X")]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for before in range(3):
            whole = (before + len(data)) * 8 // 6  # the characters that what follows has no part in
            longer.append(encode(b"\0" * before + data).decode()[-(-before * 8 // 6) : whole])
    yield from (form for form in longer if len(form) >= 2 * _TELLING)
