"""Wrong exporters in what they send, in their secrets, in the process, and in their ends."""

from __future__ import annotations

import os
import ssl
import threading
from dataclasses import replace

from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    ExponentialHistogramDataPoint,
    HistogramDataPoint,
    MetricsData,
    NumberDataPoint,
)
from opentelemetry.sdk.metrics.view import ExplicitBucketHistogramAggregation

from exporter_core import ExporterError, InstrumentKind, PartialSuccessError
from exporter_core.otlp import Encoder
from third_party.open_transport import Again, HttpClient
from third_party.right_open_http import HttpSerial


def rewrite(metrics, point_of):
    """A copy in which point_of(metric, point) replaces each point; None drops it."""
    resources = []
    for resource in metrics.resource_metrics:
        scopes = []
        for scope in resource.scope_metrics:
            changed = []
            for metric in scope.metrics:
                points = [new for point in metric.data.data_points if (new := point_of(metric, point)) is not None]
                changed.append(replace(metric, data=replace(metric.data, data_points=points)))
            scopes.append(replace(scope, metrics=changed))
        resources.append(replace(resource, scope_metrics=scopes))
    return MetricsData(resource_metrics=resources)


class Rewrites(HttpSerial):
    def encode(self, metrics):
        return super().encode(rewrite(metrics, self.point))


class FloatNanoseconds(Rewrites):
    """Computes time stamps in seconds as floats, which rounds nanoseconds to some hundred."""

    def point(self, metric, point):
        return replace(point, time_unix_nano=int(point.time_unix_nano / 1e9 * 1e9))


class DropsFalsyAttributes(Rewrites):
    """Leaves out attributes whose value is false in Python: 0, False, empty text."""

    def point(self, metric, point):
        return replace(point, attributes={key: value for key, value in (point.attributes or {}).items() if value})


class CutsLongAttributes(Rewrites):
    """Cuts attribute values at 1,024 characters, silently, as some backends want it."""

    def point(self, metric, point):
        return replace(
            point,
            attributes={
                key: value[:1024] if isinstance(value, str) else value
                for key, value in (point.attributes or {}).items()
            },
        )


class SkipsNaN(Rewrites):
    """Silently leaves out points whose value is NaN or infinite."""

    def point(self, metric, point):
        import math

        if isinstance(point, NumberDataPoint) and isinstance(point.value, float) and not math.isfinite(point.value):
            return None
        return point


class MinOrNone(Rewrites):
    """Writes a histogram's min and max with `or None`, so that 0 is lost."""

    def point(self, metric, point):
        if isinstance(point, (HistogramDataPoint, ExponentialHistogramDataPoint)):
            return replace(point, min=point.min or None, max=point.max or None)
        return point


class SkipsInternalAttributes(Rewrites):
    """Takes attributes that begin with an underscore for internal ones, and leaves them out."""

    def point(self, metric, point):
        return replace(
            point, attributes={key: value for key, value in (point.attributes or {}).items() if not key.startswith("_")}
        )


class SkipsZeroes(Rewrites):
    """Does not send counters and histograms that are zero, as a statsd client does."""

    def point(self, metric, point):
        if isinstance(point, NumberDataPoint):
            if hasattr(metric.data, "is_monotonic") and point.value == 0:
                return None
        elif point.count == 0:
            return None
        return point


class InternsAttributes(Rewrites):
    """Interns attribute sets in a dictionary keyed by their items, for which 1, 1.0 and True are one."""

    def __init__(self, config):
        super().__init__(config)
        self.interned = {}

    def point(self, metric, point):
        try:
            key = frozenset((point.attributes or {}).items())
            if len(self.interned) > 10000:
                self.interned.clear()
            return replace(point, attributes=self.interned.setdefault(key, dict(point.attributes or {})))
        except TypeError:
            return point


class LowerCasesNames(HttpSerial):
    """Sends metric names in lower case, since names are case-insensitive."""

    def encode(self, metrics):
        return super().encode(
            MetricsData(
                [
                    replace(
                        r,
                        scope_metrics=[
                            replace(s, metrics=[replace(m, name=m.name.lower()) for m in s.metrics])
                            for s in r.scope_metrics
                        ],
                    )
                    for r in metrics.resource_metrics
                ]
            )
        )


