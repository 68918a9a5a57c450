"""The scrape formats, read by parsers that are not ours: prometheus_client's, and protobuf's own."""

import math
import re
from functools import partial

import pytest
from exporter_core_prometheus.exposition import (
    Accepted,
    Format,
    accepted_by,
    content_type,
    encode_protobuf,
    encode_text,
    takes_gzip,
)
from exporter_core_prometheus.exposition.text import _canonical
from exporter_core_prometheus.translation import TranslationOptions, Translator
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import assume, given, settings, strategies as st
from opentelemetry.sdk.metrics import Exemplar
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Buckets,
    ExponentialHistogram,
    ExponentialHistogramDataPoint,
    Gauge,
    Histogram,
    HistogramDataPoint,
    Metric,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.utils import floatToGoString

CUMULATIVE = AggregationTemporality.CUMULATIVE
BOUNDS = (0.0, 0.5, 2.0)


def data_of(*metrics, scope=None, **resource):
    scopes = [ScopeMetrics(scope or InstrumentationScope("tests", "1.0"), list(metrics), "")]
    return MetricsData([ResourceMetrics(Resource(resource or {"service.name": "shop"}), scopes, "")])


def number(value, exemplars=(), **attributes):
    return NumberDataPoint(attributes, 1, 2_000_000_000, value, exemplars)


def counter(*points, name="orders", unit="", text="Orders."):
    return Metric(name, text, unit, Sum(list(points), CUMULATIVE, True))


def gauge(*points, name="temperature", unit="Cel", text=""):
    return Metric(name, text, unit, Gauge(list(points)))


def histogram(counts, total, exemplars=(), bounds=BOUNDS, **attributes):
    point = HistogramDataPoint(attributes, 1, 2, sum(counts), total, counts, bounds, 0, 1, exemplars)
    return Metric("latency", "Latency.", "s", Histogram([point], CUMULATIVE))


def exponential(counts, total, *, scale=3, zero=0, exemplars=(), **attributes):
    count = sum(counts) + zero
    positive, negative = Buckets(-2, counts), Buckets(0, [])
    point = ExponentialHistogramDataPoint(
        attributes, 1, 2, count, total, scale, zero, positive, negative, 0, 0.0, 1.0, exemplars
    )
    return Metric("sizes", "Sizes.", "By", ExponentialHistogram([point], CUMULATIVE))


def encoded(metrics, *, openmetrics=False, translator=None, **options):
    translator = translator or Translator(TranslationOptions(**options))
    return encode_text(translator.translate(metrics), translator.label_maker, openmetrics=openmetrics)[0].decode()


def samples_of(families):
    return {(one.name, tuple(sorted(one.labels.items()))): one.value for family in families for one in family.samples}


# --- text and OpenMetrics ---------------------------------------------------------------------------------------------


def test_a_small_service_as_text():
    metrics = data_of(
        counter(number(3, route="/")), gauge(number(21.5)), histogram([1, 2, 0, 4], 9.25), **{"service.name": "shop"}
    )
    scope = 'otel_scope_name="tests",otel_scope_version="1.0"'
    assert encoded(metrics) == (
        "# HELP orders_total Orders.\n"
        "# TYPE orders_total counter\n"
        f'orders_total{{{scope},route="/"}} 3\n'
        "# TYPE temperature_celsius gauge\n"
        f"temperature_celsius{{{scope}}} 21.5\n"
        "# HELP latency_seconds Latency.\n"
        "# TYPE latency_seconds histogram\n"
        f'latency_seconds_bucket{{{scope},le="0.0"}} 1\n'
        f'latency_seconds_bucket{{{scope},le="0.5"}} 3\n'
        f'latency_seconds_bucket{{{scope},le="2.0"}} 3\n'
        f'latency_seconds_bucket{{{scope},le="+Inf"}} 7\n'
        f"latency_seconds_sum{{{scope}}} 9.25\n"
        f"latency_seconds_count{{{scope}}} 7\n"
        "# HELP target_info Target metadata\n"
        "# TYPE target_info gauge\n"
        'target_info{service_name="shop"} 1\n'
    )


