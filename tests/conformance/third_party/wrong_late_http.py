"""Wrong exporters over HTTP, made from PlainHttp."""

from __future__ import annotations

import gzip
import http.client
import logging
import signal
import threading
import time
from urllib.parse import urljoin, urlsplit

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from exporter_core import Context, ExporterError, PartialSuccessError
from exporter_core.otlp import encode
from third_party.late_transport import Answer, Sender, Transient, Transport, judge
from third_party.right_late_http import PlainHttp

LOG = logging.getLogger(__name__)


# --- what an answer means


class _Dates(Sender):
    def judge(self, answer: Answer) -> None:
        if answer.status in (429, 502, 503, 504):
            value = answer.headers.get("Retry-After")
            raise Transient(f"status {answer.status}", None if value is None else float(value))
        judge(answer)


class SecondsOnly(PlainHttp):
    """Takes Retry-After for a number: a date there is a ValueError instead of another attempt."""

    sender_class = _Dates


class _Redirects(Transport):
    def request(self, context: Context, body: bytes, headers: dict) -> Answer:
        answer = super().request(context, body, headers)
        if answer.status not in (301, 302, 303):
            return answer
        path, self.path = self.path, urlsplit(urljoin("http://host" + self.path, answer.headers["Location"])).path
        try:
            there = super().request(context, b"", headers)
        finally:
            self.path = path
        if there.status == 200:
            return Answer(200, {"Content-Type": "application/x-protobuf"}, b"")
        return there


class _FollowsFound(Sender):
    transport_class = _Redirects


class FollowsFound(PlainHttp):
    """Follows 301, 302 and 303 as browsers do, without the body, and takes the page there for a success."""

    sender_class = _FollowsFound


class _TooLarge(Sender):
    def judge(self, answer: Answer) -> None:
        if answer.status == 413:
            LOG.warning("the batch was too large for the backend and was dropped")
            return
        judge(answer)


class DropsTooLarge(PlainHttp):
    """Logs a warning when the backend answers 413, drops the batch and returns."""

    sender_class = _TooLarge


class _PartialAgain(Sender):
    def judge(self, answer: Answer) -> None:
        try:
            judge(answer)
        except PartialSuccessError as error:
            raise Transient("a partial success") from error


class SendsPartialAgain(PlainHttp):
    """Sends the whole batch again after a partial success, though most of it was taken."""

    sender_class = _PartialAgain


class _EndsQuietly(Sender):
    attempts = 5

    def send(self, context: Context, body: bytes) -> None:
        pause = self.first_pause
        for _ in range(self.attempts):
            context.raise_if_done()
            try:
                return self.attempt(context, body)
            except Transient as failure:
                self.wait(context, max(pause, failure.retry_after or 0))
                pause *= 2


class FallsOffTheLongLoop(PlainHttp):
    """The loop of attempts ends without an error after the fifth one."""

    sender_class = _EndsQuietly


class _Rejected(Sender):
    def judge(self, answer: Answer) -> None:
        if answer.status in (401, 403):
            raise ExporterError(f"the token {self.config.token.get_secret_value()!r} was rejected: {answer.status}")
        judge(answer)


class QuotesRejectedToken(PlainHttp):
    """Names the token in the error when the backend answers 401 or 403."""

    sender_class = _Rejected


class _HalfAnswers(Transport):
    def request(self, context: Context, body: bytes, headers: dict) -> Answer:
        try:
            return super().request(context, body, headers)
        except http.client.IncompleteRead as error:
            self.close()
            return Answer(200, {"Content-Type": "application/x-protobuf"}, error.partial)


class _TakesHalf(Sender):
    transport_class = _HalfAnswers

    def judge(self, answer: Answer) -> None:
        try:
            judge(answer)
        except ExporterError as error:
            if answer.status != 200 or isinstance(error, PartialSuccessError):
                raise
            LOG.debug("an answer that cannot be read")


class CannotReadIsFine(PlainHttp):
    """Ignores a 200 whose body cannot be parsed, half answers included."""

    sender_class = _TakesHalf


# --- time


class _NeverRaises:
    def __init__(self, context: Context) -> None:
        self._context = context

    def raise_if_done(self) -> None:
        """The time-out of the request is thought to be enough."""

    def __getattr__(self, name):
        return getattr(self._context, name)


class _OrTen(Sender):
    def attempt(self, context, body: bytes) -> None:
        child = Context.with_timeout(context.remaining() or 10.0)
        handle = context.on_done(lambda: child.cancel() if context.remaining() != 0.0 else None)
        try:
            super().attempt(child, body)
        finally:
            handle.unregister()

    def wait(self, context: Context, seconds: float) -> None:
        context.wait(seconds)

    def send(self, context: Context, body: bytes) -> None:
        super().send(_NeverRaises(context), body)


class ZeroMeansTen(PlainHttp):
    """`remaining() or 10.0`: when no time is left after a back-off, the next attempt has ten seconds."""

    sender_class = _OrTen


class _WallPause(Sender):
    def wait(self, context: Context, seconds: float) -> None:
        until = time.time() + seconds
        while time.time() < until:
            context.wait(0.02)
            context.raise_if_done()


