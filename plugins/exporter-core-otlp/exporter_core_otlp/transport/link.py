"""An exporter's connection to its server: made when it is first needed, kept, and made anew when it has ended."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Generic, TypeVar

from exporter_core import DeadlineExceededError, ExporterError
from exporter_core_otlp.answers import on_one_line
from exporter_core_otlp.retry import RetryableError
from exporter_core_otlp.tls import reason
from exporter_core_otlp.transport.waiting import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core import Context
    from exporter_core.authoring import Masker
    from exporter_core_otlp.transport.wire import Wire

AnswerT = TypeVar("AnswerT")


class ClosedError(Exception):
    """The server has ended the connection.

    Args:
        message: how.
        unanswered: whether it has said nothing to the request.
    """

    def __init__(self, message: str, *, unanswered: bool = False) -> None:
        super().__init__(message)
        self.unanswered: bool = unanswered


class Connection(ABC, Generic[AnswerT]):
    """A connection that requests go over, one after the other.

    Args:
        wire: what the bytes go over.
    """

    reusable: bool = True
    """Whether another request may follow."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    @abstractmethod
    def idle(self) -> bool:
        """Whether the server has it open still and is waiting for a request, as far as this end can see."""

    @abstractmethod
    def exchange(self, context: Context, body: bytes) -> AnswerT:
        """Send a request and read its answer, which may come while the request is still being written.

        Raises:
            ClosedError: the server ended the connection before the answer was whole.
            RetryableError, ExporterError: what came is no answer. It may hold secrets.
            DeadlineExceededError, ContextCancelledError: as soon as the context is done. The connection is of no use
                after any of these.
        """

    def close(self) -> None:
        """Close it."""
        self._wire.close()

    def forget(self) -> None:
        """Close this process's copy of a connection that its parent goes on using: nothing is sent."""
        self._wire.forget()


class Link(Generic[AnswerT]):
    """One server, and the connection to it that is kept.

    Args:
        connect: makes a connection within the context. Raises RetryableError, ExporterError, or the context's error.
        server: for messages: which one it is, without secrets.
        mask: keeps secrets out of messages; may be replaced by one that knows more.
    """

    def __init__(self, connect: Callable[[Context, Waiter], Connection[AnswerT]], server: str, mask: Masker) -> None:
        self._connect = connect
        self._server = server
        self.mask = mask
        self._doing = ""  # for the error of a deadline
        self._waiter: Waiter | None = None
        self._connection: Connection[AnswerT] | None = None

    def ask(self, context: Context, body: bytes) -> AnswerT:
        """Send a request once; twice if the server had closed the kept connection before it could read.

        Raises:
            RetryableError: the server cannot be reached, or has ended the connection.
            ExporterError: what another attempt would not better.
            DeadlineExceededError, ContextCancelledError: as soon as the context is done.
        """
        try:
            return self._ask(context, body)
        except (ClosedError, RetryableError) as error:
            raise RetryableError(self._told(error)) from error.__cause__  # for it is not masked itself
        except ExporterError as error:
            raise ExporterError(self._told(error)) from error.__cause__
        except DeadlineExceededError as error:
            raise DeadlineExceededError(f"{self._server}: {self._doing} took until the deadline") from error
        except ssl.SSLError as error:
            raise ExporterError(f"{self._server}: TLS: {reason(error)}") from error

    def release(self) -> None:
        """Close the connection; the next request makes another."""
        if self._connection is not None:
            self._connection.close()
        self._let_go()

    def forget(self) -> None:
        """Let go of the connection that is the parent's."""
        if self._connection is not None:
            self._connection.forget()
        self._let_go()

    def _ask(self, context: Context, body: bytes) -> AnswerT:
        waiter = self._waiter = self._waiter or Waiter()
        with waiter.woken_by(context):
            kept = self._connection
            if kept is not None:
                if kept.idle():
                    try:
                        return self._exchange(context, kept, body)
                    except ClosedError as error:
                        if not error.unanswered:
                            raise
                        # The server closed it while the request was on its way: no fault of the request.
                else:
                    self._drop(kept)
            self._doing = "connecting"
            self._connection = self._connect(context, waiter)
            return self._exchange(context, self._connection, body)

    def _exchange(self, context: Context, connection: Connection[AnswerT], body: bytes) -> AnswerT:
        self._doing = "waiting for the answer"
        try:
            answer = connection.exchange(context, body)
        except BaseException:
            self._drop(connection)
            raise
        if not connection.reusable:
            self._drop(connection)
        return answer

    def _drop(self, connection: Connection[AnswerT]) -> None:
        self._connection = None
        connection.close()

    def _let_go(self) -> None:
        if self._waiter is not None:
            self._waiter.close()
        self._connection = self._waiter = None

    def _told(self, error: Exception) -> str:
        return f"{self._server}: {on_one_line(self.mask(str(error)))}"
