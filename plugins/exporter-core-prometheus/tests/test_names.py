"""Names by each strategy. The rows are what Prometheus' own translator makes of them (prometheus/otlptranslator)."""

import pytest
from exporter_core_prometheus.translation import Kind, Namer, TranslationError, bucket_bounds, le_text
from exporter_core_prometheus.translation.labels import text_of

ESCAPED = "underscore_escaping_with_suffixes"
PLAIN = "underscore_escaping_without_suffixes/development"
UTF8 = "no_utf8_escaping_with_suffixes/development"
UNTRANSLATED = "no_translation/development"
COUNTER, GAUGE, HISTOGRAM, NATIVE = Kind.COUNTER, Kind.GAUGE, Kind.HISTOGRAM, Kind.NATIVE_HISTOGRAM


@pytest.mark.parametrize(
    ("strategy", "name", "unit", "kind", "expected"),
    [
        (PLAIN, "simple_metric", "", GAUGE, "simple_metric"),
        (PLAIN, "metric@with#special$chars", "", GAUGE, "metric_with_special_chars"),
        (PLAIN, "123metric", "", GAUGE, "_123metric"),
        (PLAIN, "metric@@##$$name", "", GAUGE, "metric_name"),
        (PLAIN, "kept__underscores", "s", COUNTER, "kept__underscores"),
        (PLAIN, "___", "", GAUGE, "___"),
        (ESCAPED, "requests", "", COUNTER, "requests_total"),
        (ESCAPED, "cpu_usage", "1", GAUGE, "cpu_usage_ratio"),
        (ESCAPED, "items", "1", COUNTER, "items_total"),
        (ESCAPED, "response_time", "ms", GAUGE, "response_time_milliseconds"),
        (ESCAPED, "memory_usage", "By", GAUGE, "memory_usage_bytes"),
        (ESCAPED, "requests", "1/s", GAUGE, "requests_per_second"),
        (ESCAPED, "throughput", "By/s", GAUGE, "throughput_bytes_per_second"),
        (ESCAPED, "speed", "m/s", GAUGE, "speed_meters_per_second"),
        (ESCAPED, "custom_metric", "custom_unit", GAUGE, "custom_metric_custom_unit"),
        (ESCAPED, "custom_metric", "{custom}", GAUGE, "custom_metric"),
        (ESCAPED, "custom_metric", "By/{custom}", GAUGE, "custom_metric_bytes"),
        (ESCAPED, "requests_total", "", COUNTER, "requests_total"),
        (ESCAPED, "total.requests", "", COUNTER, "requests_total"),
        (ESCAPED, "cpu_usage_ratio", "1", GAUGE, "cpu_usage_ratio"),
        (ESCAPED, "response_time_seconds", "s", GAUGE, "response_time_seconds"),
        (ESCAPED, "request_duration", "s", HISTOGRAM, "request_duration_seconds"),
        (ESCAPED, "request_size", "By", NATIVE, "request_size_bytes"),
        (ESCAPED, "http.request.duration", "ms", HISTOGRAM, "http_request_duration_milliseconds"),
        (ESCAPED, "http.requests", "1", COUNTER, "http_requests_total"),
        (ESCAPED, "metric", "By/", GAUGE, "metric_bytes"),
        (ESCAPED, "metric", " By / s ", GAUGE, "metric_bytes_per_second"),
        (ESCAPED, "metric", "/", GAUGE, "metric"),
        (ESCAPED, "custom", "1/custom_unit", GAUGE, "custom_per_custom_unit"),
        (ESCAPED, "reports", "1/w", GAUGE, "reports_per_week"),
        (ESCAPED, "cpu_usage", "%", GAUGE, "cpu_usage_percent"),
        (
            ESCAPED,
            "metric__with__multiple__underscores",
            "unit__multiple__underscores",
            GAUGE,
            "metric_with_multiple_underscores_unit_multiple_underscores",
        ),
        (
            ESCAPED,
            "custom_metric",
            "unit@with#special/chars",
            GAUGE,
            "custom_metric_unit_with_special_per_chars",
        ),
        (UTF8, "requests_total", "", COUNTER, "requests_total"),
        (UTF8, "cpu_seconds_total", "s", COUNTER, "cpu_seconds_total"),
        (UTF8, "otelcol_process_cpu_seconds", "s", COUNTER, "otelcol_process_cpu_seconds_total"),
        (UTF8, "requêsts", "1/s", GAUGE, "requêsts_per_second"),
        (UTF8, "cpu.usagé", "1", GAUGE, "cpu.usagé_ratio"),
        (UTF8, "@#$%", "", COUNTER, "@#$%_total"),
        (UNTRANSLATED, "http.request.duration", "ms", HISTOGRAM, "http.request.duration"),
        (UNTRANSLATED, "http.requests", "1", COUNTER, "http.requests"),
    ],
)
def test_the_name_of_a_metric_has_the_suffixes_of_its_unit_and_kind_once(strategy, name, unit, kind, expected):
    assert Namer(strategy).metric(name, unit, kind) == expected


