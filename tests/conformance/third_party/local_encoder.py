"""OTLP JSON that is written by hand, a line for each batch."""

from __future__ import annotations

import base64
import json
import math

from opentelemetry.sdk.metrics.export import ExponentialHistogram, Gauge, Histogram, Sum


class LineEncoder:
    """Writes OTLP JSON by methods that can be overridden."""

    def line(self, metrics):
        return (json.dumps({"resourceMetrics": [self.rm(r) for r in metrics.resource_metrics]}) + "\n").encode()

    def points(self, metrics):
        return sum(
            len(m.data.data_points) for r in metrics.resource_metrics for s in r.scope_metrics for m in s.metrics
        )

    def rm(self, r):
        return {
            "resource": {"attributes": self.attrs(r.resource.attributes)},
            "schemaUrl": self.rm_url(r),
            "scopeMetrics": [self.sm(s) for s in r.scope_metrics],
        }

    def rm_url(self, r):
        return r.schema_url or r.resource.schema_url or ""

    def sm(self, s):
        return {
            "scope": self.scope(s.scope),
            "schemaUrl": s.schema_url or (s.scope.schema_url if s.scope else "") or "",
            "metrics": [self.metric(m) for m in s.metrics],
        }

    def scope(self, s):
        if s is None:
            return {}
        return {"name": s.name or "", "version": s.version or "", "attributes": self.attrs(s.attributes)}

    def metric(self, m):
        out = {"name": m.name, "description": m.description or "", "unit": m.unit or ""}
        d = m.data
        if isinstance(d, Sum):
            out["sum"] = {
                "aggregationTemporality": int(d.aggregation_temporality),
                "isMonotonic": d.is_monotonic,
                "dataPoints": [self.number(p) for p in d.data_points],
            }
        elif isinstance(d, Gauge):
            out["gauge"] = {"dataPoints": [self.number(p) for p in d.data_points]}
        elif isinstance(d, Histogram):
            out["histogram"] = {
                "aggregationTemporality": int(d.aggregation_temporality),
                "dataPoints": [self.hist(p) for p in d.data_points],
            }
        elif isinstance(d, ExponentialHistogram):
            out["exponentialHistogram"] = {
                "aggregationTemporality": int(d.aggregation_temporality),
                "dataPoints": [self.exp(p) for p in d.data_points],
            }
        else:
            raise TypeError(type(d).__name__)
        return out

    def times(self, p):
        return {
            "attributes": self.attrs(p.attributes),
            "startTimeUnixNano": str(p.start_time_unix_nano or 0),
            "timeUnixNano": str(p.time_unix_nano),
        }

    def number(self, p):
        return {**self.times(p), **self.num(p.value), "exemplars": self.exemplars(p)}

    def num(self, v):
        return {"asInt": str(int(v))} if isinstance(v, int) else {"asDouble": self.dbl(v)}

    def dbl(self, v):
        v = float(v)
        if math.isnan(v):
            return "NaN"
        if math.isinf(v):
            return "Infinity" if v > 0 else "-Infinity"
        return v

    def hist(self, p):
        out = {
            **self.times(p),
            "count": str(p.count),
            "bucketCounts": [str(c) for c in p.bucket_counts],
            "explicitBounds": [self.dbl(b) for b in p.explicit_bounds],
            "exemplars": self.exemplars(p),
        }
        for k in ("sum", "min", "max"):
            if getattr(p, k) is not None:
                out[k] = self.dbl(getattr(p, k))
        return out

    def exp(self, p):
        out = {
            **self.times(p),
            "count": str(p.count),
            "scale": p.scale,
            "zeroCount": str(p.zero_count),
            "positive": self.buckets(p.positive),
            "negative": self.buckets(p.negative),
            "flags": p.flags,
            "exemplars": self.exemplars(p),
        }
        if getattr(p, "zero_threshold", 0):
            out["zeroThreshold"] = self.dbl(p.zero_threshold)
        for k in ("sum", "min", "max"):
            if getattr(p, k) is not None:
                out[k] = self.dbl(getattr(p, k))
        return out

    def buckets(self, b):
        return {"offset": b.offset, "bucketCounts": [str(c) for c in b.bucket_counts]}

    def exemplars(self, p):
        return [self.exemplar(e) for e in (getattr(p, "exemplars", None) or [])]

    def exemplar(self, e):
        out = {
            "filteredAttributes": self.attrs(e.filtered_attributes),
            "timeUnixNano": str(e.time_unix_nano),
            **self.num(e.value),
        }
        if e.span_id is not None:
            out["spanId"] = f"{e.span_id:016x}"
        if e.trace_id is not None:
            out["traceId"] = f"{e.trace_id:032x}"
        return out

    def attrs(self, a):
        return [{"key": k, "value": self.val(v)} for k, v in (a or {}).items()]

    def val(self, v):  # noqa: PLR0911
        if v is None:
            return {}
        if isinstance(v, bool):
            return {"boolValue": v}
        if isinstance(v, int):
            return {"intValue": str(int(v))}
        if isinstance(v, float):
            return {"doubleValue": self.dbl(v)}
        if isinstance(v, str):
            return {"stringValue": v}
        if isinstance(v, (bytes, bytearray)):
            return {"bytesValue": base64.b64encode(v).decode()}
        if hasattr(v, "items"):
            return {"kvlistValue": {"values": self.attrs(v)}}
        return {"arrayValue": {"values": [self.val(x) for x in v]}}
