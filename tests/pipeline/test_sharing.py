"""Readers of a config that share a collection, and the metrics that each exporter gets."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics.export import AggregationTemporality, MetricsData

from exporter_core.config import parse_config, sharing_of
from exporter_core.errors import ConfigError
from exporter_core.instruments import NO_CARDINALITY_LIMITS
from exporter_core.pipeline import Pipeline
from exporter_core.testing import FakeExporter

LONG = 30.0


def collections(one: Pipeline) -> list[list[str]]:
    """The names of the readers by collection."""
    found: dict[object, list[str]] = {}
    for reader in one.readers:
        found.setdefault(reader.collection, []).append(reader.name)
    return list(found.values())


def delta() -> FakeExporter:
    return FakeExporter(on_temporality=lambda kind: AggregationTemporality.DELTA)


def names(exporter: FakeExporter) -> list[str]:
    return [
        metric.name
        for batch in exporter.exported
        for resource in batch.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    ]


def test_readers_share_unless_their_exporters_take_delta_data(pipeline: Callable) -> None:
    one = pipeline(a=FakeExporter(), b=delta(), c=FakeExporter(), d=delta())
    assert collections(one) == [["0:a", "2:c"], ["1:b"], ["3:d"]]


OTHERS: dict[str, dict[str, Any]] = {"interval": {"interval": 2_000_000}}
if not NO_CARDINALITY_LIMITS:  # no reader of an older SDK can be made with limits
    OTHERS["limits"] = {"cardinality_limits": {"default": 5}}


@pytest.mark.parametrize("changed", OTHERS.values(), ids=OTHERS)
def test_readers_with_other_intervals_or_limits_collect_by_themselves(
    changed: dict[str, Any], registry: Callable, config: Callable
) -> None:
    described = config("a", "b", "c")
    described["meter_provider"]["readers"][1]["periodic"] |= changed
    made = registry(a=FakeExporter(), b=FakeExporter(), c=FakeExporter())
    with Pipeline.from_config(described, registry=made) as one:
        assert collections(one) == [["0:a", "2:c"], ["1:b"]]


def test_sharing_can_be_turned_off(pipeline: Callable) -> None:
    one = pipeline(a=FakeExporter(), b=FakeExporter(), parts={"exporter_core": {"share_collection": False}})
    assert collections(one) == [["0:a"], ["1:b"]]


@pytest.mark.parametrize("share", [True, False])
def test_each_reader_delivers_and_reports_by_itself(pipeline: Callable, share: bool) -> None:
    def fail(context: object, metrics: MetricsData) -> None:
        raise OSError("no route")

    parts = {"exporter_core": {"share_collection": share}}
    one = pipeline(a=FakeExporter(), b=FakeExporter(on_export=fail), c=FakeExporter(), parts=parts)
    one.meter_provider.get_meter("m").create_counter("c").add(1)
    a, b, c = one.flush(LONG).readers
    assert (a.points_accepted, b.points_accepted, c.points_accepted) == (1, 0, 1)
    assert a.error is None
    assert "no route" in str(b.error)
    assert [stats.name for stats in one.stats()] == ["0:a", "1:b", "2:c"]
    assert [stats.exporter.exports_failed for stats in one.stats()] == [0, 1, 0]


def test_an_exporter_gets_the_metrics_that_it_includes_and_does_not_exclude(pipeline: Callable) -> None:
    exporters = {"a": FakeExporter(), "b": FakeExporter(), "c": FakeExporter()}
    chosen = {
        "a": {"metrics": {"include": ["http.*"], "exclude": ["*.size"]}},
        "b": {"metrics": {"exclude": ["http.*"]}},
        "c": {"metrics": {"include": ["nothing"]}},
    }
    one = pipeline(**exporters, parts={"exporter_core": {"exporters": chosen}})
    for name in ("http.requests", "http.response.size", "process.cpu"):
        one.meter_provider.get_meter("m").create_counter(name).add(1)
    report = one.flush(LONG)
    assert report.ok
    assert [reader.points_handed_over for reader in report.readers] == [1, 1, 0]
    assert [names(exporter) for exporter in exporters.values()] == [["http.requests"], ["process.cpu"], []]


def test_a_filter_may_be_given_to_an_exporter_that_shares_nothing(pipeline: Callable) -> None:
    exporter = delta()
    one = pipeline(a=exporter, parts={"exporter_core": {"exporters": {"a": {"metrics": {"include": ["x?"]}}}}})
    for name in ("x1", "x22"):
        one.meter_provider.get_meter("m").create_counter(name).add(1)
    assert one.flush(LONG).ok
    assert names(exporter) == ["x1"]


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ({"share_collection": "no"}, "expected true or false"),
        ({"exporters": {"a": {"metrics": {"included": ["x"]}}}}, "unknown key 'included'; did you mean 'include'?"),
        ({"exporters": {"a": {"metrics": {"include": []}}}}, "include"),
    ],
)
def test_what_is_wrong_is_an_error(section: dict[str, Any], message: str, registry: Callable, config: Callable) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(config("a", exporter_core=section), registry=registry(a=FakeExporter()))
    assert message in str(caught.value)


def test_a_config_says_which_readers_share_before_anything_is_built(tmp_path: Path) -> None:
    def reader(exporter: str, options: dict[str, Any] | None = None, interval: int = 1000) -> dict[str, Any]:
        return {"periodic": {"interval": interval, "exporter": {exporter: options or {}}}}

    path = str(tmp_path / "metrics.db")
    readers = [
        reader("none"),
        reader("console"),
        reader("otlp_http", {"temporality_preference": "delta"}),
        reader("otlp_http", {"default_histogram_aggregation": "base2_exponential_bucket_histogram"}),
        reader("sqlite", {"path": path}),
        reader("sqlite", {"path": path}, interval=2000),
    ]
    mapping = {"file_format": "1.1", "meter_provider": {"readers": readers}}
    assert sharing_of(parse_config(mapping)) == ([["0:none", "1:console", "4:sqlite"]], [])
    assert sharing_of(parse_config({**mapping, "exporter_core": {"share_collection": False}})) == ([], [])
    with Pipeline.from_config(mapping) as one:
        assert [group for group in collections(one) if len(group) > 1] == [["0:none", "1:console", "4:sqlite"]]
