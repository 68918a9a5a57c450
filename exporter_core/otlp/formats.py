"""The parts of an encoding that metrics are written with.

A data point is written in two pieces: its attributes with what else stays the same, and the numbers of this export.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from opentelemetry.sdk.metrics.export import Metric

from exporter_core.otlp.attributes import AttributeWriter
from exporter_core.otlp.request import Frame
from exporter_core.otlp.shapes import Shape


@dataclass(frozen=True, slots=True)
class Kind:
    """The way to write the points of one kind of metric data.

    Attributes:
        attributes: writes a point's attributes, which come first.
        shape: what all points are taken to look like, of the first of them; None where there is no such thing.
        rest: writes what follows the attributes in any one point; takes the writer of exemplars' attributes, too.
        exemplars: writes the exemplars of each of many points.
    """

    attributes: AttributeWriter
    shape: Callable[[Any], Shape | None]  # takes its own kind of point
    rest: Callable[[Any, AttributeWriter], bytes]  # takes its own kind of point
    exemplars: Callable[[Sequence[Sequence[Any]], AttributeWriter], list[bytes]]


class Format(Protocol):
    """An encoding of metrics. Texts that it is handed are known to have a UTF-8 form."""

    @property
    def separator(self) -> bytes:
        """The bytes between siblings; every point begins with it."""

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
        """The ways to write points, by the type of metric data."""

    def resource(self, attributes: bytes, url: str) -> Frame:
        """The frame of a resource."""

    def scope(self, scope: tuple[str, str, bytes] | None, url: str) -> Frame:
        """The frame of a scope: of name, version and attributes, if there is one."""

    def metric(self, metric: Metric) -> Frame:
        """The frame of a metric.

        Raises:
            UnencodableError: when one of its texts has no UTF-8 form.
        """

    def point(self, body: bytes, rest: bytes) -> bytes:
        """One point, of its attributes and what follows them."""
