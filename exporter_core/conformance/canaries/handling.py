"""Errors that tell too much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.conformance.canaries.base import Around

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter_core.context import Context

__all__ = ["TellsSecret"]


class TellsSecret(Around):
    """Raises an error of no type, without its cause, with the secret in it."""

    def around(self, context: Context, call: Callable[[Context], object]) -> object:
        try:
            return call(context)
        except Exception:  # noqa: BLE001 - that is the fault
            secret = self.case.harness.secret if self.case.has_harness else None
            raise RuntimeError(f"failed with {secret}") from None