class WallClockPause(PlainHttp):
    """Counts the pause between two attempts on the wall clock."""

    sender_class = _WallPause


class _OneSleep(Sender):
    def wait(self, context: Context, seconds: float) -> None:
        if context.remaining() is not None and seconds > context.remaining():
            raise ExporterError("no time is left for another attempt")
        time.sleep(seconds)
        context.raise_if_done()


class SleepsShortPauses(PlainHttp):
    """Sleeps with time.sleep where the pause fits into the deadline; only a longer one gives up."""

    sender_class = _OneSleep


class _Floor(Transport):
    def request(self, context: Context, body: bytes, headers: dict) -> Answer:
        remaining = context.remaining()
        if remaining is not None and remaining < 2.0:
            longer = Context.with_timeout(2.0)
            handle = context.on_done(lambda: longer.cancel() if context.remaining() != 0.0 else None)
            try:
                return super().request(longer, body, headers)
            finally:
                handle.unregister()
        return super().request(context, body, headers)


class _FloorSender(Sender):
    transport_class = _Floor


class AtLeastTwoSeconds(PlainHttp):
    """Gives each request at least two seconds, whatever the deadline is."""

    sender_class = _FloorSender


class AlarmClock(PlainHttp):
    """Bounds an export with signal.setitimer and a SIGALRM handler of its own, which it leaves installed."""

    def deliver(self, context: Context, metrics) -> None:
        remaining = context.remaining()
        if remaining and threading.current_thread() is threading.main_thread():

            def too_late(*_):
                raise TimeoutError("the export took too long")

            signal.signal(signal.SIGALRM, too_late)
            signal.setitimer(signal.ITIMER_REAL, remaining + 1)
            try:
                super().deliver(context, metrics)
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
        else:
            super().deliver(context, metrics)


# --- what is sent


class _Gzips(Sender):
    def attempt(self, context: Context, body: bytes) -> None:
        if len(body) > 1_000_000:
            body = gzip.compress(body, 1)
        super().attempt(context, body)


class CompressesUnannounced(PlainHttp):
    """Compresses bodies above a megabyte and forgets to say so in Content-Encoding."""

    sender_class = _Gzips


class InParts(PlainHttp):
    """Right: sends 1000 points a request; what one refuses does not keep the others from being sent."""

    size = 1000

    def deliver(self, context: Context, metrics) -> None:
        whole = ExportMetricsServiceRequest.FromString(self.encode(metrics))
        errors: list[Exception] = []
        for part in [part.SerializeToString() for part in self.parts(whole)]:
            try:
                self.sender.send(context, part)
            except ExporterError as error:
                errors.append(error)
        self.conclude(errors)

    def conclude(self, errors: list[Exception]) -> None:
        failures = [error for error in errors if not isinstance(error, PartialSuccessError)]
        if failures:
            raise failures[0]
        if errors:
            raise PartialSuccessError("points were rejected", rejected_points=sum(e.rejected_points for e in errors))

    def parts(self, whole):
        part, room = ExportMetricsServiceRequest(), self.size
        sent = False
        for rm in whole.resource_metrics:
            for sm in rm.scope_metrics:
                for metric in sm.metrics:
                    kind = metric.WhichOneof("data")
                    points = list(getattr(metric, kind).data_points) if kind else []
                    first = True
                    while points or first:
                        if room <= 0:
                            yield part
                            sent = True
                            part, room = ExportMetricsServiceRequest(), self.size
                        taken, points = points[:room], points[room:]
                        room -= len(taken)
                        new = self.place(part, rm, sm)
                        self.head(new, metric, kind, first)
                        if kind:
                            getattr(new, kind).data_points.extend(taken)
                        first = False
        if part.resource_metrics or not sent:
            yield part

    def place(self, part, rm, sm):
        new_rm = part.resource_metrics.add(schema_url=rm.schema_url)
        new_rm.resource.CopyFrom(rm.resource)
        new_sm = new_rm.scope_metrics.add(schema_url=sm.schema_url)
        new_sm.scope.CopyFrom(sm.scope)
        return new_sm.metrics.add()

    def head(self, new, metric, kind, first) -> None:
        new.name, new.description, new.unit = metric.name, metric.description, metric.unit
        if kind is None:
            return
        data, old = getattr(new, kind), getattr(metric, kind)
        data.SetInParent()
        if kind != "gauge":
            data.aggregation_temporality = old.aggregation_temporality
        if kind == "sum":
            data.is_monotonic = old.is_monotonic


class PartsForgetKind(InParts):
    """Cuts large metrics into requests of 1000 points; the later parts of a sum are no longer monotonic."""

    def head(self, new, metric, kind, first) -> None:
        super().head(new, metric, kind, first)
        if kind == "sum" and not first:
            new.sum.is_monotonic = False


class PartsOfNumbers(InParts):
    """Cuts batches above 1000 points, and knows no exponential histograms when it does: they are left out."""

    def parts(self, whole):
        parts = list(super().parts(whole))
        if len(parts) > 1:
            for part in parts:
                for rm in part.resource_metrics:
                    for sm in rm.scope_metrics:
                        for index in reversed(range(len(sm.metrics))):
                            if sm.metrics[index].WhichOneof("data") == "exponential_histogram":
                                LOG.warning("unsupported data type")
                                del sm.metrics[index]
        return parts


