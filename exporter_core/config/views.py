"""The views of a config file: checked for what the OpenTelemetry Python SDK can do, then made into its objects."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from exporter_core.config.settings import AggregationSettings, ViewSettings
from exporter_core.contract import InstrumentKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.metrics.view import View as SdkView

    from exporter_core.config.models import Aggregation, View
    from exporter_core.config.report import Report

_SDK_MAX_SIZE: Final = 16384  # of an exponential histogram; the SDK refuses more when the first value is recorded


def read_view(view: View, path: Sequence[str | int], report: Report) -> ViewSettings:
    """The settings of one view; what the SDK cannot do goes to the report."""
    selector, stream = view.selector, view.stream
    if all(value is None for _, value in selector):
        report.error("expected at least one criterion, such as instrument_name", (*path, "selector"))
    if stream.name is not None and _has_wildcard(selector.instrument_name or ""):
        report.error(
            "a view whose instrument_name has wildcards cannot rename: metrics would share the name; remove 'name'",
            (*path, "stream", "name"),
        )
    keys = stream.attribute_keys
    where = (*path, "stream", "attribute_keys")
    if keys.excluded:
        report.error(
            "the OpenTelemetry Python SDK cannot leave attributes out by name; list those to keep under 'included'",
            (*where, "excluded"),
            of_key=True,
        )
    for number, key in enumerate(keys.included):
        if _has_wildcard(key):
            report.error(
                "the OpenTelemetry Python SDK knows no wildcards in attribute keys; write the keys out",
                (*where, "included", number),
            )
    return ViewSettings(
        instrument_name=selector.instrument_name,
        instrument_kind=InstrumentKind(selector.instrument_type)
        if "instrument_type" in selector.model_fields_set
        else None,
        unit=selector.unit,
        meter_name=selector.meter_name,
        meter_version=selector.meter_version,
        meter_schema_url=selector.meter_schema_url,
        name=stream.name,
        description=stream.description,
        aggregation=_aggregation(stream.aggregation, (*path, "stream", "aggregation"), report),
        cardinality_limit=stream.aggregation_cardinality_limit,
        attribute_keys=frozenset(keys.included) if keys.included else None,
    )


def sdk_view(settings: ViewSettings) -> SdkView:
    """The SDK's view."""
    from opentelemetry.sdk.metrics import view  # noqa: PLC0415 - reading a file works without the SDK

    from exporter_core.instruments import INSTRUMENT_CLASSES  # noqa: PLC0415 - see above

    aggregations: dict[str, type[view.Aggregation]] = {
        "default": view.DefaultAggregation,
        "drop": view.DropAggregation,
        "explicit_bucket_histogram": view.ExplicitBucketHistogramAggregation,
        "base2_exponential_bucket_histogram": view.ExponentialBucketHistogramAggregation,
        "last_value": view.LastValueAggregation,
        "sum": view.SumAggregation,
    }
    aggregation = settings.aggregation
    return view.View(
        instrument_type=INSTRUMENT_CLASSES[settings.instrument_kind] if settings.instrument_kind else None,
        instrument_name=settings.instrument_name,
        instrument_unit=settings.unit,
        meter_name=settings.meter_name,
        meter_version=settings.meter_version,
        meter_schema_url=settings.meter_schema_url,
        name=settings.name,
        description=settings.description,
        attribute_keys=set(settings.attribute_keys) if settings.attribute_keys is not None else None,
        aggregation=aggregations[aggregation.kind](**aggregation.arguments) if aggregation else None,
        aggregation_cardinality_limit=settings.cardinality_limit,
    )


def _aggregation(
    aggregation: Aggregation | None, path: Sequence[str | int], report: Report
) -> AggregationSettings | None:
    if aggregation is None:
        return None
    kind: Any = aggregation.chosen  # Any: one of the literals, which the field names are
    arguments: dict[str, Any] = {}  # Any: each aggregation has its own
    options = getattr(aggregation, kind)
    if options is not None:
        arguments = {name: value for name, value in options if value is not None}
    for number, (lower, upper) in enumerate(pairwise(arguments.get("boundaries", ())), start=1):
        if upper <= lower:
            report.error("expected boundaries in increasing order", (*path, kind, "boundaries", number))
    if arguments.get("max_size", 0) > _SDK_MAX_SIZE:
        report.error(f"the OpenTelemetry Python SDK has at most {_SDK_MAX_SIZE} buckets", (*path, kind, "max_size"))
    return AggregationSettings(kind, arguments)


def _has_wildcard(text: str) -> bool:
    return "*" in text or "?" in text
