"""Logging from threads that have to go on: those of guards, readers, observers and timers."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import logging

__all__ = ["log"]


def log(logger: logging.Logger, level: int, message: str, *arguments: object) -> None:
    """Log, whatever the application's handlers and filters raise: logging passes it on, and it would end the thread."""
    try:
        logger.log(level, message, *arguments, stacklevel=2)
    except BaseException:  # noqa: BLE001, S110 - there is nowhere left to say it
        pass