class StopsAtPartial(InParts):
    """Sends 1000 points a request, and leaves out the requests after one of which points were rejected."""

    def deliver(self, context: Context, metrics) -> None:
        whole = ExportMetricsServiceRequest.FromString(self.encode(metrics))
        for part in [part.SerializeToString() for part in self.parts(whole)]:
            self.sender.send(context, part)


def _points(request):
    for rm in request.resource_metrics:
        for sm in rm.scope_metrics:
            for metric in sm.metrics:
                kind = metric.WhichOneof("data")
                for point in getattr(metric, kind).data_points if kind else ():
                    yield kind, point


class Rewrites(PlainHttp):
    """Base of those that translate points."""

    def encode(self, metrics) -> bytes:
        request = ExportMetricsServiceRequest.FromString(encode(metrics))
        for kind, point in _points(request):
            self.change(kind, point)
        return request.SerializeToString()

    def change(self, kind, point) -> None:
        """Nothing."""


class FalsyMinimum(Rewrites):
    """`if point.min:` loses the minimum and maximum of a histogram where they are 0."""

    def change(self, kind, point) -> None:
        if kind in ("histogram", "exponential_histogram"):
            if not point.min:
                point.ClearField("min")
            if not point.max:
                point.ClearField("max")


class CutsLongValues(Rewrites):
    """Cuts text values of attributes after 4096 characters."""

    def change(self, kind, point) -> None:
        for attribute in point.attributes:
            if attribute.value.HasField("string_value") and len(attribute.value.string_value) > 4096:
                attribute.value.string_value = attribute.value.string_value[:4096]


class LimitsAttributes(Rewrites):
    """Keeps the first 128 attributes of a point, as the limit of spans is."""

    def change(self, kind, point) -> None:
        del point.attributes[128:]


class LosesEmptyValues(Rewrites):
    """`{k: v for k, v in attributes.items() if v}`: attributes that are 0, False or empty are lost."""

    def change(self, kind, point) -> None:
        kept = []
        for a in point.attributes:
            which = a.value.WhichOneof("value")
            value = getattr(a.value, which) if which else None
            if which in ("array_value", "kvlist_value"):
                value = list(value.values)
            if value:
                kept.append(a)
        if len(kept) != len(point.attributes):
            kept = [type(a).FromString(a.SerializeToString()) for a in kept]
            del point.attributes[:]
            point.attributes.extend(kept)


class StripsSpace(Rewrites):
    """Strips white space around attribute values."""

    def change(self, kind, point) -> None:
        for attribute in point.attributes:
            if attribute.value.HasField("string_value"):
                attribute.value.string_value = attribute.value.string_value.strip()


class AppendsInfinity(PlainHttp):
    """Appends the bound +Inf to the histogram's own list of bounds, as Prometheus wants it."""

    def deliver(self, context: Context, metrics) -> None:
        super().deliver(context, metrics)
        for rm in metrics.resource_metrics:
            for sm in rm.scope_metrics:
                for metric in sm.metrics:
                    for point in metric.data.data_points:
                        bounds = getattr(point, "explicit_bounds", None)
                        if isinstance(bounds, list) and bounds and bounds[-1] != float("inf"):
                            bounds.append(float("inf"))


# --- resources

_TRANSPORTS: dict[str, Transport] = {}


class _ByHost(Sender):
    def __init__(self, config) -> None:
        super().__init__(config)
        self.transport = _TRANSPORTS.setdefault(self.transport.host, self.transport)

    def close(self) -> None:
        super().close()
        _TRANSPORTS.pop(self.transport.host, None)


class SharesByHost(PlainHttp):
    """Keeps connections in the module by host alone: a second exporter to another port uses the first one's."""

    sender_class = _ByHost

    def begin_anew(self) -> None:
        _TRANSPORTS.clear()
        super().begin_anew()


class SharesSocketWithChild(PlainHttp):
    """A forked child goes on with its parent's connection."""

    def begin_anew(self) -> None:
        """The connection works in the child too."""


class _LeavesUnread(Transport):
    def request(self, context: Context, body: bytes, headers: dict) -> Answer:
        from third_party.late_transport import connect

        try:
            if self.connection is None or self.connection.sock is None:
                self.connection = http.client.HTTPConnection(self.host, self.port)
                self.connection.sock = connect(context, self.host, self.port, self.tls)
            self.connection.sock.context = context
            self.connection.request("POST", self.path, body, headers)
            response = self.connection.getresponse()
            if response.status != 200:
                return Answer(response.status, response.headers, b"")  # of no interest: never read, never closed
            return Answer(response.status, response.headers, response.read())
        except BaseException:
            self.close()
            raise


class _LeavesUnreadSender(Sender):
    transport_class = _LeavesUnread


class LeavesErrorUnread(PlainHttp):
    """Does not read the body of an error, so that the kept connection cannot be used for the next request."""

    sender_class = _LeavesUnreadSender
