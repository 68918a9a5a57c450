"""Pull exporters: plugins that answer with metrics when they are asked, such as to a Prometheus that scrapes.

They are a kind of plugin beside the exporter contract, with an entry-point group of its own. A config file names one
under ``pull:``. Data is cumulative, in the SDK's default aggregation.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Final, Protocol

from exporter_core.errors import ContractError
from exporter_core.exporter import ConfigT, Configured

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricsData

    from exporter_core.context import Context
    from exporter_core.exporter import Destination

__all__ = ["PULL_EXPORTER_GROUP", "Collect", "PullExporter"]

PULL_EXPORTER_GROUP: Final = "exporter_core.pull_exporters.v1"
"""The entry-point group under which distributions register pull exporters."""


class Collect(Protocol):
    """Collects the metrics for a pull exporter. Safe from any thread."""

    def __call__(self, context: Context) -> MetricsData:
        """Return the metrics of this moment; callers at the same time get one collection, the same object.

        They are not to be changed.

        Raises:
            DeadlineExceededError, ContextCancelledError: the context was done first; the collection goes on.
            ExporterShutdownError: the reader has been shut down.
            ExporterError: the collection failed.
        """
        ...

    def report(self, error: Exception) -> None:
        """Report a failure that has no caller to be raised to. Raises nothing."""
        ...


class IsReaderError(ContractError):
    """The entry point names a metric reader of the SDK: a pull exporter, which the group of exporters may have, too."""


class PullExporter(Configured[ConfigT]):
    """Base class of pull exporters. Subclass it as ``class MyExporter(PullExporter[MyConfig])``.

    The guard runs its methods on threads of its own. A forked child that records anything makes an exporter anew from
    the same options, and starts that.

    Args:
        config: the validated options, an instance of :attr:`config_model`.
    """

    @abstractmethod
    def start(self, collect: Collect) -> None:
        """Begin to serve, and return; raise if that is impossible.

        Args:
            collect: gives the metrics.
        """

    @abstractmethod
    def shutdown(self, context: Context) -> None:
        """Answer what has been asked, while the context lasts, and release every resource; also when it is done.

        Called once, and also if :meth:`start` failed.
        """

    def leave_to_parent(self) -> None:
        """Let go, in a forked child, of what the parent goes on with: close this process's copies of its sockets.

        Called there with no other thread alive; it must not block. The exporter is not used any more.
        """

    def destination(self) -> Destination | None:
        """Return the place where the metrics can be had, once started; None if it has no name."""
        return None
