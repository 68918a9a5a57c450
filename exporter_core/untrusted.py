"""Looking at a plugin's objects without running their code, and calling that code without having to wait for it.

A plugin's object may lie about its class, raise from ``__str__`` or never return from it. Names and types are read as
the interpreter has them. The text of an error is taken down on the thread that raised it. A call that may not return is
made on a thread that its caller can leave behind.
"""

from __future__ import annotations

import inspect
import threading
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Final, Generic, TypeGuard, TypeVar, final

from exporter_core.errors import PartialSuccessError
from exporter_core.sync import Signal, start_thread

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_T = TypeVar("_T")

_CHAIN: Final = 64  # errors of a chain that are looked at
_TAKEN: Final = 32768  # characters of a message that are taken down; the masker, which cuts with care, searches fewer
_SEARCHED: Final = 16384  # characters of a chain that are searched for secrets first, while its caller waits

# As the interpreter has them, whatever a plugin's classes say.
_NAME: Final = type.__dict__["__name__"]
_ATTRIBUTES: Final = BaseException.__dict__["__dict__"]
_DAEMON: Final = inspect.getattr_static(threading.Thread, "daemon")  # gevent puts a subclass in its place
_TRACEBACK: Final = BaseException.__dict__["__traceback__"]
_NOT_OF_PLUGINS: Final = ("<", f"{__file__.rpartition('/')[0]}/", import_module.__code__.co_filename)
_exactly: Final = str.__str__  # a copy, of a subclass's instance


@final
@dataclass(frozen=True, slots=True)
class ErrorSnapshot:
    """An error and its words, taken down where it was raised.

    An exception's ``__str__`` is the code of whoever raised it, and may do anything, not return for instance. So it is
    called on the thread that ran that code, where nobody waits longer than a deadline.
    """

    error: BaseException
    text: str
    """Its message; not masked yet."""
    printed: tuple[str, ...] | None
    """All texts that its traceback would print: its own, and those of causes, contexts, notes and groups.

    None where they are too many or too long to be searched for secrets, or cannot be had.
    """
    rejected_points: int | None = None
    """A :class:`PartialSuccessError`'s count, as that class keeps it; None where it is none, or makes no sense."""

    @classmethod
    def of(cls, error: BaseException) -> ErrorSnapshot:
        """Take the words down; never raises for what the error's own methods do."""
        return cls(error, message_of(error), _printed(error), _rejected_points(error))


def is_a(value: object, *kinds: type[_T]) -> TypeGuard[_T]:
    """isinstance() that never runs the value's code."""
    return issubclass(type(value), kinds)


def name_of_type(value: object) -> str:
    """Return the name of a value's type, without running its metaclass's code."""
    return _exactly(_NAME.__get__(type(value)))


def exact_text(value: object) -> str:
    """``str(value)``, by way of the value's own code, as a plain ``str``.

    What a ``__str__`` returns may be of a subclass, whose methods would run later, and wherever the text is used.
    """
    return _exactly(str(value))


def message_of(error: BaseException) -> str:
    """Return an error's message; never raises for what its own ``__str__`` does."""
    try:
        return exact_text(error)[:_TAKEN]
    except BaseException:  # noqa: BLE001 - an exception whose own __str__ fails is one more failing plugin
        return "(its message cannot be shown)"


def place_of(error: BaseException) -> str | None:
    """Return FILE:LINE of the innermost code outside this package that raised an error; of a syntax error its own.

    Runs none of the error's code; None where there is no such place.
    """
    if is_a(error, SyntaxError):
        name, line = vars(SyntaxError)["filename"].__get__(error), vars(SyntaxError)["lineno"].__get__(error)
        if type(name) is str and type(line) is int:
            return f"{name}:{line}"
    place = None
    traceback = _TRACEBACK.__get__(error)
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if not name.startswith(_NOT_OF_PLUGINS):
            place = f"{name}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place


def place_of_cause(error: BaseException) -> str:
    """Return `` (FILE:LINE)``, the place where the cause of an error was raised; empty where there is none."""
    place = place_of(error.__cause__) if error.__cause__ is not None else None
    return "" if place is None else f" ({place})"


