"""Metrics data as families of series: labels, what is kept from one translation to the next, and what has no form."""

import pytest
from exporter_core_prometheus.translation import (
    Kind,
    LabelMaker,
    Namer,
    TranslationError,
    TranslationOptions,
    Translator,
    cumulative_counts,
    native_histogram,
)
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogramDataPoint,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from exporter_core.otlp import mark_trusted

PUSHED = TranslationOptions(job_and_instance=True)
SCRAPED = TranslationOptions()


@pytest.fixture(params=["default", "from the reader"])
def translate(request):
    """Translates batches one after the other, those of the reader by the identity of their attributes."""
    translator = Translator(PUSHED)

    def run(metrics):
        return translator.translate(mark_trusted(metrics) if request.param == "from the reader" else metrics)

    return run


def names(translation):
    return [(family.name, family.kind) for family in translation.families]


def labels(translation, name):
    return [
        dict(series.labels)
        for family in translation.families
        if family.name == name
        for group in family.groups
        for series in group.series
    ]


def histogram(data, name, unit=""):
    point = HistogramDataPoint({}, data.at(-9), data.at(0), 1, 1.0, [1, 0], [1.0], 1, 1)
    return Metric(name, "", unit, Histogram([point], data.cumulative))


def test_sums_are_counters_if_they_are_monotonic_and_gauges_if_not(translate, data):
    up_down = Metric("open", "", "1", Sum([data.number(1, 0)], data.cumulative, False))
    translation = translate(data.of(data.counter("done", 1, 0), up_down, data.gauge("used", 1, 0, "1")))
    assert names(translation) == [("done_total", Kind.COUNTER), ("open", Kind.GAUGE), ("used_ratio", Kind.GAUGE)]
    assert not translation.problems


def test_job_and_instance_are_on_each_series_and_the_rest_of_the_resource_at_target_info(translate, data):
    resource = {"service.namespace": "shop", "host.name": "web-1", "empty": ""}
    translation = translate(data.of(data.gauge("g", 1, 0, color="red"), resource=resource))
    job = {"job": f"shop/{data.service}", "instance": "one"}
    scope = {"otel_scope_name": "tests", "otel_scope_version": "1.0"}
    assert labels(translation, "g") == [job | scope | {"color": "red"}]
    assert labels(translation, "target_info") == [job | {"host_name": "web-1"}]
    assert translation.families[-1].kind is Kind.INFO
    assert translation.families[-1].groups[0].points[0].value == 1


def test_target_info_is_at_the_newest_timestamp_of_the_resource(translate, data):
    resource = {"host.name": "h"}
    translation = translate(data.of(data.gauge("a", 1, 5), data.gauge("b", 1, -5), resource=resource))
    assert translation.families[-1].groups[0].points[0].time_unix_nano == data.at(5)


@pytest.mark.parametrize(
    ("attributes", "options"),
    [({}, PUSHED), ({"host.name": "h"}, TranslationOptions(job_and_instance=True, target_info_enabled=False))],
)
def test_there_is_no_target_info_without_further_attributes_or_where_it_is_not_wanted(data, attributes, options):
    metrics = data.of(data.gauge("g", 1, 0), resource=attributes)
    assert [name for name, _ in names(Translator(options).translate(metrics))] == ["g"]


def test_who_is_scraped_has_the_service_at_target_info_and_no_job(data):
    translation = Translator(SCRAPED).translate(data.of(data.gauge("g", 1, 0)))
    assert labels(translation, "g") == [{"otel_scope_name": "tests", "otel_scope_version": "1.0"}]
    assert labels(translation, "target_info") == [{"service_name": data.service, "service_instance_id": "one"}]


def test_constant_labels_are_those_attributes_of_the_resource_that_are_asked_for(data):
    options = TranslationOptions(job_and_instance=True, is_constant_label=lambda key: key.startswith("k8s."))
    metrics = data.of(data.gauge("g", 1, 0), resource={"k8s.pod": "p", "host.name": "h"})
    (found,) = labels(Translator(options).translate(metrics), "g")
    assert (found["k8s_pod"], "host_name" in found) == ("p", False)


