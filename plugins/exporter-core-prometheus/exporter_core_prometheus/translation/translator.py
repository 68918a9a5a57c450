"""Metrics data to families of series, again and again; what has not changed is recognised and reused."""

from __future__ import annotations

from dataclasses import dataclass
from operator import is_
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogram,
    Gauge,
    Histogram,
    NumberDataPoint,
    Sum,
)

from exporter_core.otlp import is_trusted
from exporter_core_prometheus.translation.labels import LabelMaker, resource_labels, text_of, valid_text, without
from exporter_core_prometheus.translation.model import (
    HISTOGRAMS,
    Family,
    GoneSeries,
    Group,
    Kind,
    Labels,
    Problem,
    Series,
    SeriesSet,
    Translation,
    TranslationError,
)
from exporter_core_prometheus.translation.names import Namer, Strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.metrics.export import Metric, MetricsData
    from opentelemetry.sdk.resources import Resource

_OF_THE_SERVICE: Final = frozenset({"service.name", "service.namespace", "service.instance.id"})
_SAMPLES_OF_A_HISTOGRAM: Final = ("_bucket", "_count", "_sum")
_TARGET: Final = "target_info"


def _none(key: str) -> bool:  # noqa: ARG001 - the signature of a filter
    return False


@dataclass(frozen=True, slots=True)
class TranslationOptions:
    """The choices that a translation leaves.

    Attributes:
        strategy: the names: escaped or not, with or without suffixes.
        scope_info_enabled: put name, version, URL and attributes of the scope on each series.
        target_info_enabled: describe the resource by the series `target_info`.
        is_constant_label: True for the keys of the resource's attributes that become labels of each series.
        job_and_instance: put the labels `job` and `instance` on each series, as who pushes has to. Who is scraped
            leaves that to the scraper, and has the attributes of the service at `target_info` instead.
    """

    strategy: Strategy = "underscore_escaping_with_suffixes"
    scope_info_enabled: bool = True
    target_info_enabled: bool = True
    is_constant_label: Callable[[str], bool] = _none
    job_and_instance: bool = False


@dataclass(slots=True)
class _Entry:
    """One OpenTelemetry metric, as it was translated last."""

    metric: str
    name: str
    kind: Kind
    unit: str
    help: str
    base: Mapping[str, str]
    error: str = ""
    set: SeriesSet | None = None
    seen: int = 0


class Translator:
    """Translates metrics data. For one thread at a time.

    Args:
        options: the choices.
    """

    def __init__(self, options: TranslationOptions) -> None:
        self.options: TranslationOptions = options
        self.namer: Namer = Namer(options.strategy)
        self.label_maker: LabelMaker = LabelMaker(self.namer)
        self._entries: dict[tuple[object, ...], _Entry] = {}
        self._targets: dict[Labels, Series] = {}
        self._target_set = SeriesSet([], [])
        self._run = 0

    def translate(self, metrics: MetricsData) -> Translation:
        """Translate metrics data; what has no form in Prometheus is a problem, and the rest is there.

        The data is not changed, and its points are those of the result.
        """
        self._run += 1
        run = _Run(self, self._run, trusted=is_trusted(metrics))
        for resource_metrics in metrics.resource_metrics:
            resource = resource_metrics.resource
            base = self._resource_base(resource)
            for scope_metrics in resource_metrics.scope_metrics:
                scope_base = self._scope_base(scope_metrics.scope, base)
                key = tuple(scope_base.items())
                for metric in scope_metrics.metrics:
                    run.metric(metric, key, scope_base)
            if self.options.target_info_enabled:
                run.target(resource)
        run.finish()
        return run.translation

    def forget(self) -> list[GoneSeries]:
        """Return all series of the last translation as gone, and begin anew."""
        gone = [GoneSeries(e.name, e.kind, e.set.series) for e in self._entries.values() if e.set and e.set.series]
        gone += [GoneSeries(_TARGET, Kind.INFO, [series]) for series in self._targets.values()]
        self._entries = {}
        self._targets = {}
        return gone

    def _resource_base(self, resource: Resource) -> dict[str, str]:
        """Return the labels of all series of a resource."""
        attributes = resource.attributes
        is_constant = self.options.is_constant_label
        base = dict(self.label_maker.labels({key: value for key, value in attributes.items() if is_constant(key)}, {}))
        return base | resource_labels(attributes) if self.options.job_and_instance else base

    def _scope_base(self, scope: Any, base: dict[str, str]) -> dict[str, str]:  # None, too, in hand-made data
        """Return the labels of all series of a scope."""
        if scope is None or not self.options.scope_info_enabled:
            return base
        own = {"name": scope.name, "version": scope.version, "schema_url": scope.schema_url}
        further = without(scope.attributes or {}, own)
        named = {f"otel_scope_{key}": value for key, value in further.items()}
        labels = dict(self.label_maker.labels(named, {}))
        return base | labels | {f"otel_scope_{key}": text_of(value) for key, value in own.items() if value}


