"""Imports what the extra ``conformance`` brings, with a clear message where it is missing."""

from __future__ import annotations

import importlib
from typing import Any


class MissingExtraError(Exception):
    """A package of the extra is not installed; the message says what to do."""


def extra(module: str) -> Any:  # modules without types of their own
    """The module; MissingExtraError if its package is not installed."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"the module {error.name} is missing; install it with: pip install 'exporter-core[conformance]'"
        ) from None
