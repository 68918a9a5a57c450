"""What an encoding has to say so that metrics can be written in it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from opentelemetry.sdk.metrics.export import Metric

from exporter_core.otlp.attributes import AttributeWriter
from exporter_core.otlp.request import Frame, Points
from exporter_core.otlp.series import Series


class Tails(Protocol):
    """What follows the attributes in each of a metric's points."""

    @property
    def length(self) -> int | None:
        """The bytes of each tail, where a point starts with its length; None where it does not."""

    def points(self, series: Series) -> Points:
        """The points, whose attributes the series has."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How the points of one kind of metric data are written.

    Attributes:
        attributes: writes a point's attributes, which come first.
        tail: writes what follows in any one point; takes the writer of exemplars' attributes, too.
        tails: writes what follows in all points of a metric where these are alike, else None; exemplars are not seen.
    """

    attributes: AttributeWriter
    tail: Callable[[Any, AttributeWriter], bytes]  # takes its own kind of point
    tails: Callable[[Sequence[Any]], Tails | None]  # takes its own kind of points


class Format(Protocol):
    """An encoding of metrics. Texts that it is handed are known to have a UTF-8 form."""

    @property
    def separator(self) -> bytes:
        """What stands between siblings."""

    @property
    def request(self) -> Frame:
        """The outermost frame."""

    @property
    def resource_attributes(self) -> AttributeWriter:
        """Writes those of resources."""

    @property
    def scope_attributes(self) -> AttributeWriter:
        """Writes those of scopes."""

    @property
    def exemplar_attributes(self) -> AttributeWriter:
        """Writes those of exemplars."""

    @property
    def kinds(self) -> Mapping[type, Kind]:
        """How points are written, by the type of metric data."""

    def resource(self, attributes: bytes, url: str) -> Frame:
        """The frame of a resource."""

    def scope(self, scope: tuple[str, str, bytes] | None, url: str) -> Frame:
        """The frame of a scope: of name, version and attributes, if there is one."""

    def metric(self, metric: Metric) -> Frame:
        """The frame of a metric.

        Raises:
            UnencodableError: when one of its texts has no UTF-8 form.
        """

    def point(self, body: bytes, tail: bytes) -> bytes:
        """One point, of its attributes and what follows them."""
