"""A translation as a scraper reads it: text 0.0.4, OpenMetrics 1.0, and protobuf with native histograms."""

from exporter_core_prometheus.exposition.formats import Accepted, Format, accepted_by, content_type, takes_gzip
from exporter_core_prometheus.exposition.protobuf import encode_protobuf
from exporter_core_prometheus.exposition.text import encode_text

__all__ = [
    "Accepted",
    "Format",
    "accepted_by",
    "content_type",
    "encode_protobuf",
    "encode_text",
    "takes_gzip",
]