class _Run:
    """One translation while it is made."""

    def __init__(self, translator: Translator, number: int, *, trusted: bool) -> None:
        self.translation = Translation()
        self._translator = translator
        self._number = number
        self._trusted = trusted
        self._families: dict[str, Family] = {}
        self._samples: dict[str, Family] = {}  # of the names that histograms have beside their own
        self._newest = 0
        self._targets: dict[Labels, Series] = {}

    def metric(self, metric: Metric, scope: object, base: Mapping[str, str]) -> None:
        """Translate one metric."""
        data = metric.data
        points: Sequence[Any] = data.data_points  # of the kind's own type
        if not points:
            return
        entry = self._entry(metric, scope, base)
        family = self._families.get(entry.name) or self._begin_family(entry)
        error = entry.error
        if not error and not isinstance(data, Gauge) and data.aggregation_temporality is not _CUMULATIVE:
            error = _DELTA
        if not error and (family is None or family.kind is not entry.kind or family.unit != entry.unit):
            error = self._collision(entry)
        if error or family is None:
            self.translation.problems.append(Problem(metric.name, len(points), error))
            return
        members = entry.set
        if members is None or not self._same(members, points):
            members = self._members(entry, points)
        if members.places is not None:
            self.translation.problems.append(Problem(metric.name, len(points) - len(members.places), _DUPLICATE))
            points = [points[place] for place in members.places]
        family.groups.append(Group(members, points))
        self._newest = max(self._newest, points[0].time_unix_nano)

    def target(self, resource: Resource) -> None:
        """Add the series that describes the resource."""
        options = self._translator.options
        attributes = resource.attributes
        base: dict[str, str] = {}
        if options.job_and_instance:
            base = resource_labels(attributes)
            attributes = without(attributes, _OF_THE_SERVICE)
        if not attributes or (options.job_and_instance and not base):
            return
        labels = self._translator.label_maker.labels(attributes, base)
        if labels not in self._targets:
            self._targets[labels] = self._translator._targets.get(labels) or Series(labels, {})

    def finish(self) -> None:
        """Add `target_info`, and list what has disappeared."""
        translator, translation = self._translator, self.translation
        for family in self._families.values():
            if len(family.groups) > 1:
                self._drop_duplicates(family)
        translation.families += [family for family in self._families.values() if family.groups]
        gone = [key for key, entry in translator._entries.items() if entry.seen != self._number]
        for key in gone:
            entry = translator._entries.pop(key)
            if entry.set is not None and entry.set.series:
                translation.gone.append(GoneSeries(entry.name, entry.kind, entry.set.series))
        ended = [series for labels, series in translator._targets.items() if labels not in self._targets]
        if ended:
            translation.gone.append(GoneSeries(_TARGET, Kind.INFO, ended))
        translator._targets = self._targets if self._newest else {}
        if self._targets and self._newest and _TARGET not in self._families:
            series = list(self._targets.values())
            point = NumberDataPoint({}, None, self._newest, 1)  # type: ignore[arg-type] # the SDK's own gauges have no start
            if series != translator._target_set.series:
                translator._target_set = SeriesSet(series, [])
            group = Group(translator._target_set, [point] * len(series))
            translation.families.append(Family(_TARGET, Kind.INFO, "", "Target metadata", [group]))

    def _entry(self, metric: Metric, scope: object, base: Mapping[str, str]) -> _Entry:
        """Return how a metric is translated, as the last translation left it if it was there."""
        entries, kind = self._translator._entries, _kind(metric.data)
        key: tuple[object, ...] = (scope, metric.name, metric.unit, kind, type(metric.data))
        entry = entries.get(key)
        while entry is not None and entry.seen == self._number:  # two of one name, as views can make them
            key = (*key, None)
            entry = entries.get(key)
        text = metric.description or ""
        if entry is None or (entry.help is not text and entry.help != valid_text(text)):
            entry = entries[key] = self._made_entry(metric, kind, base, entry)
        entry.seen = self._number
        return entry

    def _made_entry(self, metric: Metric, kind: Kind | None, base: Mapping[str, str], old: _Entry | None) -> _Entry:
        """Return how a metric is translated; with its series, if only its description is another one."""
        namer = self._translator.namer
        unit, text = valid_text(metric.unit or ""), valid_text(metric.description or "")
        if kind is None:
            error = f"data of type {type(metric.data).__name__} has no form in Prometheus"
            return _Entry(metric.name, "", Kind.GAUGE, "", text, base, error)
        if unit == "1" and isinstance(metric.data, Sum):
            unit = ""  # what is counted is no ratio
        try:
            name = namer.metric(valid_text(metric.name), unit, kind)
        except TranslationError as failure:
            return _Entry(metric.name, "", kind, "", text, base, str(failure))
        entry = _Entry(metric.name, name, kind, namer.unit(unit), text, base)
        if old is not None and old.set is not None:
            entry.set = SeriesSet(old.set.series, old.set.attributes)
            entry.set.places = old.set.places
        return entry

    def _begin_family(self, entry: _Entry) -> Family | None:
        """Return the family of an entry; None if a sample of another one has its name."""
        name, families, samples = entry.name, self._families, self._samples
        if entry.error or name in samples:
            return None
        # A server that is pushed to gives no name to the samples of a native histogram; the text formats do.
        is_pushed = self._translator.options.job_and_instance
        has_samples = entry.kind is Kind.HISTOGRAM or (entry.kind is Kind.NATIVE_HISTOGRAM and not is_pushed)
        suffixes = _SAMPLES_OF_A_HISTOGRAM if has_samples else ()
        own = [name + suffix for suffix in suffixes]
        if not families.keys().isdisjoint(own):
            return None
        family = families[name] = Family(name, entry.kind, entry.unit, entry.help)
        samples.update(dict.fromkeys(own, family))
        return family

    def _collision(self, entry: _Entry) -> str:
        other = self._families.get(entry.name) or self._samples.get(entry.name)
        if other is None:
            others = (self._families.get(entry.name + suffix) for suffix in _SAMPLES_OF_A_HISTOGRAM)
            other = next(one for one in others if one is not None)
        return (
            f"its name in Prometheus, {entry.name} ({_said(entry.kind, entry.unit)}), collides with "
            f"{other.name} ({_said(other.kind, other.unit)}): rename one of the instruments, by a view for instance"
        )

    def _same(self, members: SeriesSet, points: Sequence[Any]) -> bool:
        """Return True if these are points of these series, in this order."""
        attributes = members.attributes
        if len(attributes) != len(points) or not all(map(is_, [point.attributes for point in points], attributes)):
            return False
        return self._trusted or (members.places is None and all(map(_holds, members.series)))

    def _members(self, entry: _Entry, points: Sequence[Any]) -> SeriesSet:
        """Return the series of the points, those of the last translation among them, and note which are gone."""
        trusted = self._trusted
        old = entry.set.series if entry.set is not None else []
        by_attributes = {id(series.attributes): series for series in old}
        by_labels: dict[Labels, Series] | None = None
        found: dict[Labels, Series] = {}
        places: list[int] = []
        for place, point in enumerate(points):
            attributes = point.attributes
            series = by_attributes.get(id(attributes))
            if series is None or not (trusted or _holds(series)):
                by_labels = {series.labels: series for series in old} if by_labels is None else by_labels
                series = self._series(attributes, entry, by_labels)
            if series.labels in found:
                continue
            if not trusted and series.held is None and _IMMUTABLE.issuperset(map(type, (attributes or {}).values())):
                series.held = tuple(attributes or {}), tuple((attributes or {}).values())
            found[series.labels] = series
            places.append(place)
        ended = [series for series in old if series.labels not in found]
        if ended:
            self.translation.gone.append(GoneSeries(entry.name, entry.kind, ended))
        members = entry.set = SeriesSet(list(found.values()), [point.attributes for point in points])
        if len(places) < len(points):
            members.places = places
        return members

    def _series(self, attributes: Mapping[str, Any], entry: _Entry, old: dict[Labels, Series]) -> Series:
        """Return the series of such attributes, the one of the last translation if it has the same labels."""
        has_buckets = entry.kind in HISTOGRAMS
        labels = self._translator.label_maker.labels(attributes, entry.base, has_buckets=has_buckets)
        series = old.pop(labels, None)
        if series is None:
            return Series(labels, attributes)
        series.attributes, series.held = attributes, None
        return series

    def _drop_duplicates(self, family: Family) -> None:
        """Leave out series whose labels another metric of the same name has."""
        seen = {series.labels for series in family.groups[0].series}
        for place, group in enumerate(family.groups[1:], 1):
            labels = [series.labels for series in group.series]
            if not seen.isdisjoint(labels):
                kept = [at for at, own in enumerate(labels) if own not in seen]
                members = SeriesSet([group.series[at] for at in kept], [])
                family.groups[place] = Group(members, [group.points[at] for at in kept])
                lost = len(labels) - len(kept)
                self.translation.problems.append(Problem(family.name, lost, _DUPLICATE))
            seen.update(labels)
        family.groups = [group for group in family.groups if group.points]


_CUMULATIVE: Final = AggregationTemporality.CUMULATIVE
_DELTA: Final = "its temporality is delta; Prometheus takes cumulative points only"
_DUPLICATE: Final = "another series has the same labels in Prometheus"
_IMMUTABLE: Final = frozenset({str, int, float, bool, bytes, type(None)})
_NUMERIC: Final = {Gauge: Kind.GAUGE, Histogram: Kind.HISTOGRAM, ExponentialHistogram: Kind.NATIVE_HISTOGRAM}


def _kind(data: object) -> Kind | None:
    if isinstance(data, Sum):
        return Kind.COUNTER if data.is_monotonic else Kind.GAUGE
    return _NUMERIC.get(type(data))


def _holds(series: Series) -> bool:
    """Return True if the attributes of a series still are what its labels were made of."""
    held, attributes = series.held, series.attributes
    if held is None:
        return False
    keys, values = held
    attributes = attributes or {}
    return tuple(attributes) == keys and all(map(is_, attributes.values(), values))


def _said(kind: Kind, unit: str) -> str:
    return f"{kind.value.replace('_', ' ')}, {unit}" if unit else kind.value.replace("_", " ")