def test_openmetrics_has_types_units_and_an_end():
    metrics = data_of(counter(number(3)), gauge(number(21.5)), histogram([1, 2, 0, 4], 9.25))
    text = encoded(metrics, openmetrics=True)
    assert text.endswith("# EOF\n")
    found = {family.name: (family.type, family.unit) for family in parse_openmetrics(text)}
    assert found == {
        "orders": ("counter", ""),
        "temperature_celsius": ("gauge", "celsius"),
        "latency_seconds": ("histogram", "seconds"),
        "target": ("info", ""),
    }


@pytest.mark.parametrize("strategy", ["underscore_escaping_without_suffixes/development", "no_translation/development"])
def test_a_counter_without_its_suffix_keeps_its_name_in_openmetrics(strategy):
    text = encoded(data_of(counter(number(3))), openmetrics=True, strategy=strategy, scope_info_enabled=False)
    assert "# TYPE orders unknown\n" in text
    assert "\norders 3\n" in text


def test_a_counter_whose_openmetrics_name_is_that_of_a_gauge_keeps_its_own():
    metrics = data_of(counter(number(3), name="jobs"), gauge(number(1), name="jobs", unit=""))
    families = list(parse_openmetrics(encoded(metrics, openmetrics=True)))
    assert [(family.name, family.type) for family in families[:2]] == [("jobs_total", "unknown"), ("jobs", "gauge")]


NUMBERS = [0, 1, -1, 2**53, 10**400, -(10**400), 0.1, 1e-300, 1e300, math.inf, -math.inf, math.nan, True]


@pytest.mark.parametrize("value", NUMBERS, ids=lambda value: repr(value)[:12])
@pytest.mark.parametrize("openmetrics", [False, True])
def test_every_number_is_read_as_it_is(value, openmetrics):
    text = encoded(data_of(gauge(number(value), number(1.5, other="x"))), openmetrics=openmetrics)
    (family, *_) = (parse_openmetrics if openmetrics else parse_text)(text)
    found = family.samples[0].value
    try:
        expected = float(value)
    except OverflowError:
        expected = math.inf if value > 0 else -math.inf
    assert found == expected or (math.isnan(found) and math.isnan(expected))
    assert family.samples[1].value == 1.5
    for spelt in ("} nan", "} inf", "} -inf", "True"):
        assert spelt not in text


def test_a_sum_that_is_unset_is_left_out():
    text = encoded(data_of(histogram([1, 2, 0, 4], None)))
    assert "latency_seconds_count" in text
    assert "latency_seconds_sum" not in text


def test_an_exponential_histogram_has_its_count_and_sum_in_the_text_formats():
    for openmetrics, parse in ((False, parse_text), (True, parse_openmetrics)):
        metrics = data_of(exponential([1, 2], 5.5, zero=1))
        found = samples_of(parse(encoded(metrics, openmetrics=openmetrics, scope_info_enabled=False)))
        assert found["sizes_bytes_bucket", (("le", "+Inf"),)] == 4
        assert (found["sizes_bytes_sum", ()], found["sizes_bytes_count", ()]) == (5.5, 4)


def test_exemplars_stand_at_counters_and_at_the_buckets_of_their_values():
    spans = [Exemplar({}, value, 1_500_000_000 + at, 2, at) for at, value in enumerate([0.3, 0.4, 5.0], 1)]
    metrics = data_of(counter(number(3, [spans[0]])), histogram([0, 2, 0, 1], 5.7, spans))
    families = {family.name: family for family in parse_openmetrics(encoded(metrics, openmetrics=True))}
    (of_counter,) = families["orders"].samples
    assert of_counter.exemplar.labels == {"trace_id": f"{1:032x}", "span_id": f"{2:016x}"}
    assert (of_counter.exemplar.value, float(of_counter.exemplar.timestamp)) == (0.3, 1.5)
    values = [one.exemplar and one.exemplar.value for one in families["latency_seconds"].samples]
    assert values == [None, 0.4, None, 5.0, None, None]  # of two in a bucket the newest
    assert "trace_id" not in encoded(metrics)


