"""Metrics data in which every point carries an identity, and the comparison of sent with arrived points.

Loss, duplication and corruption are told apart by identity, never by counts.
"""

from __future__ import annotations

import copy
import math
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import count, islice
from string import ascii_letters, digits
from types import NoneType
from typing import Any, Final, TypeVar

from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    Gauge,
    Histogram,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core.conformance.examples import ALIKE, alike, beyond, every_kind

TOKEN = "conformance.token"  # noqa: S105 - the attribute that holds a point's identity
"""The attribute that holds a point's identity."""

FIELDS = frozenset(
    {
        "resource",
        "resource_schema_url",
        "scope",
        "scope_version",
        "scope_schema_url",
        "scope_attributes",
        "name",
        "unit",
        "description",
        "type",
        "temporality",
        "monotonic",
        "attributes",
        "start_time_unix_nano",
        "time_unix_nano",
        "flags",
        "exemplars",
        "value",
        "count",
        "sum",
        "min",
        "max",
        "bucket_counts",
        "explicit_bounds",
        "scale",
        "zero_count",
        "zero_threshold",
        "positive",
        "negative",
    }
)
"""The names of the fields that a point may have."""


_Made = TypeVar("_Made")

_BEYOND: Final = 2**80
_TRIES = 200  # objects that are made for a place
_NAMED = 3  # items that differ which are named
_SHOWN = 120  # characters of a value that are shown
_START = 1_700_000_000_000_000_000
_NOW = 1_700_000_060_000_000_000
_SECOND = 1_000_000_000
_CUMULATIVE, _DELTA = AggregationTemporality.CUMULATIVE, AggregationTemporality.DELTA
_REAL = frozenset({"sum", "min", "max", "explicit_bounds"})


@dataclass(frozen=True)
class Point:
    """One data point on its own: its identity, and its fields by name; no fields if only its arrival is known.

    The names are ``resource``, ``resource_schema_url``, ``scope``, ``scope_version``, ``scope_schema_url``,
    ``scope_attributes``, ``name``, ``unit``, ``description``, ``type``, ``temporality``, ``monotonic`` and the fields
    of the SDK's data points.
    """

    token: str
    fields: Mapping[str, object] = field(hash=False)


@dataclass(frozen=True)
class TokenBatch:
    """Metrics data, and its points as they were when it was made."""

    metrics: MetricsData
    points: tuple[Point, ...]

    @property
    def tokens(self) -> tuple[str, ...]:
        """The identities of its points."""
        return tuple(point.token for point in self.points)

    def only(self, tokens: Iterable[str]) -> TokenBatch:
        """The batch with these of its points alone."""
        kept = set(tokens)
        for metric in metrics_in(self.metrics):
            points: Any = metric.data.data_points  # made by the kit, of lists
            points[:] = [one for one in points if (one.attributes or {}).get(TOKEN) in kept]
        return TokenBatch(self.metrics, tuple(point for point in self.points if point.token in kept))

    def without_metrics(self) -> TokenBatch:
        """The points alone, so that the metrics data can be let go of."""
        return TokenBatch(MetricsData([]), self.points)


@dataclass(frozen=True)
class Comparison:
    """The fate of the points that were sent."""

    lost: tuple[str, ...]
    duplicated: tuple[str, ...]
    corrupted: tuple[str, ...]
    """The differences, a line for each point."""
    foreign: tuple[str, ...]
    """Identities that arrived and were not sent."""

    def describe(self) -> str:
        """The differences in one line; empty if there are none."""
        parts = [
            f"{len(those)} {what} ({', '.join(those[:3])}{', ...' if len(those) > 3 else ''})"  # noqa: PLR2004 - enough to see
            for what, those in (
                ("lost", self.lost),
                ("duplicated", self.duplicated),
                ("corrupted", self.corrupted),
                ("never sent", self.foreign),
            )
            if those
        ]
        return "; ".join(parts)