def test_scopes_are_labels_with_their_attributes_unless_that_is_turned_off(data):
    scope = InstrumentationScope("lib", "2", "https://schema", {"short.name": "x", "version": "ignored"})
    metrics = data.of(data.gauge("g", 1, 0), scope=scope)
    (found,) = labels(Translator(PUSHED).translate(metrics), "g")
    assert {key: value for key, value in found.items() if key.startswith("otel")} == {
        "otel_scope_name": "lib",
        "otel_scope_version": "2",
        "otel_scope_schema_url": "https://schema",
        "otel_scope_short_name": "x",
    }
    options = TranslationOptions(job_and_instance=True, scope_info_enabled=False)
    assert labels(Translator(options).translate(metrics), "g") == [{"job": data.service, "instance": "one"}]


def test_attributes_whose_names_become_one_label_are_joined_in_the_order_of_their_names():
    made = LabelMaker(Namer("underscore_escaping_with_suffixes")).labels({"a_b": "3", "a.b": "1", "a-b": "0"}, {})
    assert made == (("a_b", "0;1;3"),)


def test_attributes_named_like_labels_of_the_series_are_kept_under_another_name():
    made = LabelMaker(Namer("underscore_escaping_with_suffixes")).labels({"job": "x", "__name__": "y"}, {"job": "j"})
    assert made == (("exported___name__", "y"), ("exported_job", "x"), ("job", "j"))


def test_equal_values_of_other_types_are_other_labels():
    make = LabelMaker(Namer("underscore_escaping_with_suffixes")).labels
    assert [make({"v": value}, {}) for value in (1, True, 1.5, "1")] == [
        (("v", "1"),),
        (("v", "true"),),
        (("v", "1.5"),),
        (("v", "1"),),
    ]


def test_a_label_without_a_value_is_none(translate, data):
    (found,) = labels(translate(data.of(data.gauge("g", 1, 0, empty="", none=None))), "g")
    assert found.keys() == {"job", "instance", "otel_scope_name", "otel_scope_version"}


# --- from one translation to the next -------------------------------------------------------------------------------


def sets(translation):
    return [group.set for family in translation.families for group in family.groups]


def test_series_that_stay_are_the_same_objects(data):
    translator = Translator(PUSHED)
    attributes = {"n": 1}
    batches = [Metric("m", "", "", Sum([data.number(1, at, {})], data.cumulative, True)) for at in (-2, -1)]
    for metric in batches:
        metric.data.data_points[0] = data.number(1, 0)
        object.__setattr__(metric.data.data_points[0], "attributes", attributes)
    first, second = (translator.translate(mark_trusted(data.of(metric))) for metric in batches)
    assert sets(first)[0] is sets(second)[0]
    assert not second.gone


def test_series_with_new_but_equal_attributes_stay_too(translate, data):
    first = translate(data.of(data.gauge("g", 1, -1, color="red")))
    second = translate(data.of(data.gauge("g", 2, 0, color="red")))
    assert sets(first)[0].series[0] is sets(second)[0].series[0]
    assert not second.gone


def test_attributes_that_are_changed_in_place_make_another_series(data):
    translator = Translator(PUSHED)
    metrics = data.of(data.gauge("g", 1, -1, color="red"))
    translator.translate(metrics)
    metrics.resource_metrics[0].scope_metrics[0].metrics[0].data.data_points[0].attributes["color"] = "blue"
    translation = translator.translate(metrics)
    assert labels(translation, "g")[0]["color"] == "blue"
    assert [dict(series.labels)["color"] for gone in translation.gone for series in gone.series] == ["red"]


def test_lists_that_are_changed_in_place_make_another_series(data):
    translator = Translator(PUSHED)
    colors = ["red"]
    metrics = data.of(data.gauge("g", 1, -1, colors=colors))
    translator.translate(metrics)
    colors.append("blue")
    assert labels(translator.translate(metrics), "g")[0]["colors"] == '["red","blue"]'


