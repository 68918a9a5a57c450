"""The harness that shows the conformance checker what the remote-write exporter delivers, and lets its backend fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from exporter_core.conformance import Capabilities, Point, SinkHarness
from exporter_core_prometheus.translation import LabelMaker, Namer

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SECRET: Final = "canary-5f3a9e"  # noqa: S105 - what must not appear in errors


class RemoteWriteHarness(SinkHarness):
    """A remote-write sink of its own for each run."""

    kind = "remote_write"
    secret = _SECRET
    # Without partial: an answer of 1.0 never says how much of a request was stored.
    faults = frozenset(
        (
            "ok",
            "status",
            "retry-after",
            "retry-after-date",
            "hang",
            "refuse",
            "blackhole",
            "silence",
            "reset",
            "drip",
            "truncate",
            "redirect",
            "garbage",
        )
    )
    capabilities = Capabilities(translates=True)

    def config(self) -> Mapping[str, Any]:
        """The sink and a secret; waits are short, and bounded by nothing but the context that is handed in."""
        return {
            "endpoint": self.endpoint,
            "bearer_token": _SECRET,
            "timeout": 0,
            "retry": {"initial_interval": 20, "max_interval": 50, "max_elapsed_time": 0},
        }

    def expected(self, point: Point) -> Point | None:
        """The point with its attributes as labels; Prometheus has no form for delta points."""
        if point.fields.get("temporality") == "DELTA":
            return None
        attributes: Any = point.fields["attributes"]  # in the form that the checker compares
        texts = {name: value for name, value in attributes if isinstance(value, str)}
        return Point(point.token, _fields(_LABELS.labels(texts, {})))

    def read_back(self) -> Iterable[Point]:
        """The points that the sink has, without `target_info` and the markers of ended series."""
        for point in super().read_back():
            if point.token and point.fields["type"] != "stale":
                labels: Any = point.fields["attributes"]
                yield Point(point.token, _fields(labels))


_LABELS: Final = LabelMaker(Namer("underscore_escaping_with_suffixes"))


def _fields(labels: Iterable[tuple[str, str]]) -> dict[str, object]:
    return {f"label {name}": value for name, value in labels}