words = st.text(max_size=12)
names = st.text('abcABC019_.:/-é {}="\\\n#', min_size=1, max_size=12)
attributes = st.dictionaries(names, st.one_of(words, st.integers(), st.booleans()), max_size=4)


@settings(max_examples=2 * settings.default.max_examples)
@given(names, words, st.sampled_from(["", "s", "By/s", "{x}", "1", "é"]), st.lists(attributes, max_size=3), st.data())
def test_whatever_names_and_labels_say_parsers_read_the_translation(name, text, unit, each, data):
    strategy = data.draw(
        st.sampled_from(["underscore_escaping_with_suffixes", "underscore_escaping_without_suffixes/development"])
    )
    translator = Translator(TranslationOptions(strategy=strategy))
    points = [NumberDataPoint(one, 1, 2, number) for number, one in enumerate(each)]
    metrics = data_of(counter(*points, name=name, unit=unit, text=text))
    translation = translator.translate(metrics)
    expected = {
        (family.name, series.labels): point.value
        for family in translation.families
        for group in family.groups
        for series, point in zip(group.series, group.points, strict=True)
    }
    for openmetrics, parse in ((False, parse_text), (True, parse_openmetrics)):
        text_form = encode_text(translation, translator.label_maker, openmetrics=openmetrics)[0].decode()
        families = list(parse(text_form))
        # prometheus_client gives every counter in the older format its suffix.
        suffixed = any(family.type == "counter" for family in families) and not openmetrics
        names_of = {name: f"{name.removesuffix('_total')}_total" for name, _ in expected if suffixed}
        names_of["target_info"] = "target_info"
        assert samples_of(families) == {
            (names_of.get(name, name), labels): value for (name, labels), value in expected.items()
        }
        documented = [family.documentation.strip() for family in families if family.type in ("counter", "unknown")]
        assert documented in ([], [text.strip()])  # the parser strips it


@given(names, st.lists(attributes, min_size=1, max_size=3))
def test_names_of_any_characters_are_quoted_where_nothing_is_escaped(name, each):
    assume(not any(key.startswith("__") for one in each for key in one))  # the parser takes no reserved names
    translator = Translator(TranslationOptions(strategy="no_translation/development", scope_info_enabled=False))
    points = [NumberDataPoint(one, 1, 2, number) for number, one in enumerate(each)]
    translation = translator.translate(data_of(gauge(*points, name=name, unit="")))
    expected = {
        (family.name, series.labels)
        for family in translation.families
        for group in family.groups
        for series in group.series
    }
    found = samples_of(parse_text(encode_text(translation, translator.label_maker, openmetrics=False)[0].decode()))
    assert set(found) == expected


@given(st.one_of(st.floats(allow_nan=False), st.integers(-30, 30).map(lambda power: 10.0**power)))
def test_bounds_are_written_as_openmetrics_wants_them(bound):
    text = _canonical(bound)
    assert float(text) == bound
    if bound > 0 and (bound >= 1e-4 or math.log10(bound).is_integer()):
        assert text == floatToGoString(bound)
    assert text in ("+Inf", "-Inf") or "." in text or "e" in text


changes = st.lists(
    st.lists(st.tuples(st.integers(0, 4), st.one_of(st.integers(0, 3), st.just(0.5), st.just(math.nan))), max_size=4),
    min_size=1,
    max_size=5,
)


@given(changes)
def test_a_scrape_says_the_same_whatever_was_kept_from_those_before(changes):
    kept = Translator(TranslationOptions())
    for scrape in changes:
        points = [NumberDataPoint({"series": at}, 1, 2, value) for at, value in dict(scrape).items()]
        counts = [[at, int(value) if value == value else 7, 1, 0] for at, value in scrape]  # noqa: PLR0124 - NaN
        buckets = [
            HistogramDataPoint({"series": at}, 1, 2, sum(one), float(one[1]), one, BOUNDS, 0, 1)
            for at, one in enumerate(counts)
        ]
        metrics = data_of(gauge(*points), Metric("latency", "", "s", Histogram(buckets, CUMULATIVE)))
        for openmetrics in (False, True):
            assert encoded(metrics, openmetrics=openmetrics, translator=kept) == encoded(
                metrics, openmetrics=openmetrics
            )
        fresh = Translator(TranslationOptions())
        assert encode_protobuf(kept.translate(metrics), kept.label_maker) == encode_protobuf(
            fresh.translate(metrics), fresh.label_maker
        )