def test_series_and_metrics_that_are_not_there_any_more_are_gone(translate, data):
    both = data.gauge("g", 1, -1, n=1)
    both.data.data_points.append(data.number(1, -1, {"n": 2}))
    translate(data.of(both, data.counter("c", 1, -1), resource={"host.name": "h"}))
    translation = translate(data.of(data.gauge("g", 1, 0, n=2), resource={"host.name": "other"}))
    gone = {
        (gone.name, dict(series.labels).get("n"), dict(series.labels).get("host_name"))
        for gone in translation.gone
        for series in gone.series
    }
    assert gone == {("g", "1", None), ("c_total", None, None), ("target_info", None, "h")}
    assert not translate(data.of(data.gauge("g", 1, 1, n=2), resource={"host.name": "other"})).gone


def test_forgetting_returns_all_series_and_begins_anew(data):
    translator = Translator(PUSHED)
    metrics = data.of(data.gauge("g", 1, 0), data.counter("c", 1, 0), resource={"host.name": "h"})
    translator.translate(metrics)
    assert sorted(gone.name for gone in translator.forget()) == ["c_total", "g", "target_info"]
    assert not translator.forget()
    assert not translator.translate(metrics).gone


def test_another_description_is_shown_and_ends_no_series(translate, data):
    def described(text):
        metric = data.gauge("g", 1, 0)
        return Metric(metric.name, text, metric.unit, metric.data)

    translate(data.of(described("old")))
    translation = translate(data.of(described("new")))
    assert (translation.families[0].help, translation.gone) == ("new", [])


# --- what has no form -----------------------------------------------------------------------------------------------


def test_metrics_of_one_name_and_another_kind_or_unit_are_one_error_and_the_rest_is_there(translate, data):
    translation = translate(
        data.of(
            data.gauge("a.b", 1, 0),
            data.gauge("a_b", 1, 0, n=1),
            histogram(data, "a_b"),
            data.counter("done", 1, 0),
            data.gauge("done_total", 1, 0),
            data.gauge("fine", 1, 0),
        )
    )
    assert [name for name, _ in names(translation)] == ["a_b", "done_total", "fine"]
    assert len(labels(translation, "a_b")) == 2
    assert [(problem.metric, problem.points) for problem in translation.problems] == [("a_b", 1), ("done_total", 1)]
    assert translation.problems[0].reason == (
        "its name in Prometheus, a_b (histogram), collides with a_b (gauge): "
        "rename one of the instruments, by a view for instance"
    )


def test_units_that_no_suffix_tells_apart_collide(data):
    options = TranslationOptions(strategy="underscore_escaping_without_suffixes/development", job_and_instance=True)
    translation = Translator(options).translate(data.of(data.gauge("g", 1, 0, "s"), data.gauge("g", 1, 0, "ms")))
    assert [problem.reason.partition(":")[0] for problem in translation.problems] == [
        "its name in Prometheus, g (gauge, milliseconds), collides with g (gauge, seconds)"
    ]


@pytest.mark.parametrize("first", ["histogram", "counter"])
def test_a_name_that_a_histogram_has_for_its_samples_collides(translate, data, first):
    metrics = [histogram(data, "h"), data.gauge("h.count", 1, 0)]
    translation = translate(data.of(*(metrics if first == "histogram" else metrics[::-1])))
    assert len(translation.families) == 1
    assert "collides with h" in translation.problems[0].reason


def test_series_of_the_same_labels_are_an_error_and_the_first_is_there(translate, data):
    twice = data.gauge("g", 1, 0, n=1)
    twice.data.data_points.append(data.number(2, 0, {"n": "1"}))
    for _ in range(2):
        translation = translate(data.of(twice))
        assert [group.points[0].value for family in translation.families for group in family.groups] == [1]
        assert [(problem.metric, problem.points) for problem in translation.problems] == [("g", 1)]


