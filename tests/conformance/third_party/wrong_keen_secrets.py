"""Wrong exporters that tell their token."""

from __future__ import annotations

import os

from exporter_core import ExporterError, PartialSuccessError
from third_party.right_keen_grpc import Rpc
from third_party.right_keen_http import Pool


class NotesSecret(Pool):
    """Notes the headers on the error, the token among them."""

    def deliver(self, context, metrics):
        try:
            super().deliver(context, metrics)
        except ExporterError as error:
            error.add_note(f"request headers: {self.connection(self.config).headers}")
            raise


class TellsInGroup(Pool):
    """Raises its error from a group of the attempts, one of which tells the token."""

    def deliver(self, context, metrics):
        try:
            super().deliver(context, metrics)
        except PartialSuccessError:
            raise
        except ExporterError as error:
            raise ExporterError("the export failed") from ExceptionGroup(
                "attempts", [error, ValueError(f"sent with {self.connection(self.config).headers}")]
            )


class TellsMost(Pool):
    """Shows the token in the message but for its last four characters."""

    def deliver(self, context, metrics):
        try:
            super().deliver(context, metrics)
        except PartialSuccessError:
            raise
        except ExporterError as error:
            raise ExporterError(f"the export failed (token {self.config.token.get_secret_value()[:-4]}****)") from error


class TellsOnFd2(Pool):
    """Writes the headers to descriptor 2 when an attempt fails."""

    def deliver(self, context, metrics):
        try:
            super().deliver(context, metrics)
        except ExporterError:
            os.write(2, f"failed: {self.connection(self.config).headers}\n".encode())
            raise


class TellsHexdump(Pool):
    """Ends its message with a hex dump of the head of the request, the token in it."""

    def deliver(self, context, metrics):
        try:
            super().deliver(context, metrics)
        except PartialSuccessError:
            raise
        except ExporterError as error:
            head = str(self.connection(self.config).headers).encode().hex(" ")
            raise ExporterError(f"the export failed; sent: {head}") from error


class TellsMetadata(Rpc):
    """Adds the metadata that it sent to the arguments of the cause."""

    def deliver(self, context, metrics):
        try:
            super().deliver(context, metrics)
        except ExporterError as error:
            if error.__cause__ is not None:
                error.__cause__.args = (
                    *error.__cause__.args,
                    ("authorization", "Bearer " + self.config.token.get_secret_value()),
                )
            raise


class TellsPrivateHeaders(Rpc):
    """The first of the causes has the token in the exception that it was raised beside."""

    def deliver(self, context, metrics):
        try:
            super().deliver(context, metrics)
        except PartialSuccessError:
            raise
        except ExporterError as error:
            one = error
            while one.__cause__ is not None:
                one = one.__cause__
            one.__context__ = KeyError("authorization", self.config.token.get_secret_value())
            one.__suppress_context__ = False
            raise
