"""Errors that tell too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.conformance.canaries.base import Around
from exporter_core.errors import ExporterError

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.context import Context


class TellsSecret(Around):
    """Raises an error with the secret in its message; one of no type where there is no secret to tell."""

    def around(self, context: Context, call: Callable[[Context], object]) -> object:
        try:
            return call(context)
        except Exception as error:
            secret = self.case.harness.secret if self.case.has_harness else None
            if secret is None:
                raise RuntimeError("failed") from error
            raise ExporterError(f"failed with {secret}") from error
