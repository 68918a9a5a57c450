"""A right exporter of lines of JSON over TCP, with a JSON mapper of its own."""

from __future__ import annotations

import base64
import json
import math
import socket
from collections.abc import Mapping

from opentelemetry.sdk.metrics import export as sdk

from exporter_core import ExporterConfig, ExporterError
from exporter_core.authoring import SerialExporter
from exporter_core.conformance import Capabilities, SinkHarness, flatten
from exporter_core.otlp import decode_json
from third_party.blind_wire import Broken, Http


def dbl(v):
    v = float(v)
    return "NaN" if math.isnan(v) else ("Infinity" if v > 0 else "-Infinity") if math.isinf(v) else v


def val(v):  # noqa: PLR0911 - one for each type
    if v is None:
        return {}
    if isinstance(v, bool):
        return {"boolValue": v}
    if isinstance(v, str):
        return {"stringValue": v}
    if isinstance(v, int):
        return {"intValue": str(v)}
    if isinstance(v, float):
        return {"doubleValue": dbl(v)}
    if isinstance(v, bytes):
        return {"bytesValue": base64.b64encode(v).decode()}
    if isinstance(v, Mapping):
        return {"kvlistValue": {"values": kvs(v)}}
    return {"arrayValue": {"values": [val(i) for i in v]}}


def kvs(m):
    return [{"key": k, "value": val(v)} for k, v in (m or {}).items()]


class Mapper:
    def integer(self, v):
        return {"asInt": str(v)}

    def num(self, v):
        return self.integer(v) if isinstance(v, int) else {"asDouble": dbl(v)}

    def ex(self, e):
        o = {
            "filteredAttributes": kvs(e.filtered_attributes),
            "timeUnixNano": str(e.time_unix_nano),
            **self.num(e.value),
        }
        if e.span_id:
            o["spanId"] = format(e.span_id, "016x")
        if e.trace_id:
            o["traceId"] = format(e.trace_id, "032x")
        return o

    def point(self, p):
        o = {
            "attributes": kvs(p.attributes),
            "startTimeUnixNano": str(p.start_time_unix_nano or 0),
            "timeUnixNano": str(p.time_unix_nano),
            "exemplars": [self.ex(e) for e in p.exemplars or ()],
        }
        if isinstance(p, sdk.NumberDataPoint):
            return {**o, **self.num(p.value)}
        o.update(count=str(p.count), sum=dbl(p.sum))
        if p.min is not None:
            o["min"] = dbl(p.min)
        if p.max is not None:
            o["max"] = dbl(p.max)
        if isinstance(p, sdk.HistogramDataPoint):
            o.update(bucketCounts=[str(c) for c in p.bucket_counts], explicitBounds=[dbl(b) for b in p.explicit_bounds])
        else:
            o.update(
                scale=p.scale,
                zeroCount=str(p.zero_count),
                flags=p.flags,
                zeroThreshold=dbl(getattr(p, "zero_threshold", 0) or 0),
                positive={"offset": p.positive.offset, "bucketCounts": [str(c) for c in p.positive.bucket_counts]},
                negative={"offset": p.negative.offset, "bucketCounts": [str(c) for c in p.negative.bucket_counts]},
            )
        return o

    def metric(self, m):
        d = m.data
        kind = {sdk.Gauge: "gauge", sdk.Sum: "sum", sdk.Histogram: "histogram"}.get(type(d), "exponentialHistogram")
        o = {"dataPoints": [self.point(p) for p in d.data_points]}
        if kind != "gauge":
            o["aggregationTemporality"] = int(d.aggregation_temporality)
        if kind == "sum":
            o["isMonotonic"] = d.is_monotonic
        return {"name": m.name, "description": m.description or "", "unit": m.unit or "", kind: o}

    def encode(self, metrics):
        out = []
        for r in metrics.resource_metrics:
            out.append(  # noqa: PERF401
                {
                    "resource": {"attributes": kvs(r.resource.attributes)},
                    "schemaUrl": r.schema_url or "",
                    "scopeMetrics": [
                        {
                            "scope": {
                                "name": s.scope.name,
                                "version": s.scope.version or "",
                                "attributes": kvs(s.scope.attributes),
                            }
                            if s.scope
                            else {},
                            "schemaUrl": s.schema_url or "",
                            "metrics": [self.metric(m) for m in s.metrics],
                        }
                        for s in r.scope_metrics
                    ],
                }
            )
        return json.dumps({"resourceMetrics": out}, ensure_ascii=False).encode()


class TcpConfig(ExporterConfig):
    address: str


class TcpHarness(SinkHarness):
    kind = "tcp"
    capabilities = Capabilities.without_answers("a plain stream")

    def config(self):
        return {"address": self.address}

    def decode(self, content):
        for line in content.splitlines():
            yield from flatten(decode_json(line))


class HalfClosingTcp(SerialExporter[TcpConfig]):
    """Sends each batch as JSON over a connection of its own, half-closes it, and reads until the backend closes."""

    conformance_harness = TcpHarness

    def deliver(self, context, metrics):
        body = Mapper().encode(metrics) + b"\n"
        wait = 0.3
        for n in range(4):
            http = Http("http://" + self.config.address)
            try:
                http._connect(context)
                http._send(context, body)
                http.sock.shutdown(socket.SHUT_WR)
                while True:
                    more = http._recv(context)
                    if not more:
                        return
            except (OSError, Broken) as e:
                if context.done and isinstance(e, TimeoutError):
                    raise
                failure = ExporterError("the backend cannot be reached")
                failure.__cause__ = e
            finally:
                http.close()
            if n == 3:
                break
            context.wait(wait)
            if context.done:
                raise context.error() from failure
            wait *= 2
        raise failure