def compare(sent: Iterable[Point], arrived: Iterable[Point], *, ignore: Iterable[str] = ()) -> Comparison:
    """Compare by identity.

    Args:
        sent: the points handed over.
        arrived: the points read back.
        ignore: the names of fields that the format does not carry.
    """
    ignored = set(ignore)
    expected = {point.token: point for point in sent}
    found = list(arrived)
    wrong = []
    for point in found:
        original = expected.get(point.token)
        if original is None or not point.fields:
            continue
        for name, value in original.fields.items():
            if name not in ignored and point.fields.get(name) != value:
                wrong.append(f"{point.token}: {_difference(name, point.fields.get(name), value)}")
                break
    return replace(compare_identities(expected, [point.token for point in found]), corrupted=tuple(wrong))


def compare_identities(sent: Iterable[str], arrived: Iterable[str]) -> Comparison:
    """Compare identities alone.

    Args:
        sent: those of the points handed over.
        arrived: those of the points read back.
    """
    expected, counts = dict.fromkeys(sent), Counter(arrived)
    return Comparison(
        lost=tuple(token for token in expected if token not in counts),
        duplicated=tuple(token for token, number in counts.items() if number > 1 and token in expected),
        corrupted=(),
        foreign=tuple(token for token in counts if token not in expected),
    )


def unlike(sent: Iterable[Point], arrived: Iterable[Point], *, ignore: Iterable[str] = ()) -> str:
    """Say what of points that share identities did not arrive as it was; empty if everything did."""
    points, ignored = list(sent), set(ignore)
    compared = {point.fields["type"]: point.fields.keys() - ignored for point in points}
    if "type" in ignored:
        compared = dict.fromkeys((*compared, None), set.intersection(*compared.values()))

    def fields_of(points: Iterable[Point]) -> Counter[tuple[tuple[str, object], ...]]:
        """Count the points with the same fields, of those that are compared."""
        return Counter(
            (
                ("token", point.token),
                *((name, point.fields.get(name)) for name in sorted(compared.get(point.fields.get("type"), ()))),
            )
            for point in points
        )

    wanted, found = fields_of(points), fields_of(arrived)
    lost = list((wanted - found).elements())
    others = [dict(one) for one in (found - wanted).elements()]
    if not lost:
        return ""
    was = dict(lost[0])

    def differences(now: Mapping[str, object]) -> list[str]:
        return [name for name in was if now.get(name) != was[name]]

    nearest = min(
        (one for one in others if one.get("token") == was["token"]), key=lambda one: len(differences(one)), default=None
    )
    several = f"{len(lost)} points that share an identity with others did not arrive as they were: "
    if nearest is None:
        return f"{several}such as that of {was.get('name')} with attributes {_shown(was.get('attributes'))}"
    name = differences(nearest)[0]
    return several + _difference(name, nearest.get(name), was[name])


def _difference(name: str, found: object, sent: object) -> str:
    """Say how a field differs; of a mapping or a sequence only the items that differ."""
    if (_is_mapping(found) or found == ()) and (_is_mapping(sent) or sent == ()):
        now, was = dict(found), dict(sent)  # type: ignore[call-overload]  # both are tuples of pairs
        keys = [key for key in sorted({*now, *was}) if now.get(key) != was.get(key)]
        return "; ".join(_difference(f"{name}[{key!r}]", now.get(key), was.get(key)) for key in keys[:_NAMED])
    if isinstance(found, tuple) and isinstance(sent, tuple) and len(found) == len(sent) and not _is_number(sent):
        pairs = enumerate(zip(found, sent, strict=True))
        unequal = [(place, now, was) for place, (now, was) in pairs if now != was]
        return "; ".join(_difference(f"{name}[{place}]", now, was) for place, now, was in unequal[:_NAMED])
    return f"{name} is {_shown(found)}, was {_shown(sent)}"


def _is_mapping(value: object) -> bool:
    """True for what :func:`plain` makes of a mapping, or of an object with attributes."""
    pairs = isinstance(value, tuple) and all(isinstance(one, tuple) and len(one) == 2 for one in value)  # noqa: PLR2004
    return pairs and bool(value) and all(isinstance(one[0], str) and not _is_number(one) for one in value)  # type: ignore[attr-defined]  # as looked


def _is_number(value: object) -> bool:
    """True for what :func:`plain` makes of a number."""
    return isinstance(value, tuple) and len(value) == 2 and value[0] in ("int", "float")  # noqa: PLR2004 - name, value