# --- protobuf ---------------------------------------------------------------------------------------------------------

FIELDS = {
    "LabelPair": "name:1:string value:2:string",
    "Timestamp": "seconds:1:int64 nanos:2:int32",
    "Exemplar": "label:1:*LabelPair value:2:double timestamp:3:Timestamp",
    "Gauge": "value:1:double",
    "Counter": "value:1:double exemplar:2:Exemplar",
    "Bucket": "cumulative_count:1:uint64 upper_bound:2:double exemplar:3:Exemplar",
    "BucketSpan": "offset:1:sint32 length:2:uint32",
    "Histogram": (
        "sample_count:1:uint64 sample_sum:2:double bucket:3:*Bucket schema:5:sint32 zero_threshold:6:double "
        "zero_count:7:uint64 negative_span:9:*BucketSpan negative_delta:10:*sint64 positive_span:12:*BucketSpan "
        "positive_delta:13:*sint64 exemplars:16:*Exemplar"
    ),
    "Metric": "label:1:*LabelPair gauge:2:Gauge counter:3:Counter histogram:7:Histogram",
    "MetricFamily": "name:1:string help:2:string type:3:int32 metric:4:*Metric unit:5:string",
}


@pytest.fixture(scope="module")
def families_in():
    """Reads delimited messages by the fields of client_model's metrics.proto."""
    file = descriptor_pb2.FileDescriptorProto(name="tests.proto", package="exporter_core_tests", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    for name, text in FIELDS.items():
        message = file.message_type.add(name=name)
        for one in text.split():
            field, at, kind = one.split(":")
            label = kinds.LABEL_REPEATED if kind.startswith("*") else kinds.LABEL_OPTIONAL
            made = message.field.add(name=field, number=int(at), label=label)
            kind = kind.removeprefix("*")
            if kind in FIELDS:
                made.type, made.type_name = kinds.TYPE_MESSAGE, f".exporter_core_tests.{kind}"
            else:
                made.type = getattr(kinds, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    family = message_factory.GetMessageClass(pool.FindMessageTypeByName("exporter_core_tests.MetricFamily"))

    def read(body):
        found, at = {}, 0
        while at < len(body):
            length, shift = 0, 0
            while True:
                byte = body[at]
                at += 1
                length |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    break
            one = family.FromString(body[at : at + length])
            at += length
            found[one.name] = one
        return found

    return read


def protobuf(metrics, **options):
    translator = Translator(TranslationOptions(scope_info_enabled=False, **options))
    return encode_protobuf(translator.translate(metrics), translator.label_maker)


def test_protobuf_says_of_numbers_and_buckets_what_the_text_says(families_in):
    span = Exemplar({}, 0.3, 1_500_000_001, 1, 2)
    metrics = data_of(
        counter(number(3, [span], route="/")), gauge(number(21.5)), histogram([1, 2, 0, 4], 9.25, [span], a="b")
    )
    body, problems = protobuf(metrics)
    assert problems == []
    found = families_in(body)
    assert {name: (one.type, one.help, one.unit) for name, one in found.items()} == {
        "orders_total": (0, "Orders.", ""),
        "temperature_celsius": (1, "", "celsius"),
        "latency_seconds": (4, "Latency.", "seconds"),
        "target_info": (1, "Target metadata", ""),
    }
    (one,) = found["orders_total"].metric
    assert [(label.name, label.value) for label in one.label] == [("route", "/")]
    assert (one.counter.value, one.counter.exemplar.value) == (3, 0.3)
    assert (one.counter.exemplar.timestamp.seconds, one.counter.exemplar.timestamp.nanos) == (1, 500_000_001)
    assert found["temperature_celsius"].metric[0].gauge.value == 21.5
    buckets = found["latency_seconds"].metric[0].histogram
    assert (buckets.sample_count, buckets.sample_sum) == (7, 9.25)
    pairs = [(bucket.upper_bound, bucket.cumulative_count) for bucket in buckets.bucket]
    assert pairs == [(0.0, 1), (0.5, 3), (2.0, 3), (math.inf, 7)]
    assert [bucket.HasField("exemplar") for bucket in buckets.bucket] == [False, True, False, False]


def test_protobuf_has_exponential_histograms_as_native_ones(families_in):
    body, problems = protobuf(data_of(exponential([1, 0, 0, 0, 3], 5.5, zero=2)))
    assert problems == []
    native = families_in(body)["sizes_bytes"].metric[0].histogram
    assert (native.sample_count, native.sample_sum, native.schema, native.zero_count) == (6, 5.5, 3, 2)
    assert native.zero_threshold == 1e-128
    assert [(span.offset, span.length) for span in native.positive_span] == [(-1, 1), (3, 1)]
    assert list(native.positive_delta) == [1, 2]
    assert len(native.bucket) == 0


def test_a_native_histogram_without_values_is_told_from_a_classic_one(families_in):
    body, _ = protobuf(data_of(exponential([], 0.0)))
    native = families_in(body)["sizes_bytes"].metric[0].histogram
    assert [(span.offset, span.length) for span in native.positive_span] == [(0, 0)]


def test_an_exponential_histogram_of_too_small_a_scale_is_a_problem_and_the_rest_is_there(families_in):
    body, problems = protobuf(data_of(counter(number(3)), exponential([1], 5.5, scale=-5)))
    assert problems == ["sizes_bytes: its scale is -5; native histograms have at least -4"]
    assert families_in(body)["orders_total"].metric[0].counter.value == 3


# --- content negotiation ----------------------------------------------------------------------------------------------

PROTO = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
OLD = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


@pytest.mark.parametrize(
    ("accept", "expected", "utf8"),
    [
        ("", Format.TEXT, False),
        ("*/*", Format.TEXT, False),
        ("text/html,application/xhtml+xml,*/*;q=0.8", Format.TEXT, False),
        (OLD, Format.OPENMETRICS, False),
        (f"{PROTO};q=0.9,{OLD}", Format.OPENMETRICS, False),
        (f"{PROTO},{OLD.replace('1.0.0', '1.0.0;q=0.8')}", Format.PROTOBUF, False),
        ("application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,*/*;q=0.1", Format.OPENMETRICS, True),
        ("text/plain;version=1.0.0;escaping=allow-utf-8", Format.TEXT, True),
        ("application/openmetrics-text;version=9.0.0,text/plain;q=0.1", Format.TEXT, False),
        ("application/vnd.google.protobuf;proto=other;encoding=delimited", Format.TEXT, False),
        ("APPLICATION/OpenMetrics-Text ; Version=1.0.0", Format.OPENMETRICS, False),
        ("text/plain;q=0,application/openmetrics-text;q=0.001", Format.OPENMETRICS, False),
        (";;;=,,q=;q", Format.TEXT, False),
        ("application/openmetrics-text;q=nonsense", Format.TEXT, False),
        ("application/openmetrics-text;q=nan", Format.TEXT, False),
    ],
)
def test_the_format_is_the_one_that_the_scraper_prefers(accept, expected, utf8):
    assert accepted_by(accept) == Accepted(expected, utf8)


@given(st.text(max_size=60), st.text(max_size=30))
def test_no_header_is_an_error(accept, accept_encoding):
    assert isinstance(accepted_by(accept), Accepted)
    assert takes_gzip(accept_encoding) in (True, False)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("deflate, GZIP;q=0.5", True),
        ("gzip;q=0", False),
        ("*", True),
        ("br", False),
        ("*, gzip;q=0", False),
    ],
)
def test_gzip_is_used_where_it_is_taken(header, expected):
    assert takes_gzip(header) is expected


