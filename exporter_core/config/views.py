"""The views of a config file: checks for what the OpenTelemetry Python SDK cannot do, and the SDK's objects."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from exporter_core.config.patterns import NameFilter, has_wildcard
from exporter_core.contract import InstrumentKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.metrics.view import Aggregation as SdkAggregation, View as SdkView

    from exporter_core.config.findings import Findings
    from exporter_core.config.models import Aggregation, IncludeExclude, View

_SDK_MAX_SIZE: Final = 16384  # of an exponential histogram; the SDK refuses more when the first value is recorded


def check_view(view: View, path: Sequence[str | int], findings: Findings) -> None:
    """Note the parts of a view that the SDK does not support."""
    selector, stream = view.selector, view.stream
    if all(value is None for _, value in selector):
        findings.error("expected at least one criterion, such as instrument_name", (*path, "selector"))
    if stream.name is not None and has_wildcard(selector.instrument_name or ""):
        findings.error(
            "a view whose instrument_name has wildcards cannot rename: metrics would share the name; remove 'name'",
            (*path, "stream", "name"),
        )
    _check_aggregation(stream.aggregation, (*path, "stream", "aggregation"), findings)
    if stream.aggregation_cardinality_limit is not None:
        from exporter_core.instruments import NO_CARDINALITY_LIMITS  # noqa: PLC0415 - a file without limits needs no SDK

        if NO_CARDINALITY_LIMITS:
            findings.ignored((*path, "stream", "aggregation_cardinality_limit"), NO_CARDINALITY_LIMITS)


def sdk_view(view: View) -> SdkView:
    """Return the SDK's view; without a limit where the SDK has none, which reading the file warns of."""
    from opentelemetry.sdk.metrics.view import View as SdkView  # noqa: PLC0415 - reading a file works without the SDK

    from exporter_core.instruments import INSTRUMENT_CLASSES, NO_CARDINALITY_LIMITS  # noqa: PLC0415 - see above

    selector, stream = view.selector, view.stream
    selects_type = "instrument_type" in selector.model_fields_set
    limit = stream.aggregation_cardinality_limit
    limits: dict[str, Any] = {}  # Any: older SDKs lack the parameter
    if limit is not None and not NO_CARDINALITY_LIMITS:
        limits["aggregation_cardinality_limit"] = limit
    return SdkView(
        instrument_type=INSTRUMENT_CLASSES[InstrumentKind(selector.instrument_type)] if selects_type else None,
        instrument_name=selector.instrument_name,
        instrument_unit=selector.unit,
        meter_name=selector.meter_name,
        meter_version=selector.meter_version,
        meter_schema_url=selector.meter_schema_url,
        name=stream.name,
        description=stream.description,
        attribute_keys=_attribute_keys(stream.attribute_keys),
        aggregation=_sdk_aggregation(stream.aggregation),
        **limits,
    )


def _attribute_keys(keys: IncludeExclude) -> Any:  # Any: the SDK's type is set, of which it only asks ``key in it``
    """Return the keys to keep; None keeps all."""
    if not keys.excluded and not any(map(has_wildcard, keys.included)):
        return set(keys.included) or None
    return NameFilter(keys.included, keys.excluded)


def _sdk_aggregation(aggregation: Aggregation | None) -> SdkAggregation | None:
    if aggregation is None:
        return None
    from opentelemetry.sdk.metrics import view  # noqa: PLC0415 - see above

    aggregations: dict[str, type[view.Aggregation]] = {
        "default": view.DefaultAggregation,
        "drop": view.DropAggregation,
        "explicit_bucket_histogram": view.ExplicitBucketHistogramAggregation,
        "base2_exponential_bucket_histogram": view.ExponentialBucketHistogramAggregation,
        "last_value": view.LastValueAggregation,
        "sum": view.SumAggregation,
    }
    return aggregations[aggregation.chosen](**_arguments(aggregation))


def _arguments(aggregation: Aggregation) -> dict[str, Any]:  # Any: each aggregation has its own
    options = getattr(aggregation, aggregation.chosen)
    return {name: value for name, value in options or () if value is not None}


def _check_aggregation(aggregation: Aggregation | None, path: Sequence[str | int], findings: Findings) -> None:
    if aggregation is None:
        return
    arguments, where = _arguments(aggregation), (*path, aggregation.chosen)
    for number, (lower, upper) in enumerate(pairwise(arguments.get("boundaries", ())), start=1):
        if upper <= lower:
            findings.error("expected boundaries in increasing order", (*where, "boundaries", number))
    if arguments.get("max_size", 0) > _SDK_MAX_SIZE:
        findings.error(f"the OpenTelemetry Python SDK has at most {_SDK_MAX_SIZE} buckets", (*where, "max_size"))
