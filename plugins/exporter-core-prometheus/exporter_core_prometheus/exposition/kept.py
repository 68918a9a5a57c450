"""The encoded forms that are kept from one scrape to the next, at a series or at all series of a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exporter_core_prometheus.translation import Series, SeriesSet


class Kept:
    """The encoders' own notes of a set of series; None until they have encoded it.

    Attributes:
        text: that of the text formats.
        protobuf: that of the protobuf format.
    """

    __slots__ = ("protobuf", "text")

    def __init__(self) -> None:
        self.text: Any = None  # Any: the encoder's own, here and below
        self.protobuf: Any = None


def kept_at(holder: Series | SeriesSet) -> Kept:
    """Return what is kept at a series, or at a set of series."""
    kept: Kept | None = holder.encoded
    if kept is None:
        kept = holder.encoded = Kept()
    return kept
