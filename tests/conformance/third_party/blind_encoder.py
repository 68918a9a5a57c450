"""SDK metrics to OTLP protobuf, written against the proto classes."""

from collections.abc import Mapping

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, KeyValue, KeyValueList
from opentelemetry.proto.metrics.v1 import metrics_pb2 as pb
from opentelemetry.sdk.metrics import export as sdk


class Enc:
    def value(self, v):  # noqa: PLR0911 - one for each type
        if v is None:
            return AnyValue()
        if isinstance(v, bool):
            return AnyValue(bool_value=v)
        if isinstance(v, str):
            return AnyValue(string_value=self.text(v))
        if isinstance(v, int):
            return AnyValue(int_value=v)
        if isinstance(v, float):
            return AnyValue(double_value=v)
        if isinstance(v, bytes):
            return AnyValue(bytes_value=v)
        if isinstance(v, Mapping):
            return AnyValue(kvlist_value=KeyValueList(values=self.attrs(v)))
        return AnyValue(array_value=ArrayValue(values=[self.value(i) for i in self.items(v)]))

    def text(self, s):
        return s

    def items(self, v):
        return v

    def time(self, t):
        return t or 0

    def attrs(self, m):
        return [KeyValue(key=k, value=self.value(v)) for k, v in (m or {}).items()]

    def exemplar(self, e):
        x = pb.Exemplar(
            filtered_attributes=self.attrs(e.filtered_attributes), time_unix_nano=self.time(e.time_unix_nano)
        )
        if e.span_id:
            x.span_id = e.span_id.to_bytes(8, "big")
        if e.trace_id:
            x.trace_id = e.trace_id.to_bytes(16, "big")
        if isinstance(e.value, int):
            x.as_int = e.value
        else:
            x.as_double = e.value
        return x

    def common(self, p):
        return {
            "attributes": self.attrs(p.attributes),
            "start_time_unix_nano": self.time(p.start_time_unix_nano),
            "time_unix_nano": self.time(p.time_unix_nano),
            "exemplars": [self.exemplar(e) for e in p.exemplars or ()],
        }

    def number(self, p):
        x = pb.NumberDataPoint(**self.common(p))
        if isinstance(p.value, int):
            x.as_int = p.value
        else:
            x.as_double = p.value
        return x

    def extremes(self, p, x):
        if p.min is not None:
            x.min = p.min
        if p.max is not None:
            x.max = p.max

    def hist(self, p):
        x = pb.HistogramDataPoint(
            count=p.count, sum=p.sum, bucket_counts=p.bucket_counts, explicit_bounds=p.explicit_bounds, **self.common(p)
        )
        self.extremes(p, x)
        return x

    def buckets(self, b):
        return pb.ExponentialHistogramDataPoint.Buckets(offset=b.offset, bucket_counts=b.bucket_counts)

    def exp(self, p):
        x = pb.ExponentialHistogramDataPoint(
            count=p.count,
            sum=p.sum,
            scale=p.scale,
            zero_count=p.zero_count,
            zero_threshold=getattr(p, "zero_threshold", 0.0) or 0.0,
            flags=p.flags,
            **self.common(p),
        )
        if p.positive is not None:
            x.positive.CopyFrom(self.buckets(p.positive))
        if p.negative is not None:
            x.negative.CopyFrom(self.negative(p))
        self.extremes(p, x)
        return x

    def negative(self, p):
        return self.buckets(p.negative)

    def points(self, points):
        return points

    def metric(self, m):
        x = pb.Metric(name=m.name, description=m.description or "", unit=m.unit or "")
        d = m.data
        pts = self.points(d.data_points)
        if isinstance(d, sdk.Gauge):
            x.gauge.CopyFrom(pb.Gauge(data_points=[self.number(p) for p in pts]))
        elif isinstance(d, sdk.Sum):
            x.sum.CopyFrom(
                pb.Sum(
                    data_points=[self.number(p) for p in pts],
                    aggregation_temporality=int(d.aggregation_temporality),
                    is_monotonic=d.is_monotonic,
                )
            )
        elif isinstance(d, sdk.Histogram):
            x.histogram.CopyFrom(
                pb.Histogram(
                    data_points=[self.hist(p) for p in pts], aggregation_temporality=int(d.aggregation_temporality)
                )
            )
        else:
            x.exponential_histogram.CopyFrom(
                pb.ExponentialHistogram(
                    data_points=[self.exp(p) for p in pts], aggregation_temporality=int(d.aggregation_temporality)
                )
            )
        return x

    def scope(self, s):
        x = pb.ScopeMetrics(schema_url=s.schema_url or "", metrics=[self.metric(m) for m in s.metrics])
        if s.scope is not None:
            x.scope.name, x.scope.version = s.scope.name or "", s.scope.version or ""
            x.scope.attributes.extend(self.attrs(s.scope.attributes))
        return x

    def scopes(self, r):
        return [self.scope(s) for s in r.scope_metrics]

    def resource(self, r):
        x = pb.ResourceMetrics(schema_url=r.schema_url or "", scope_metrics=self.scopes(r))
        x.resource.attributes.extend(self.attrs(r.resource.attributes))
        return x

    def request(self, metrics):
        return ExportMetricsServiceRequest(resource_metrics=[self.resource(r) for r in metrics.resource_metrics])

    def encode(self, metrics):
        return self.request(metrics).SerializeToString()