@pytest.mark.parametrize(("strategy", "name"), [(PLAIN, ""), (PLAIN, "@#$%"), (PLAIN, "@_#_$_%"), (ESCAPED, "@#$%")])
def test_a_name_of_which_nothing_is_left_is_an_error(strategy, name):
    with pytest.raises(TranslationError, match="no character of its name is allowed"):
        Namer(strategy).metric(name, "", GAUGE)


@pytest.mark.parametrize(
    ("unit", "words"),
    [
        ("s", "seconds"),
        ("By/s", "bytes_per_second"),
        ("1", ""),
        ("1/s", "per_second"),
        ("{request}/s", "per_second"),
        ("{request}", ""),
        ("", ""),
        ("Cel", "celsius"),
        ("KiBy", "kibibytes"),
        ("unit@with#special/chars", "unit_with_special_per_chars"),
    ],
)
def test_a_unit_is_put_into_words(unit, words):
    assert Namer(ESCAPED).unit(unit) == words


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("label:with:colons", "label_with_colons"),
        ("LabelWithCapitalLetters", "LabelWithCapitalLetters"),
        ("label!with&special$chars)", "label_with_special_chars_"),
        ("label_with_foreign_characters_字符", "label_with_foreign_characters_"),
        ("label.with.dots", "label_with_dots"),
        (".foo", "_foo"),
        ("123label", "key_123label"),
        ("_label_starting_with_underscore", "_label_starting_with_underscore"),
        ("__label_starting_with_2underscores", "_label_starting_with_2underscores"),
        ("label__with__double__underscores", "label_with_double_underscores"),
        ("label.name__with&&special##chars", "label_name_with_special_chars"),
        ("__reserved__label__name__", "__reserved_label_name__"),
        ("trailing_underscores___", "trailing_underscores_"),
        # Prometheus' translator gives up a whole point for these; the specification has a name for them.
        ("ようこそ", "_"),
        ("__", "_"),
        ("", "_"),
    ],
)
def test_the_name_of_a_label_is_escaped(name, label):
    assert Namer(ESCAPED).label(name) == label
    assert Namer(PLAIN).label(name) == label


@pytest.mark.parametrize("name", ["a.b", "ようこそ", "1st"])
def test_the_name_of_a_label_is_kept_without_escaping(name):
    assert Namer(UNTRANSLATED).label(name) == name


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        ("lone \ud800", "lone \ufffd"),
        (True, "true"),
        (7, "7"),
        (-(2**63), "-9223372036854775808"),
        (1.0, "1"),
        (0.1, "0.1"),
        (1e21, "1e+21"),
        (float("nan"), "NaN"),
        (float("-inf"), "-Infinity"),
        (("a", "é"), '["a","é"]'),
        ((1, 2.0, 2.5, True), "[1,2,2.5,true]"),
        (b"\x00\xff", "AP8="),
        (None, ""),
    ],
)
def test_values_of_attributes_are_texts_as_the_specification_has_them(value, text):
    assert text_of(value) == text


@pytest.mark.parametrize(
    ("bound", "text"),
    [
        (0.0, "0"),
        (0.005, "0.005"),
        (1.0, "1"),
        (2.5, "2.5"),
        (10, "10"),
        (1e6, "1000000"),
        (1e22, "10000000000000000000000"),
        (1e-7, "0.0000001"),
        (1.5e-7, "0.00000015"),
        (123456.789, "123456.789"),
        (-2.5, "-2.5"),
        (float("inf"), "+Inf"),
    ],
)
def test_bounds_are_written_without_exponents(bound, text):
    assert le_text(bound) == text


def test_the_last_bucket_reaches_to_infinity_and_stands_there_once():
    assert bucket_bounds([0.0, 1]) == ["0", "1", "+Inf"]
    assert bucket_bounds([0.0, float("inf")]) == ["0", "+Inf"]
    assert bucket_bounds([]) == ["+Inf"]