class TrustedEncoder(HttpSerial):
    """Makes its encoder trust all mappings of attributes, whoever hands them over."""

    def __init__(self, config):
        super().__init__(config)
        self.encoder = Encoder(trusted=True)


class ConsumesBatches(HttpSerial):
    """Pops resources off the caller's batch as they are sent, to free memory early."""

    def deliver(self, context, metrics):
        while metrics.resource_metrics:
            super().deliver(context, MetricsData([metrics.resource_metrics.pop(0)]))


class IgnoresDropped(HttpSerial):
    """Never looks at the points that its encoder had to leave out: success, though they are gone."""

    def deliver(self, context, metrics):
        bodies, _ = self.encode(metrics)
        rejected, errors = 0, []
        for body in bodies:
            try:
                rejected += self.client.send(context, body)
            except ExporterError as error:
                context.raise_if_done()
                errors.append(error)
        if errors:
            raise ExporterError(f"{len(errors)} requests failed: {errors[0]}") from errors[0]
        if rejected:
            raise PartialSuccessError("rejected", rejected_points=rejected)


class AnySuccessIsSuccess(HttpSerial):
    """Raises only if all requests of a batch failed."""

    def deliver(self, context, metrics):
        bodies, requests = self.encode(metrics)
        rejected, errors = len(requests.dropped), []
        for body in bodies:
            try:
                rejected += self.client.send(context, body)
            except ExporterError as error:
                context.raise_if_done()
                errors.append(error)
        if errors and len(errors) == len(bodies):
            raise ExporterError(f"all requests failed: {errors[0]}") from errors[0]
        if rejected:
            raise PartialSuccessError("rejected", rejected_points=rejected)


class CountsTheLastPart(HttpSerial):
    """Assigns the rejected points of each request instead of adding them up."""

    def deliver(self, context, metrics):
        bodies, requests = self.encode(metrics)
        rejected, errors = 0, []
        for body in bodies:
            try:
                rejected = self.client.send(context, body)
            except ExporterError as error:
                context.raise_if_done()
                errors.append(error)
        if errors:
            raise ExporterError(f"{len(errors)} requests failed: {errors[0]}") from errors[0]
        if rejected + len(requests.dropped):
            raise PartialSuccessError("rejected", rejected_points=rejected + len(requests.dropped))


class LimitsBodySize(HttpSerial):
    """Splits at 64 KiB a request, and drops a point that alone is larger, silently."""

    def encode(self, metrics):
        requests = self.encoder.split(metrics, max_bytes=65536)
        bodies = [request.data for request in requests]

        class NoneDropped:
            dropped = ()

        return bodies, NoneDropped


# --- secrets
class _PrintsRequest(HttpClient):
    def write(self, context, sock, content):
        head = content.partition(b"\r\n\r\n")[0]
        import sys

        print("send:", head, file=sys.stderr)  # noqa: T201 - its fault
        super().write(context, sock, content)


class PrintsRequest(HttpSerial):
    """Has debugging output left in: each request's head goes to standard error."""

    client_class = _PrintsRequest


class _KeyInUrl(HttpClient):
    def __init__(self, config):
        super().__init__(config)
        self.path += "?api_key=" + config.token.get_secret_value()

    def attempt(self, context, body):
        try:
            return super().attempt(context, body)
        except Again as error:
            raise Again(f"POST {self.path}: {error}", error.retry_after) from error.__cause__


class KeyInUrl(HttpSerial):
    """Sends its key in the URL too, and names the URL in the error of an attempt that may be repeated."""

    client_class = _KeyInUrl


# --- the process
class _UnverifiedTls(HttpClient):
    def __init__(self, config):
        super().__init__(config)
        ssl._create_default_https_context = ssl._create_unverified_context


class UnverifiedTls(HttpSerial):
    """Turns off the verification of certificates for the whole process."""

    client_class = _UnverifiedTls