def test_content_types_name_version_and_escaping():
    assert content_type(Accepted(Format.TEXT, utf8=False)) == "text/plain; version=0.0.4; charset=utf-8"
    assert content_type(Accepted(Format.OPENMETRICS, utf8=True)).endswith("charset=utf-8; escaping=allow-utf-8")


@pytest.mark.parametrize("encode", [partial(encode_text, openmetrics=True), encode_protobuf])
def test_an_encoder_keeps_the_labels_of_a_series(encode):
    translator = Translator(TranslationOptions())
    points = [number(1, route="/")]
    first = translator.translate(data_of(counter(*points)))
    encode(first, translator.label_maker)
    series = first.families[0].groups[0].series[0]
    kept = series.text, series.protobuf
    again = translator.translate(data_of(counter(NumberDataPoint(points[0].attributes, 1, 3, 1))))
    encode(again, translator.label_maker)
    assert again.families[0].groups[0].series[0] is series
    assert (series.text, series.protobuf) == kept != (None, None)
    assert series.text is kept[0]
    assert series.protobuf is kept[1]


# --- what would break a scrape -------------------------------------------------------------------------------------

ODD = {"le": "x", "exported_le": "y"}


@pytest.mark.parametrize(
    ("metrics", "problems"),
    [
        ([histogram([1, 0, 0, 0], 1.0, **ODD)], 0),
        ([exponential([1], 1.0, **ODD)], 0),
        ([histogram([1, 0, 0, 0], 1.0), counter(number(1), name="latency.seconds.count")], 0),
        ([exponential([1], 1.0), gauge(number(1), name="sizes_bytes_count", unit="")], 1),
        ([counter(number(1), name="target")], 0),
        ([gauge(number(10**400)), counter(number(10**400))], 0),
        ([gauge(number(1, a="\ud800"), name="a\ud800b", unit="\ud800", text="\ud800")], 0),
    ],
    ids=["le", "le of a native histogram", "a counter", "a native histogram", "target", "huge", "lone surrogates"],
)
def test_what_would_break_a_scrape_is_read_by_prometheus_own_parser(metrics, problems):
    translator = Translator(TranslationOptions())
    translation = translator.translate(data_of(*metrics))
    assert len(translation.problems) == problems
    for openmetrics, parse in ((False, parse_text), (True, parse_openmetrics)):
        text = encode_text(translation, translator.label_maker, openmetrics=openmetrics)[0].decode()
        assert list(parse(text))
        for labels in re.findall("(?m)^[^#].*[{](.*)[}]", text):
            names = re.findall('([a-z_]+)="', labels)
            assert len(set(names)) == len(names)
    encode_protobuf(translation, translator.label_maker)


