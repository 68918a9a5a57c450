"""A client of one server, whose connection is kept and made anew, and the base class of exporters that have one."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from exporter_core.authoring.retry import RetryableError, Retrying
from exporter_core.authoring.serial import SerialExporter
from exporter_core.errors import DeadlineExceededError, ExporterError
from exporter_core.exporter import Destination
from exporter_core.forking import renew_after_fork
from exporter_core.masking import Masker, masker_for
from exporter_core.net.messages import on_one_line
from exporter_core.net.options import ClientOptions
from exporter_core.net.sockets import Waiter
from exporter_core.net.tls import reason

if TYPE_CHECKING:
    from exporter_core.context import Context
    from exporter_core.net.sockets import Wire

RequestT = TypeVar("RequestT")
AnswerT = TypeVar("AnswerT")
ClientOptionsT = TypeVar("ClientOptionsT", bound=ClientOptions)
ClientT = TypeVar("ClientT", bound="Client[Any, Any]")
_LONGEST_MESSAGE = 1200  # characters


class ClosedError(Exception):
    """The server has closed the connection.

    Args:
        message: how.
        unanswered: whether it had sent no part of an answer to the request.
        refused: whether it has said that it does nothing about the request.
    """

    def __init__(self, message: str, *, unanswered: bool = False, refused: bool = False) -> None:
        super().__init__(message)
        self.unanswered: bool = unanswered
        self.refused: bool = refused


class Connection(ABC, Generic[RequestT, AnswerT]):
    """A connection that requests go over, one after the other.

    Args:
        wire: what the bytes go over.
    """

    reusable: bool = True
    """True while another request may follow."""

    def __init__(self, wire: Wire) -> None:
        self.wire: Wire = wire

    @abstractmethod
    def idle(self) -> bool:
        """Return True if the server still has it open and waits for a request, as far as this end can see."""

    @abstractmethod
    def exchange(self, context: Context, request: RequestT) -> AnswerT:
        """Send a request and read its answer, which may come while the request is still being written.

        Raises:
            ClosedError: the server ended the connection before the answer was whole.
            RetryableError, ExporterError: what came is no answer. The message may hold secrets.
            DeadlineExceededError, ContextCancelledError: as soon as the context is done. The connection is of no use
                after any of these.
        """


class Client(ABC, Generic[RequestT, AnswerT]):
    """Sends requests to one server, over one connection that is kept. For one thread at a time.

    A forked child connects anew, and never touches its parent's connection.

    Args:
        options: the exporter's.
        server: the server's name in messages, without secrets.
    """

    def __init__(self, options: ClientOptions, server: str) -> None:
        self.server: str = server
        self.mask: Masker = masker_for(options)
        self._options = options
        self._retrying = Retrying(options.retry)
        self._doing = ""  # for the error of a deadline
        self._waiter: Waiter | None = None
        self._connection: Connection[RequestT, AnswerT] | None = None
        renew_after_fork(self)

    @abstractmethod
    def connect(self, context: Context, waiter: Waiter) -> Connection[RequestT, AnswerT]:
        """Connect to the server.

        Raises:
            RetryableError: the server cannot be reached for the moment.
            ExporterError: another attempt would fail too.
            DeadlineExceededError, ContextCancelledError: as soon as the context is done.
        """

    @abstractmethod
    def check(self, answer: AnswerT) -> None:
        """Return if the server took the request.

        Raises:
            RetryableError: it did not, for the moment.
            ExporterError: it did not, for good, or nobody knows.
        """

    def send(self, context: Context, request: RequestT) -> AnswerT:
        """Send a request, again by the option ``retry``, and return the answer of the attempt that succeeded.

        Raises:
            ExporterError: no attempt succeeded. A GaveUpError if no time was left for another one.
            DeadlineExceededError, ContextCancelledError: as soon as the context is done.
        """
        return self._retrying.run(context, partial(self._attempt, context, request))

    def close(self) -> None:
        """Close the connection; another request would make a new one."""
        if self._connection is not None:
            self._connection.wire.close()
        self._let_go()

    def keep_secret(self, *secrets: str) -> None:
        """Mask these in messages too, beside the options' own secrets."""
        self.mask = masker_for({"options": self._options, "secrets": secrets})

    def _renew_after_fork(self) -> None:
        if self._connection is not None:
            self._connection.wire.forget()
        self._let_go()

    def _let_go(self) -> None:
        if self._waiter is not None:
            self._waiter.close()
        self._connection = self._waiter = None

    def _attempt(self, context: Context, request: RequestT) -> AnswerT:
        """Send a request once; again if the server did nothing about it, with retries also if it only left."""
        try:
            answer = self._exchange(context, request)
            self.check(answer)
        except ClosedError as error:
            raise RetryableError(self._message(error)) from error.__cause__  # the error itself is not masked
        except ExporterError as error:
            error.args = (self._message(error),)  # in place, since it may be of any subclass
            raise
        except DeadlineExceededError as error:
            raise DeadlineExceededError(f"{self.server}: timed out while {self._doing}") from error
        except ssl.SSLError as error:
            raise ExporterError(f"{self.server}: TLS: {reason(error)}") from error
        return answer

    def _exchange(self, context: Context, request: RequestT) -> AnswerT:
        waiter = self._waiter = self._waiter or Waiter()
        with waiter.woken_by(context):
            kept = self._connection
            if kept is not None:
                if kept.idle():
                    try:
                        return self._exchange_over(kept, context, request)
                    except ClosedError as error:
                        # Unanswered: most likely it closed while the request was on its way, but it may have taken it.
                        if not (error.refused or (error.unanswered and self._options.retry.enabled)):
                            raise
                        context._attempts_of_call().repeated += 1
                else:
                    self._drop(kept)
            self._doing = "connecting"
            self._connection = self.connect(context, waiter)
            return self._exchange_over(self._connection, context, request)

    def _exchange_over(self, connection: Connection[RequestT, AnswerT], context: Context, request: RequestT) -> AnswerT:
        self._doing = "waiting for the answer"
        try:
            answer = connection.exchange(context, request)
        except BaseException:
            self._drop(connection)
            raise
        if not connection.reusable:
            self._drop(connection)
        return answer

    def _drop(self, connection: Connection[RequestT, AnswerT]) -> None:
        self._connection = None
        connection.wire.close()

    def _message(self, error: Exception) -> str:
        return f"{self.server}: {on_one_line(self.mask(str(error)), _LONGEST_MESSAGE)}"


class NetworkExporter(SerialExporter[ClientOptionsT], Generic[ClientOptionsT, ClientT]):
    """Base class of exporters that deliver through a client; ``deliver`` remains to be written.

    The option ``timeout`` bounds each export with all its requests.

    Args:
        config: the options.
        client: made from them.
    """

    def __init__(self, config: ClientOptionsT, client: ClientT) -> None:
        super().__init__(config)
        self.client: ClientT = client
        self.timeout: float | None = config.timeout_seconds

    def destination(self) -> Destination:
        """Return the server."""
        return Destination(self.client.server)

    def release(self, context: Context) -> None:  # noqa: ARG002 - closing does not wait
        """Close the connection."""
        self.client.close()
