"""Further wrong exporters that tell secrets."""

from __future__ import annotations

import base64
import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from exporter_core import ExporterError
from third_party.right import PlainExporter
from third_party.transport import Answer, Wire, address_of, read_answer, request_bytes

if TYPE_CHECKING:
    from exporter_core import Context
    from third_party.transport import HttpConfig


class QuotesBasicCredentials(PlainExporter):
    """The token is the password of Basic authentication, and a failure quotes the header: user and token in Base64."""

    def header(self) -> str:
        """Return the header's value."""
        pair = f"exporter:{self.config.token.get_secret_value()}"
        return f"Basic {base64.b64encode(pair.encode()).decode()}"

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except ExporterError as error:
            context.raise_if_done()
            raise ExporterError(f"{error} (request with Authorization: {self.header()})") from error

    def attempt(self, context: Context, body: bytes) -> Answer:
        wire = Wire(address_of(self.config.endpoint))
        try:
            wire.connect(context)
            head = f"\r\nAuthorization: {self.header()}\r\n\r\n".encode()
            wire.send(context, request_bytes(self.config.endpoint, body).replace(b"\r\n\r\n", head, 1))
            return read_answer(lambda: wire.receive(context))
        finally:
            wire.close()


class QuotesTheUrl(PlainExporter):
    """A failure names the URL, with the token in it: ``http://:token@host``."""

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except ExporterError as error:
            context.raise_if_done()
            parts = urlsplit(self.config.endpoint)
            url = parts._replace(netloc=f":{self.config.token.get_secret_value()}@{parts.netloc}").geturl()
            raise ExporterError(f"cannot post to {url}: {error}") from error


class AttachesHeadersToLogs(PlainExporter):
    """A failure is logged with the request's headers in ``extra``, for the log's JSON."""

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except Exception:
            headers = {"authorization": f"Bearer {self.config.token.get_secret_value()}"}
            logging.getLogger(__name__).warning("the request failed", extra={"headers": headers})
            raise


class LogsDeliveries(PlainExporter):
    """Each delivered batch is logged at DEBUG, with the credentials that it was sent with."""

    def send(self, context: Context, body: bytes) -> None:
        super().send(context, body)
        token = self.config.token.get_secret_value()
        logging.getLogger(__name__).debug("sent %d bytes as %s", len(body), token)


class LogsItsOptions(PlainExporter):
    """The options are logged when the exporter is made, with what is secret in them."""

    def __init__(self, config: HttpConfig) -> None:
        super().__init__(config)
        options = {"endpoint": config.endpoint, "token": config.token.get_secret_value()}
        logging.getLogger(__name__).info("exporting with %s", options)


class ShowsItsToken(PlainExporter):
    """The exporter's repr() has all of its options in plain text."""

    def __repr__(self) -> str:
        return f"ShowsItsToken(endpoint={self.config.endpoint!r}, token={self.config.token.get_secret_value()!r})"


class TellsInTheGroup(PlainExporter):
    """A failure is caused by a group of the attempts' errors, one of which quotes the request's headers."""

    def send(self, context: Context, body: bytes) -> None:
        try:
            super().send(context, body)
        except ExporterError as error:
            context.raise_if_done()
            detail = RuntimeError(f"POST, Authorization: Bearer {self.config.token.get_secret_value()}")
            raise ExporterError(str(error)) from ExceptionGroup("all attempts failed", [error, detail])