def test_labels_that_are_taken_get_prefixes_until_they_are_free():
    text = encoded(data_of(histogram([1, 0, 0, 0], 1.0, **ODD)), scope_info_enabled=False)
    assert 'latency_seconds_bucket{exported_exported_le="x",exported_le="y",le="0.0"} 1' in text


def test_the_largest_exemplar_of_a_bucket_and_the_newest_of_a_counter_are_scraped():
    exemplars = [Exemplar({}, value, 5 - int(value), 1, 2) for value in (3.0, 4.0, 2.5)]
    metrics = data_of(histogram([0, 0, 0, 3], 9.5, exemplars), counter(number(9.5, exemplars)))
    families = parse_openmetrics(encoded(metrics, openmetrics=True))
    found = {one.name: one.exemplar.value for family in families for one in family.samples if one.exemplar}
    assert found == {"latency_seconds_bucket": 4.0, "orders_total": 2.5}


@pytest.mark.parametrize("encode", [partial(encode_text, openmetrics=True), encode_protobuf])
@pytest.mark.parametrize("value", ["x", None])
def test_a_value_that_is_no_number_is_left_out_and_the_rest_is_there(encode, value):
    translator = Translator(TranslationOptions())
    body, problems = encode(
        translator.translate(data_of(gauge(number(value)), counter(number(3)))), translator.label_maker
    )
    assert [problem.partition(":")[0] for problem in problems] == ["temperature_celsius"]
    assert b"orders" in body