def _shown(value: object) -> str:
    if isinstance(value, tuple) and _is_number(value):
        return f"{value[1]} ({value[0]})"
    text = "absent" if value is None else repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


def flatten(metrics: MetricsData) -> Iterator[Point]:
    """The points of metrics data, each on its own, with values that compare: NaN equals NaN, 1 is not 1.0.

    A gauge has no start time: the SDK gives it none, and OTLP does not use one.
    """
    for of_resource in metrics.resource_metrics:
        resource = {
            "resource": plain(of_resource.resource.attributes),
            "resource_schema_url": of_resource.schema_url or "",
        }
        for of_scope in of_resource.scope_metrics:
            scope = {
                "scope": of_scope.scope.name,
                "scope_version": of_scope.scope.version or "",
                "scope_schema_url": of_scope.schema_url or "",
                "scope_attributes": plain(of_scope.scope.attributes or {}),
            }
            for metric in of_scope.metrics:
                data = metric.data
                about = {
                    "name": metric.name,
                    "unit": metric.unit or "",
                    "description": metric.description or "",
                    "type": type(data).__name__,
                    "temporality": _temporality(data),
                    "monotonic": getattr(data, "is_monotonic", None),
                }
                common = {**resource, **scope, **about}
                has_start = not isinstance(data, Gauge)
                for point in data.data_points:
                    values = {
                        name: plain(real(name, value) if name in _REAL else value)
                        for name, value in vars(point).items()
                    }
                    if not has_start:
                        del values["start_time_unix_nano"]
                    yield Point(str((point.attributes or {}).get(TOKEN, "")), common | values)


def metrics_in(metrics: MetricsData) -> Iterator[Metric]:
    """The metrics of every scope of every resource."""
    for of_resource in metrics.resource_metrics:
        for of_scope in of_resource.scope_metrics:
            yield from of_scope.metrics


def real(name: str, value: Any) -> Any:  # Any: whatever points hold
    """The value, as a float where the data model has a real number; the SDK has an integer there where it can. An
    unknown start is 0, as in OTLP.
    """
    if name == "start_time_unix_nano":
        return value or 0
    if name in ("sum", "min", "max"):
        return None if value is None else float(value)
    return [float(bound) for bound in value] if name == "explicit_bounds" else value


def _temporality(data: object) -> str | None:
    temporality = getattr(data, "aggregation_temporality", None)
    return None if temporality is None else AggregationTemporality(temporality).name


def plain(value: object) -> object:
    """A value that compares by type and content, and with which NaN equals itself."""
    return _form_of(type(value))(value)  # type: ignore[arg-type]  # types are hashable; mypy finds the hash of their values


@cache
def _form_of(kind: type) -> Callable[[Any], object]:  # Any: a value of this type
    """The function that makes such values plain: there are few types, and very many values."""
    return next((form for base, form in _FORMS if issubclass(kind, base)), repr)


def _as_it_is(value: object) -> object:
    return value


def _of_fields(value: Exemplar | Buckets) -> object:
    return tuple([(name, plain(item)) for name, item in vars(value).items()])


_FORMS: Final[tuple[tuple[type, Callable[[Any], object]], ...]] = (  # Any: as above
    *((kind, _as_it_is) for kind in (bool, NoneType, str, bytes)),
    (int, lambda value: ("int", value)),
    (float, lambda value: ("float", "NaN" if math.isnan(value) else repr(value))),
    (Mapping, lambda value: tuple(sorted([(str(key), plain(item)) for key, item in value.items()]))),
    (Exemplar, _of_fields),
    (Buckets, _of_fields),
    (Sequence, lambda value: tuple([plain(item) for item in value])),
)


@cache
def _incompressible(characters: int) -> str:
    """A text of which compression leaves most."""
    return "".join(random.Random(characters).choices(ascii_letters + digits, k=characters))  # noqa: S311 - no secret


def _one_scope(metrics: list[Metric]) -> MetricsData:
    scope = InstrumentationScope("conformance", "1.0", "", {"scope.attribute": "kept"})
    resource = Resource({"service.name": "conformance", "resource.number": 3})
    return MetricsData([ResourceMetrics(resource, [ScopeMetrics(scope, metrics, "")], "")])