def _rejected_points(error: BaseException) -> int | None:
    """Return :attr:`ErrorSnapshot.rejected_points`."""
    if not is_a(error, PartialSuccessError):
        return None
    try:
        count = dict.get(_ATTRIBUTES.__get__(error), "rejected_points")
    except BaseException:  # noqa: BLE001 - a name beside it whose __eq__ fails, say
        return None
    return count if type(count) is int and count >= 0 else None


def _printed(error: BaseException) -> tuple[str, ...] | None:
    """Return :attr:`ErrorSnapshot.printed`."""
    found: list[str] = []
    left = _SEARCHED
    try:
        for number, one in enumerate(_chain(error), 1):
            texts = [_shown(text) for text in (one, *getattr(one, "__notes__", ()))]
            if is_a(one, SyntaxError):
                texts.append(_shown(one.text))  # the faulty line of source
            left -= sum(map(len, texts))
            if left < 0 or number > _CHAIN:
                return None
            found += texts
    except BaseException:  # noqa: BLE001 - notes that are no sequence, say, which a traceback prints all the same
        return None
    return tuple(found)


def _shown(value: object) -> str:
    try:
        return exact_text(value)
    except BaseException:  # noqa: BLE001 - what cannot be shown shows no secret
        return ""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and all that its traceback would print."""
    found: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is None or id(one) in found:
            continue
        found.add(id(one))
        yield one
        waiting += [one.__cause__, None if one.__suppress_context__ else one.__context__]
        if is_a(one, BaseExceptionGroup):
            waiting += one.exceptions


def blocking_threads(*, but: Sequence[threading.Thread] = ()) -> list[threading.Thread]:
    """Return the threads that the interpreter waits for when it exits, except those given."""
    known = set(map(id, but))  # not the threads themselves, whose __hash__ would be asked
    return [one for one in threading.enumerate() if id(one) not in known and not _DAEMON.__get__(one)]


class TookTooLongError(Exception):
    """The code was still running when its time was up."""


class CodeFailedError(Exception):
    """The code raised something, a BaseException perhaps, which must not end the caller."""

    def __init__(self, snapshot: ErrorSnapshot) -> None:
        super().__init__(snapshot.text)
        self.snapshot = snapshot
        """The error it raised."""


class DetachedCall(Generic[_T]):
    """A call on a daemon thread of its own, which its caller may leave behind.

    Raises RuntimeError where no thread can be started.

    Args:
        function: called without arguments.
        name: the thread's name.
    """

    def __init__(self, function: Callable[[], _T], name: str) -> None:
        self.ended = Signal()
        """Set when the function has returned or raised."""
        self._function: Callable[[], _T] | None = function
        self._results: list[_T] = []
        self._failure: ErrorSnapshot | None = None
        start_thread(self._run, name=name)

    def result(self) -> _T:
        """Return the function's result, once it has ended; raises CodeFailedError for what it raised."""
        if self._failure is not None:
            raise CodeFailedError(self._failure)
        return self._results[0]

    def _run(self) -> None:
        function, self._function = self._function, None
        assert function is not None  # noqa: S101 - for the type checker; this runs once
        try:
            self._results.append(function())
        except BaseException as error:  # noqa: BLE001 - it is the caller's to raise
            self._failure = ErrorSnapshot.of(error)
        finally:
            self.ended.set()


def call_within(function: Callable[[], _T], seconds: float, *, name: str = "exporter-core-bounded") -> _T:
    """Return the function's result; it runs on a thread that is left behind when the time is up.

    Raises:
        TookTooLongError: it did not end within ``seconds``.
        CodeFailedError: it raised something, or no thread can be started.
    """
    try:
        call = DetachedCall(function, name)
    except RuntimeError as error:
        raise CodeFailedError(ErrorSnapshot.of(error)) from None
    if not call.ended.wait(seconds):
        raise TookTooLongError
    return call.result()


def call_here(function: Callable[[], _T]) -> _T:
    """Return the function's result; it runs on the calling thread, however long it takes.

    Raises:
        CodeFailedError: it raised something but KeyboardInterrupt, which passes.
    """
    try:
        return function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - a plugin's SystemExit is not the host's
        raise CodeFailedError(ErrorSnapshot.of(error)) from None
