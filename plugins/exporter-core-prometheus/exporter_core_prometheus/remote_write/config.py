"""The options of the exporter ``prometheus_remote_write``."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from exporter_core.authoring import RetryOptions
from exporter_core.net import AuthOptions, HttpOptions, HttpUrl, ProxyOptions
from exporter_core_prometheus.config import TranslationConfig


class RemoteWriteConfig(TranslationConfig, ProxyOptions, AuthOptions, HttpOptions):
    """Options of the ``prometheus_remote_write`` exporter."""

    reserved_headers: ClassVar[frozenset[str]] = HttpOptions.reserved_headers | {
        "user-agent",
        "x-prometheus-remote-write-version",
    }

    endpoint: HttpUrl = "http://localhost:9090/api/v1/write"
    """The URL that requests are sent to, as it is: no path is added."""

    protocol: Literal["1.0", "2.0", "auto"] = "1.0"
    """Version of the remote-write protocol. `auto` tries 2.0, and changes to 1.0 for a server that does not prove that
    it stores 2.0."""

    retry: RetryOptions = RetryOptions.model_construct()
    """Retries of requests that were answered 429 or 5xx, or not at all."""

    default_histogram_aggregation: Literal["explicit_bucket_histogram", "base2_exponential_bucket_histogram"] = (
        "explicit_bucket_histogram"
    )
    """Buckets of histograms that no view configures: with fixed bounds, or exponential ones, which Prometheus stores as
    native histograms if it is started with `--enable-feature=native-histograms`."""

    target_info_enabled: bool = True
    """Describe the resource by the series `target_info`, whose labels are its attributes."""

    staleness_markers: bool = True
    """Tell the server when a series ends: when its instrument stops reporting it, and at shutdown. Queries then stop
    showing it at once, not after five minutes."""

    max_request_samples: Annotated[int, Field(strict=True, ge=1)] = 5000
    """Samples in one request; a batch that has more is sent as several, in order. A point is never divided: a histogram
    has a sample for each bucket, its sum and its count."""

    max_request_bytes: Annotated[int, Field(strict=True, ge=1024)] = 4_000_000
    """Bytes of one request before compression; a batch that takes more is sent as several."""