def _placed(places: set[int], make: Callable[[], _Made]) -> _Made:
    """Make an object until one has a place in memory that another one had."""
    others: list[object] = []
    while id(made := make()) not in places and len(others) < _TRIES:
        others.append(made)
    places.add(id(made))
    return made


class Tokens:
    """Makes batches; every point of every batch has another identity.

    Args:
        prefix: the beginning of the identities.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._numbers = count(1)

    def has_made(self, token: str) -> bool:
        """True if a batch of its own has a point with this identity."""
        prefix, _, number = token.rpartition("-")
        return prefix == self._prefix and number.isdecimal()

    def batch(self, points: int = 3) -> TokenBatch:
        """A plain batch: a gauge with so many points."""
        data = [NumberDataPoint(self._attributes(), _START, _NOW, float(index)) for index in range(points)]
        return self.of([Metric("conformance.plain", "", "1", Gauge(data))])

    def equal(self, points: int = 5) -> TokenBatch:
        """A gauge with points of equal values, which differ in their attributes alone."""
        data = [NumberDataPoint(self._attributes(), _START, _NOW, 1.0) for _ in range(points)]
        return self.of([Metric("conformance.equal", "", "1", Gauge(data))])

    def large(self, points: int) -> TokenBatch:
        """A gauge with many points, of which the arrival alone is to be looked at."""
        tokens = [f"{self._prefix}-{number}" for number in islice(self._numbers, points)]
        data = [NumberDataPoint({TOKEN: one, "number": index}, _START, _NOW, index) for index, one in enumerate(tokens)]
        made = _one_scope([Metric("conformance.large", "", "1", Gauge(data))])
        return TokenBatch(made, tuple(Point(token, {}) for token in tokens))

    def heavy(self, points: int = 64, characters: int = 100_000) -> TokenBatch:
        """A gauge with few points and long texts: compressed, too, more than the buffers of a connection hold."""
        text = _incompressible(characters)
        data = [NumberDataPoint(self.identified(text=text), _START, _NOW, index) for index in range(points)]
        made = _one_scope([Metric("conformance.heavy", "", "1", Gauge(data))])
        return TokenBatch(made, tuple(Point(str(point.attributes[TOKEN]), {}) for point in data if point.attributes))

    def again(self, batch: TokenBatch) -> TokenBatch:
        """The same series with the same values, a second later."""
        data = copy.deepcopy(batch.metrics)
        for metric in metrics_in(data):
            for point in metric.data.data_points:
                object.__setattr__(point, "time_unix_nano", point.time_unix_nano + _SECOND)
        return TokenBatch(data, tuple(flatten(data)))

    def changed_in_place(self, batch: TokenBatch) -> TokenBatch:
        """The same objects, with another identity and another text in the attributes of each point."""
        for metric in metrics_in(batch.metrics):
            for point in metric.data.data_points:
                attributes: Any = point.attributes  # made here, of dictionaries
                attributes.update(self.identified(text="changed"))
        return TokenBatch(batch.metrics, tuple(flatten(batch.metrics)))

    def unfit(self) -> TokenBatch:
        """A plain point, one of a number that few formats have room for, and two of texts that are not Unicode."""
        data = [
            NumberDataPoint(self.identified(), _START, _NOW, 1),
            NumberDataPoint(self.identified(), _START, _NOW, _BEYOND),
            NumberDataPoint(self.identified(number=_BEYOND), _START, _NOW, 1),
            NumberDataPoint(self.identified(text="half\ud800"), _START, _NOW, 1),
        ]
        return self.of([Metric("conformance.unfit", "", "1", Gauge(data))])

    def empty(self) -> TokenBatch:
        """A batch without anything."""
        return TokenBatch(MetricsData([]), ())

    def hollow(self) -> TokenBatch:
        """A resource without scopes, a scope without metrics, and metrics without points."""
        kinds: list[Any] = [Gauge([]), Sum([], _CUMULATIVE, True)]
        kinds += [Histogram([], _CUMULATIVE), ExponentialHistogram([], _CUMULATIVE)]
        metrics = [Metric(f"conformance.hollow.{number}", "", "1", data) for number, data in enumerate(kinds)]
        made = _one_scope(metrics)
        made.resource_metrics[0].scope_metrics.append(ScopeMetrics(InstrumentationScope("conformance.hollow"), [], ""))  # type: ignore[attr-defined]  # made of lists
        made.resource_metrics.append(ResourceMetrics(Resource({"service.name": "conformance.hollow"}), [], ""))  # type: ignore[attr-defined]  # as above
        return TokenBatch(made, ())

    def apart(self, number: int, places: set[int]) -> TokenBatch:
        """One point under a resource and a scope of this number, in places in memory that others had before if it can.

        Args:
            number: which.
            places: those that were used before; those of this batch are added.
        """
        point = NumberDataPoint(self.identified(), _START, _NOW, number)
        metric = Metric(f"conformance.apart.{number}", "", "1", Gauge([point]))
        scope = _placed(places, lambda: InstrumentationScope("conformance", f"1.{number}"))
        resource = _placed(places, lambda: Resource({"number": number}))
        of_resource = [ResourceMetrics(resource, [ScopeMetrics(scope, [metric], "")], "")]
        data = _placed(places, lambda: MetricsData(of_resource))
        return TokenBatch(data, tuple(flatten(data)))

    def uniform(self, points: int) -> TokenBatch:
        """A sum with so many points, with everything that is around points, and then points of every kind."""
        data = [NumberDataPoint(self.identified(), _START, _NOW, index) for index in range(points)]
        made = _one_scope([Metric("conformance.uniform", "with a description", "By", Sum(data, _DELTA, True))])
        made = MetricsData([*made.resource_metrics, *every_kind(self._attributes).resource_metrics])
        return TokenBatch(made, tuple(flatten(made)))

    def rich(self) -> TokenBatch:
        """Every kind of point, with the values at the edges of what each can hold."""
        data = every_kind(self._attributes)
        return TokenBatch(data, tuple(flatten(data)))

    def beyond(self, *, nested: bool) -> TokenBatch:
        """Points with what OTLP carries, and few other formats do; ``nested`` for attributes beyond the API's."""
        data = beyond(self.identified, nested=nested)
        return TokenBatch(data, tuple(flatten(data)))

    def alike(self) -> tuple[TokenBatch, TokenBatch]:
        """Two batches of points that all have one identity, and differ in one thing each; see :func:`unlike`."""
        identity = self.identified()
        first, second = alike(identity, ALIKE, (1, "1")), alike(identity, ALIKE[::-1], (True, "1.0"))
        return TokenBatch(first, tuple(flatten(first))), TokenBatch(second, tuple(flatten(second)))

    def wide(self, number: int) -> TokenBatch:
        """So many metrics in one scope, scopes in one resource, and resources, with a point in each."""

        def metric(name: str) -> Metric:
            return Metric(name, "", "1", Gauge([NumberDataPoint(self.identified(), _START, _NOW, 1)]))

        def scope(name: str, metrics: int) -> ScopeMetrics:
            made = [metric(f"conformance.wide.{one}") for one in range(metrics)]
            return ScopeMetrics(InstrumentationScope(name), made, "")

        scopes = [scope("conformance", number), *(scope(f"conformance.{one}", 1) for one in range(number))]
        resources = [Resource({"service.name": f"conformance.{one}"}) for one in range(number)]
        data = MetricsData(
            [
                ResourceMetrics(Resource({"service.name": "conformance"}), scopes, ""),
                *(ResourceMetrics(one, [scope("conformance", 1)], "") for one in resources),
            ]
        )
        return TokenBatch(data, tuple(flatten(data)))

    def of(self, metrics: list[Metric]) -> TokenBatch:
        """A batch of these metrics, whose points have identities already."""
        data = _one_scope(metrics)
        return TokenBatch(data, tuple(flatten(data)))

    def identified(self, **more: object) -> dict[str, Any]:
        """Attributes with an identity of their own."""
        return {TOKEN: f"{self._prefix}-{next(self._numbers)}", **more}

    def _attributes(self, **more: object) -> dict[str, Any]:
        return self.identified(**{"text": "naïve ⚙ ☃", **more})