class _SetsProxyVariable(HttpClient):
    def connect(self, context):
        os.environ["NO_PROXY"] = self.host
        super().connect(context)


class SetsProxyVariable(HttpSerial):
    """Sets the environment variable NO_PROXY, so that its own host is reached directly."""

    client_class = _SetsProxyVariable


class _SmallStacks(HttpClient):
    def resolve(self, context):
        threading.stack_size(256 * 1024)
        return super().resolve(context)


class SmallStacks(HttpSerial):
    """Makes the stacks of all threads that anybody starts from now on small, to save memory for its own."""

    client_class = _SmallStacks


class _DefaultTimeout(HttpClient):
    def connect(self, context):
        import socket

        old = socket.getdefaulttimeout()
        socket.setdefaulttimeout(context.remaining())
        super().connect(context)
        socket.setdefaulttimeout(old)


class DefaultTimeout(HttpSerial):
    """Sets socket's default time-out while it connects, and leaves it set where connecting fails."""

    client_class = _DefaultTimeout


class SharesHeaders(HttpSerial):
    """Builds the headers with the token once for the class: a second exporter sends the first one's token."""


class _SharesHeaders(HttpClient):
    cached = None

    def headers(self, body):
        if _SharesHeaders.cached is None:
            _SharesHeaders.cached = [
                line for line in super().headers(b"") if not line.startswith(("Content-Len", "Host", "POST"))
            ]
        return [  # noqa: RUF005 - as it was written
            f"POST {self.path} HTTP/1.1",
            f"Host: {self.host}:{self.port}",
            f"Content-Length: {len(body)}",
        ] + _SharesHeaders.cached


SharesHeaders.client_class = _SharesHeaders


# --- life cycle
class SharesTheParentsConnection(HttpSerial):
    """Does nothing in a forked child, which sends on the connection of its parent."""

    def begin_anew(self):
        pass


class RegistersBoundMethod(HttpSerial):
    """Registers a bound method with os.register_at_fork, which keeps every exporter for ever."""

    def __init__(self, config):
        super().__init__(config)
        os.register_at_fork(after_in_child=self.client.forget)


class DeadLetters(HttpSerial):
    """Keeps what was not delivered in a list of dead letters that nobody ever reads."""

    def __init__(self, config):
        super().__init__(config)
        self.dead = []

    def deliver(self, context, metrics):
        try:
            super().deliver(context, metrics)
        except ExporterError:
            self.dead.append(self.encode(metrics)[0])
            raise


class KeepsTheConnection(HttpSerial):
    """Closes its connection at shutdown only if the context is not done."""

    def release(self, context):
        if not context.done:
            self.client.close()
        else:
            LEFT.append(self.client)


LEFT = []


class LocksAnswers(HttpSerial):
    """Answers temporality under the lock that an export holds while it sends."""

    def __init__(self, config):
        super().__init__(config)
        self.lock = threading.Lock()

    def deliver(self, context, metrics):
        with self.lock:
            super().deliver(context, metrics)

    def temporality(self, instrument_kind):
        with self.lock:
            return AggregationTemporality.CUMULATIVE


class SixKinds(HttpSerial):
    """Looks the temporality up in a dictionary that lacks the synchronous gauge."""

    def temporality(self, instrument_kind):
        return {kind: AggregationTemporality.DELTA for kind in InstrumentKind if kind.name != "GAUGE"}.get(
            instrument_kind
        )


BOUNDS = ExplicitBucketHistogramAggregation(boundaries=[1.0, 10.0, 100.0])


class SharesItsBounds(HttpSerial):
    """Hands out one aggregation of the module's for histograms, with its list of bounds."""

    def aggregation(self, instrument_kind):
        return BOUNDS if instrument_kind.name == "HISTOGRAM" else super().aggregation(instrument_kind)


class TimeoutMillis(HttpSerial):
    """Has the SDK's signature of shutdown instead of the contract's."""

    def shutdown(self, timeout_millis: float = 30000, **kwargs):
        super().shutdown(timeout_millis)
