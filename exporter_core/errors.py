"""Every exception that exporter-core raises on purpose.

::

    ExporterCoreError
    |
    |   while metrics are delivered
    |-- DeadlineExceededError (also a TimeoutError)   the caller's own deadline ended the call
    |-- ContextCancelledError                         the caller's own cancellation ended it
    |-- ExporterError                                 an operation failed
    |   |-- ExporterShutdownError                     the exporter has been shut down
    |   |-- PartialSuccessError                       the backend refused some of the points
    |   |-- ExporterBusyError                         an earlier call still runs
    |   |-- ExporterReentrancyError                   an exporter called its own guard
    |   `-- ExporterForkedError                       the process forked, and the exporter cannot be rebuilt
    |-- MaskedCauseError                              stands in for a cause that tells a secret
    |
    |   while a pipeline is set up; nothing was started
    `-- SetupError
        |-- ConfigError                               the configuration has faults, each a ConfigProblem
        |-- ContractError                             a class does not fit the exporter contract
        |-- ExporterNotFoundError                     no plugin has this name
        |-- ExporterConflictError                     two plugins have this name
        |-- PluginBlockedError                        the allow or block list forbids the plugin
        |-- PluginLoadError                           the plugin's own code failed
        `-- UnsupportedContractError                  the plugin has another version of the contract

The names, bases and constructor parameters marked "contract v1" are frozen with the contract.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "ConfigError",
    "ConfigProblem",
    "ContextCancelledError",
    "ContractError",
    "DeadlineExceededError",
    "ExporterBusyError",
    "ExporterConflictError",
    "ExporterCoreError",
    "ExporterError",
    "ExporterForkedError",
    "ExporterNotFoundError",
    "ExporterReentrancyError",
    "ExporterShutdownError",
    "MaskedCauseError",
    "PartialSuccessError",
    "PluginBlockedError",
    "PluginLoadError",
    "SetupError",
    "UnsupportedContractError",
]


class ExporterCoreError(Exception):
    """Base of every exception in this module. Contract v1.

    Each can be copied and pickled, with its attributes, whatever its constructor takes.
    """

    points_lost: int = 0
    """Data points that were not delivered, where a reader passes the error to its error handler."""

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.args), self.__dict__


def _rebuild(cls: type[ExporterCoreError], args: tuple[object, ...]) -> ExporterCoreError:
    error = cls.__new__(cls, *args)
    error.args = args
    return error


# --- while metrics are being delivered -------------------------------------------------------------------------------


class DeadlineExceededError(ExporterCoreError, TimeoutError):
    """The context's deadline passed before the call was done. Contract v1."""


class ContextCancelledError(ExporterCoreError):
    """The context was cancelled before the call was done; a cause that was given is chained. Contract v1."""


class ExporterError(ExporterCoreError):
    """An operation of an exporter failed. Contract v1.

    Plugins raise it (or anything else: the guard wraps what they raise). From a guard, ``exporter`` and ``operation``
    are always set, and ``__cause__`` is what the plugin raised.

    Args:
        message: what happened, in one line, without secrets.
        exporter: the exporter's name in the configuration.
        operation: the contract operation that failed, such as ``"export"``.
    """

    def __init__(self, message: str = "", *, exporter: str | None = None, operation: str | None = None) -> None:
        super().__init__(message)
        self.exporter: str | None = exporter
        self.operation: str | None = operation


class ExporterShutdownError(ExporterError):
    """The exporter has been shut down: nothing was sent. Contract v1."""


class PartialSuccessError(ExporterError):
    """The backend took the batch but refused some of its points. Contract v1.

    Args:
        message: the backend's own words, in one line, without secrets.
        rejected_points: how many data points were refused.
    """

    def __init__(
        self, message: str = "", *, rejected_points: int, exporter: str | None = None, operation: str | None = None
    ) -> None:
        super().__init__(message, exporter=exporter, operation=operation)
        self.rejected_points: int = rejected_points


class ExporterBusyError(ExporterError):
    """An earlier call of the same operation overran its deadline and has still not ended."""


class ExporterReentrancyError(ExporterError):
    """An exporter called its own guard from inside one of its operations."""


class ExporterForkedError(ExporterError):
    """The process forked, and the guard was given an instance, not a config to rebuild it from in the child."""


class MaskedCauseError(ExporterCoreError):
    """Stands in an error's chain for a cause that tells a secret, or too much to search; its message is masked.

    A traceback prints the whole chain, so a secret in it would show wherever an error is not caught.
    """


# --- while a pipeline is being described ----------------------------------------------------------------------------


class SetupError(ExporterCoreError):
    """Nothing was started: what was asked for cannot be built. The message is one line that says the way out."""


class ContractError(SetupError):
    """A class does not fit the exporter contract; names class, method, file and line."""


class ExporterNotFoundError(SetupError):
    """No installed plugin registers this name; the message has the nearest spelling and what is installed."""


class ExporterConflictError(SetupError):
    """Two installed distributions register one name; the message names both and how to choose."""


class PluginBlockedError(SetupError):
    """The plugin is installed but the allow or block list forbids it; it was not imported."""


class PluginLoadError(SetupError):
    """The plugin's own code failed while it was imported or built; names distribution, version and cause."""


class UnsupportedContractError(SetupError):
    """The plugin is registered under a contract version that this core does not support; it was not imported."""


class ConfigProblem:
    """One thing wrong with a configuration, and where.

    Args:
        message: one line: what is wrong, what was expected, the way out.
        source: the file's name, or None for configuration that came as a mapping.
        line: 1-based line, None if unknown.
        column: 1-based column, None if unknown.
        path: the keys and positions that lead to the value, from the root.
    """

    __slots__ = ("column", "line", "message", "path", "source")

    def __init__(
        self,
        message: str,
        *,
        source: str | None = None,
        line: int | None = None,
        column: int | None = None,
        path: Sequence[str | int] = (),
    ) -> None:
        self.message: str = message
        self.source: str | None = source
        self.line: int | None = line
        self.column: int | None = column
        self.path: tuple[str | int, ...] = tuple(path)

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.source, self.line, self.column) if part is not None)
        return f"{where}: {self.message}" if where else self.message

    def __repr__(self) -> str:
        return f"ConfigProblem({str(self)!r})"


class ConfigError(SetupError):
    """A configuration cannot be used; ``problems`` has every fault found in one pass, in file order."""

    def __init__(self, problems: Sequence[ConfigProblem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems: tuple[ConfigProblem, ...] = tuple(problems)
