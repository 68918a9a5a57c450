"""The pull exporter: an HTTP server on one address, from its start to its shutdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core import Destination, PullExporter
from exporter_core_prometheus.pull.answering import PATH, Application
from exporter_core_prometheus.pull.config import PrometheusConfig
from exporter_core_prometheus.pull.server import Server

if TYPE_CHECKING:
    from exporter_core import Collect, Context


class PrometheusExporter(PullExporter[PrometheusConfig]):
    """Serves metrics to a Prometheus that scrapes them, at the path `/metrics`.

    In text, OpenMetrics with exemplars, or protobuf with native histograms, as the scraper asks.
    """

    _server: Server | None = None

    def start(self, collect: Collect) -> None:
        """Begin to serve; raises ExporterError if the address is taken."""
        config = self.config
        options = config.translation_options(target_info_enabled=config.target_info_enabled, job_and_instance=False)
        self._server = Server(Application(options, collect), config.host, config.port)
        self._server.start()

    def shutdown(self, context: Context) -> None:
        """Answer the scrapes under way while the context lasts, and close all connections."""
        if self._server is not None:
            self._server.stop(context)

    def leave_to_parent(self) -> None:
        """Close the child's copies of the sockets, on which the parent goes on serving."""
        if self._server is not None:
            self._server.leave()

    def destination(self) -> Destination | None:
        """Return the URL of the metrics, and a command that shows them."""
        if self._server is None:
            return None
        host, port = self._server.address
        url = f"http://{f'[{host}]' if ':' in host else host}:{port}{PATH}"
        return Destination(url, f"curl {url}")