def test_scopes_that_no_label_tells_apart_collide_in_their_common_series_only(data):
    options = TranslationOptions(scope_info_enabled=False, job_and_instance=True)
    one, other = data.gauge("g", 1, 0, n=1), data.gauge("g", 2, 0, n=1)
    other.data.data_points.append(data.number(3, 0, {"n": 2}))
    scopes = [ScopeMetrics(InstrumentationScope(name), [metric], "") for name, metric in (("a", one), ("b", other))]
    metrics = MetricsData([ResourceMetrics(Resource({"service.name": "s"}), scopes, "")])
    translation = Translator(options).translate(metrics)
    (family,) = translation.families
    assert [point.value for group in family.groups for point in group.points] == [1, 3]
    assert [(problem.metric, problem.points) for problem in translation.problems] == [("g", 1)]


def test_delta_points_are_an_error_that_names_the_metric(translate, data):
    delta = Metric("d", "", "", Sum([data.number(1, 0)], AggregationTemporality.DELTA, True))
    translation = translate(data.of(delta, data.gauge("g", 1, 0)))
    assert [name for name, _ in names(translation)] == ["g"]
    (problem,) = translation.problems
    assert (problem.metric, problem.reason) == (
        "d",
        "its temporality is delta; Prometheus takes cumulative points only",
    )


# --- histograms -----------------------------------------------------------------------------------------------------


def exponential(scale, positive=(0, []), negative=(0, []), zero=0, total=1.0, flags=0):
    count = zero + sum(positive[1]) + sum(negative[1])
    return ExponentialHistogramDataPoint(
        {}, 0, 0, count, total, scale, zero, Buckets(*positive), Buckets(*negative), flags, 0, 0
    )


def test_counts_of_buckets_are_cumulative_and_end_in_the_count():
    point = HistogramDataPoint({}, 0, 0, 6, 1.0, [1, 2, 3], [0.0, 1.0], 0, 1)
    assert cumulative_counts(point) == [1, 3, 6]
    assert cumulative_counts(HistogramDataPoint({}, 0, 0, 3, 1.0, [3], [], 0, 1)) == [3]
    assert cumulative_counts(HistogramDataPoint({}, 0, 0, 3, 1.0, [1, 2, 0], [0.0, float("inf")], 0, 1)) == [1, 3]


def test_buckets_of_native_histograms_are_spans_and_deltas_numbered_by_their_upper_bounds():
    native = native_histogram(exponential(2, (-2, [1, 3, 0, 0, 2]), (4, [5]), zero=7, total=2.5))
    assert (native.schema, native.count, native.sum, native.zero_count) == (2, 18, 2.5, 7)
    assert (native.positive_spans, native.positive_deltas) == ([(-1, 2), (2, 1)], [1, 2, -1])
    assert (native.negative_spans, native.negative_deltas) == ([(5, 1)], [5])
    assert native.zero_threshold == 1e-128


@pytest.mark.parametrize(("scale", "spans", "deltas"), [(9, [(1, 2)], [3, 4]), (10, [(1, 1)], [10])])
def test_finer_scales_are_merged_to_the_finest_of_prometheus(scale, spans, deltas):
    native = native_histogram(exponential(scale, (0, [1, 2, 3, 4])))
    assert (native.schema, native.positive_spans, native.positive_deltas) == (8, spans, deltas)


def test_buckets_below_zero_are_merged_downwards():
    native = native_histogram(exponential(9, (-3, [1, 2, 4])))
    assert (native.positive_spans, native.positive_deltas) == ([(-1, 2)], [1, 5])


def test_scales_that_are_too_coarse_have_no_form():
    with pytest.raises(TranslationError, match="its scale is -5; native histograms have at least -4"):
        native_histogram(exponential(-5, (0, [1])))


def test_the_labels_of_an_exemplar_are_its_trace_and_attributes_unless_those_are_too_long():
    maker = LabelMaker(Namer("underscore_escaping_with_suffixes"))
    ids = (("span_id", f"{1:016x}"), ("trace_id", f"{2:032x}"))
    assert maker.exemplar(Exemplar({"a.b": 1}, 1, 0, span_id=1, trace_id=2)) == (("a_b", "1"), *ids)
    assert maker.exemplar(Exemplar({"long": "x" * 100}, 1, 0, span_id=1, trace_id=2)) == ids
    assert maker.exemplar(Exemplar({"k": "v"}, 1, 0)) == (("k", "v"),)
