"""Right exporters over HTTP: a helper process, a streamed body, and a pool of connections."""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import sys
import threading
import weakref
import zlib

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from exporter_core import ExporterError, PartialSuccessError
from exporter_core.authoring import keep_untouched
from third_party.blind_base import Base
from third_party.blind_wire import TICK, Answer, Broken, Http, send

HELPER = r"""
import json, socket, struct, sys
i, o = sys.stdin.buffer, sys.stdout.buffer
def read(n):
    d = i.read(n)
    if len(d) < n: sys.exit()
    return d
while True:
    n, m = struct.unpack("!II", read(8))
    meta = json.loads(read(n)); body = read(m)
    try:
        s = socket.create_connection((meta["host"], meta["port"]))
        with s:
            s.sendall(meta["head"].encode("latin-1") + body)
            data = b""
            while True:
                more = s.recv(65536)
                if not more: break
                data += more
        kind = b"D"
    except OSError as e:
        kind, data = b"E", str(e).encode()
    o.write(kind + struct.pack("!I", len(data)) + data); o.flush()
"""


def _end(p):
    p.kill()
    p.wait()
    p.stdin.close()
    p.stdout.close()


class Remote:
    def __init__(self, url):
        h = Http(url)
        self.host, self.port, self.path = h.host, h.port, h.path
        self.proc = None

    def close(self):
        p, self.proc = self.proc, None
        if p is not None:
            self.guard()

    def io(self, context, fd, data=None, n=0):
        os.set_blocking(fd, False)
        out = b""
        while data if data is not None else len(out) < n:
            context.raise_if_done()
            r, w, _ = select.select([] if data is not None else [fd], [fd] if data is not None else [], [], TICK)
            if not (r or w):
                continue
            try:
                if data is not None:
                    data = data[os.write(fd, data[:65536]) :]
                else:
                    more = os.read(fd, n - len(out))
                    if not more:
                        raise Broken("the helper has ended")
                    out += more
            except BlockingIOError:
                pass
        return out

    def post(self, context, body, headers):
        if self.proc is not None and self.proc.poll() is not None:
            self.close()
        if self.proc is None:
            self.proc = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", HELPER],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                close_fds=True,
            )
            self.guard = weakref.finalize(self, _end, self.proc)
        try:
            head = (
                f"POST {self.path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\n"
                f"Connection: close\r\nContent-Length: {len(body)}\r\n"
                + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
                + "\r\n"
            )
            meta = json.dumps({"host": self.host, "port": self.port, "head": head}).encode()
            self.io(
                context, self.proc.stdin.fileno(), memoryview(struct.pack("!II", len(meta), len(body)) + meta + body)
            )
            kind, n = struct.unpack("!cI", self.io(context, self.proc.stdout.fileno(), n=5))
            data = self.io(context, self.proc.stdout.fileno(), n=n)
        except OSError as e:
            self.close()
            if isinstance(e, TimeoutError) and context.done:
                raise
            raise Broken("the helper failed") from e
        except BaseException:
            self.close()
            raise
        if kind == b"E" or not data:
            raise Broken("the helper could not reach the backend")
        if not data.startswith(b"HTTP/"):
            return Answer(0, {}, data, False)
        head, sep, rest = data.partition(b"\r\n\r\n")
        lines = head.decode("latin-1").split("\r\n")
        h = {k.strip().lower(): v.strip() for k, _, v in (line.partition(":") for line in lines[1:])}
        try:
            status = int(lines[0].split()[1])
        except (ValueError, IndexError):
            return Answer(0, {}, data, False)
        return Answer(status, h, rest, bool(sep) and len(rest) == int(h.get("content-length", len(rest))))


class HelperProcess(Base):
    """Leaves the network to a helper process, with frames over its pipes; it is killed when the time is up."""

    remote = Remote

    def __init__(self, config):
        super().__init__(config)
        self.http = self.remote(config.endpoint)

    def begin_anew(self):
        keep_untouched(self.http.proc)
        if self.http.proc is not None:
            self.http.guard.detach()
        self.http.proc = None


class Streaming(Http):
    def post(self, context, pieces, headers):
        def chunks():
            z = zlib.compressobj(6, zlib.DEFLATED, 31)
            for p in pieces:
                yield z.compress(p)
            yield z.flush()

        return super().post(context, b"", headers, chunks())


class GzipStream(Base):
    """Streams the body in chunks, compressed on the fly, with a piece for each resource."""

    def __init__(self, config):
        super().__init__(config)
        self.http = Streaming(config.endpoint)

    def encode(self, metrics):
        try:
            return [
                ExportMetricsServiceRequest(resource_metrics=[self.enc.resource(r)]).SerializeToString()
                for r in metrics.resource_metrics
            ]
        except (ValueError, TypeError, OverflowError) as e:
            raise ExporterError("the metrics do not fit OTLP") from e

    def headers(self):
        return {**super().headers(), "Content-Encoding": "gzip"}


class ScopePool(Base):
    """Makes a request of each scope, and sends them over a pool of four connections, on short-lived threads."""

    size = 4

    def __init__(self, config):
        super().__init__(config)
        self.new_pool()

    def new_pool(self):
        self.connections = [Http(self.config.endpoint) for _ in range(self.size)]

    def parts(self, metrics):
        try:
            request = self.enc.request(metrics)
        except (ValueError, TypeError, OverflowError) as e:
            raise ExporterError("the metrics do not fit OTLP") from e
        for r in request.resource_metrics:
            for s in r.scope_metrics:
                p = ExportMetricsServiceRequest()
                p.resource_metrics.add(resource=r.resource, schema_url=r.schema_url).scope_metrics.append(s)
                yield p.SerializeToString()

    def deliver(self, context, metrics):
        todo, lock, errors = list(self.parts(metrics)), threading.Lock(), []
        headers = self.headers()

        def work(http):
            while True:
                with lock:
                    if not todo:
                        return
                    body = todo.pop(0)
                try:
                    send(context, http, body, headers)
                except BaseException as e:
                    with lock:
                        errors.append(e)
                    if context.done:
                        return

        threads = [
            threading.Thread(target=work, args=(h,), daemon=True) for h in self.connections[: max(0, len(todo) - 1)]
        ]
        for t in threads:
            t.start()
        work(self.http)
        for t in threads:
            t.join()
        hard = [e for e in errors if not isinstance(e, PartialSuccessError)]
        if hard:
            raise hard[0]
        if errors:
            raise PartialSuccessError(
                "the backend refused some points", rejected_points=sum(e.rejected_points for e in errors)
            )

    def release(self, context):
        for h in [self.http, *self.connections]:
            h.close()

    def begin_anew(self):
        for h in [self.http, *self.connections]:
            keep_untouched(h.sock)
        self.http.sock = None
        self.new_pool()
