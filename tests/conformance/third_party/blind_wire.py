"""A small HTTP/1.1 client over non-blocking sockets: every wait ends with the context."""

import errno
import json
import os
import select
import socket
import threading
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from exporter_core import ExporterError, PartialSuccessError

TICK = 0.02


class Broken(Exception):
    """The connection failed; worth another attempt."""


def resolve(context, host, port):
    try:
        socket.inet_pton(socket.AF_INET, host)
        return (host, port)
    except OSError:
        pass
    out = []
    ready = threading.Event()

    def look():
        try:
            out.append(socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4])
        except OSError as e:
            out.append(e)
        ready.set()

    threading.Thread(target=look, daemon=True).start()
    while not ready.wait(TICK):
        context.raise_if_done()
    if isinstance(out[0], OSError):
        raise Broken("the host is not found") from out[0]
    return out[0]


class Answer:
    def __init__(self, status, headers, body, complete):
        self.status, self.headers, self.body, self.complete = status, headers, body, complete


class Http:
    """One kept connection."""

    def __init__(self, url):
        p = urlsplit(url)
        self.host, self.port, self.path = p.hostname, p.port or 80, p.path or "/"
        self.sock = None

    def close(self):
        if self.sock is not None:
            self.sock.close()
            self.sock = None

    def _ready(self, context, write):
        while True:
            context.raise_if_done()
            r, w, _ = select.select([] if write else [self.sock], [self.sock] if write else [], [], TICK)
            if r or w:
                return

    def _connect(self, context):
        address = resolve(context, self.host, self.port)
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.setblocking(False)
        code = self.sock.connect_ex(address)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        self._ready(context, True)
        code = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))

    def _recv(self, context):
        self._ready(context, False)
        try:
            return self.sock.recv(65536)
        except BlockingIOError:
            return self._recv(context)

    def post(self, context, body, headers, chunks=None):
        try:
            if self.sock is not None and select.select([self.sock], [], [], 0)[0]:
                self.close()
            if self.sock is None:
                self._connect(context)
            head = f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
            length = {"Transfer-Encoding": "chunked"} if chunks is not None else {"Content-Length": len(body)}
            for k, v in {**headers, **length}.items():
                head += f"{k}: {v}\r\n"
            self._send(context, head.encode("latin-1") + b"\r\n" + (b"" if chunks is not None else body))
            for chunk in chunks or ():
                if chunk:
                    self._send(context, b"%x\r\n%s\r\n" % (len(chunk), chunk))
            if chunks is not None:
                self._send(context, b"0\r\n\r\n")
            return self._answer(context)
        except OSError as e:
            if isinstance(e, TimeoutError) and context.done:
                self.close()
                raise
            self.close()
            raise Broken("the connection failed") from e
        except BaseException:
            self.close()
            raise

    def _send(self, context, data):
        view = memoryview(data)
        while view:
            self._ready(context, True)
            try:
                view = view[self.sock.send(view) :]
            except BlockingIOError:
                pass

    def _answer(self, context):  # noqa: C901, PLR0912 - a parser of HTTP
        data = b""
        while b"\r\n\r\n" not in data:
            more = self._recv(context)
            if not more:
                self.close()
                if data:
                    return Answer(0, {}, data, False)
                raise Broken("the connection was closed")
            data += more
            if not b"HTTP/".startswith(data[:5]):
                self.close()
                return Answer(0, {}, data, False)
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        try:
            status = int(lines[0].split()[1])
        except (ValueError, IndexError):
            self.close()
            return Answer(0, {}, data, False)
        headers = {}
        for line in lines[1:]:
            k, _, v = line.partition(":")
            headers[k.strip().lower()] = v.strip()
        complete = True
        if "chunked" in headers.get("transfer-encoding", ""):
            while not rest.endswith(b"0\r\n\r\n"):
                more = self._recv(context)
                if not more:
                    complete = False
                    break
                rest += more
            body, left = b"", rest
            while complete and left:
                n, _, left = left.partition(b"\r\n")
                n = int(n, 16)
                body += left[:n]
                left = left[n + 2 :]
            rest = body
        elif status not in (204, 304):
            want = headers.get("content-length")
            while want is None or len(rest) < int(want):
                more = self._recv(context)
                if not more:
                    complete = want is None
                    self.close()
                    break
                rest += more
        if headers.get("connection", "").lower() == "close" or not complete:
            self.close()
        return Answer(status, headers, rest, complete)


def retry_after(value):
    if not value:
        return 0.0
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
        return max(0.0, (when - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 0.0


RETRYABLE = (429, 502, 503, 504)


def judge(answer):
    """None for success; else raises."""
    if answer.status == 200 and answer.complete:
        kind = answer.headers.get("content-type", "")
        if "protobuf" in kind:
            try:
                reply = ExportMetricsServiceResponse.FromString(answer.body)
            except Exception as e:
                raise ExporterError("the answer is not OTLP") from e
            n = reply.partial_success.rejected_data_points
        elif "json" in kind:
            try:
                p = json.loads(answer.body or b"{}").get("partialSuccess") or {}
                n = int(p.get("rejectedDataPoints") or 0)
            except (ValueError, AttributeError) as e:
                raise ExporterError("the answer is not OTLP") from e
        else:
            raise ExporterError("the answer is not OTLP")
        if n:
            raise PartialSuccessError("the backend refused some points", rejected_points=n)
        return
    if answer.status == 200:
        raise ExporterError("the answer was cut short")
    raise ExporterError(f"the backend answered {answer.status}")


def send(context, http, body, headers, *, attempts=6, first=0.5, judge=judge, retry_after=retry_after, pause=None):
    """Send with retries; returns when delivered."""
    wait = first
    for n in range(attempts):
        context.raise_if_done()
        asked = 0.0
        try:
            answer = http.post(context, body, headers)
        except Broken as e:
            failure = ExporterError(f"the backend cannot be reached: {e}")
            failure.__cause__ = e
        else:
            if answer.status not in RETRYABLE:
                return judge(answer)
            failure = ExporterError(f"the backend answered {answer.status}")
            asked = retry_after(answer.headers.get("retry-after"))
        if n + 1 == attempts:
            break
        (pause or context.wait)(max(wait, asked))
        if context.done:
            raise context.error() from failure
        wait *= 1.5
    raise failure
