"""Logging from threads that must not end: those of guards, readers, observers and timers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging


def log(logger: logging.Logger, level: int, message: str, *arguments: object) -> None:
    """Log, and ignore any error of the application's handlers and filters: logging would let it end the thread."""
    try:
        logger.log(level, message, *arguments, stacklevel=2)
    except BaseException:  # noqa: BLE001, S110 - there is nowhere left to report it
        pass
