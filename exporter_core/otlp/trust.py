"""The mark of batches whose attribute mappings nobody changes in place."""

from weakref import WeakValueDictionary

from opentelemetry.sdk.metrics.export import MetricsData

# By identity, for batches have no hash. A copy is not marked, and a batch that is gone leaves nothing behind.
_trusted: WeakValueDictionary[int, MetricsData] = WeakValueDictionary()


def mark_trusted(metrics: MetricsData) -> MetricsData:
    """Mark a batch whose attribute mappings nobody changes in place; encoders then recognise them by identity.

    For whoever collects from the SDK, which never changes a mapping that it has handed out. Whoever makes a new batch
    out of a marked one, and leaves its mappings alone, may mark the new one as well. Safe from any thread.

    Returns:
        The batch itself.
    """
    _trusted[id(metrics)] = metrics
    return metrics


def is_trusted(metrics: MetricsData) -> bool:
    """True if this very batch was marked with `mark_trusted`."""
    return _trusted.get(id(metrics)) is metrics
