"""Sockets of which every wait ends with a context, look-ups of names, what answers mean, and further attempts."""

from __future__ import annotations

import email.utils
import http.client
import io
import ipaddress
import select
import socket
import threading
import time
from urllib.parse import urlsplit

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse

from exporter_core import ExporterError, PartialSuccessError


class Retry(ExporterError):  # noqa: N818 - it asks for something
    """The attempt failed; another one may succeed, ``after`` so many seconds if the backend says so."""

    after = None


class Waiter:
    """Wakes a poll when the context is done."""

    def __init__(self, context):
        self.context = context
        self.near, self.far = socket.socketpair()
        self.far.setblocking(False)
        self.handle = context.on_done(self.wake)

    def wake(self):
        try:
            self.far.send(b"x")
        except OSError:
            pass

    def wait(self, sock, event):
        poll = select.poll()
        poll.register(self.near, select.POLLIN)
        poll.register(sock, event)
        self.context.raise_if_done()
        poll.poll()
        self.context.raise_if_done()

    def close(self):
        self.handle.unregister()
        self.near.close()
        self.far.close()


class Raw(io.RawIOBase):
    """What is received, as a file."""

    def __init__(self, owner):
        self.owner = owner

    def readable(self):
        return True

    def readinto(self, buffer):
        while True:
            try:
                return self.owner.sock.recv_into(buffer)
            except BlockingIOError:
                self.owner.waiter.wait(self.owner.sock, select.POLLIN)


class Timed:
    """What http.client needs of a socket."""

    def __init__(self, sock):
        self.sock, self.waiter = sock, None

    def sendall(self, data):
        view = memoryview(data)
        while view:
            try:
                view = view[self.sock.send(view) :]
            except BlockingIOError:
                self.waiter.wait(self.sock, select.POLLOUT)

    def makefile(self, *_):
        return io.BufferedReader(Raw(self))

    def stale(self):
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))

    def close(self):
        self.sock.close()


def lookup(context, host, port):
    try:
        ipaddress.ip_address(host)
        return host, port
    except ValueError:
        pass
    found, done = [], threading.Event()

    def ask():
        try:
            found.append(socket.getaddrinfo(host, port, socket.AF_INET, socket.SOCK_STREAM)[0][4])
        except OSError as error:
            found.append(error)
        done.set()

    thread = threading.Thread(target=ask, daemon=True)
    handle = context.on_done(done.set)
    thread.start()
    done.wait()
    handle.unregister()
    context.raise_if_done()
    thread.join()
    if isinstance(found[0], OSError):
        raise Retry("the host is not found") from found[0]
    return found[0]


def connect(context, waiter, host, port):
    address = lookup(context, host, port)
    sock = socket.socket()
    try:
        sock.setblocking(False)
        if sock.connect_ex(address):
            waiter.wait(sock, select.POLLOUT)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code:
                raise OSError(code, "cannot connect")  # noqa: TRY301 - the socket is closed below
    except BaseException:
        sock.close()
        raise
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return Timed(sock)


def seconds_of(text):
    if text is None:
        return None
    try:
        return max(0.0, float(text))
    except ValueError:
        pass
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except ValueError:
        return None


def partial_of(body):
    answer = ExportMetricsServiceResponse.FromString(body)
    return answer.partial_success.rejected_data_points


def judge(status, headers, body, seconds_of=seconds_of, partial_of=partial_of):
    """Raise unless the backend took it; the names in ``headers`` are in lower case."""
    if status in (429, 502, 503, 504):
        error = Retry(f"the backend answered {status}")
        error.after = seconds_of(headers.get("retry-after"))
        raise error
    if status != 200:
        raise ExporterError(f"the backend answered {status}")
    if headers.get("content-type", "").partition(";")[0].strip() != "application/x-protobuf":
        raise ExporterError("the answer is not OTLP")
    try:
        rejected = partial_of(body)
    except Exception as error:
        raise ExporterError("the answer is not OTLP") from error
    if rejected:
        raise PartialSuccessError("the backend refused some points", rejected_points=rejected)


def attempts(context, attempt, most=5):  # noqa: RET503 - the loop returns or raises
    """Attempt until one succeeds, with growing pauses."""
    pause = 0.3
    for number in range(1, most + 1):
        context.raise_if_done()
        try:
            return attempt()
        except Retry as error:
            wait = max(pause, error.after or 0)
            left = context.remaining()
            if number == most or (left is not None and wait >= left):
                raise ExporterError(f"gave up: {error}") from error
        context.wait(wait)
        context.raise_if_done()
        pause *= 2


def encoded(encoder, metrics):
    one = encoder.encode(metrics)
    return one.data, len(one.dropped)


class Connection:
    """One kept http.client connection."""

    def __init__(self, config):
        parts = urlsplit(config.endpoint)
        self.host, self.port, self.path = parts.hostname, parts.port or 80, parts.path or "/"
        self.headers = {"Content-Type": "application/x-protobuf", "User-Agent": "blind/1"}
        if config.token:
            self.headers["Authorization"] = "Bearer " + config.token.get_secret_value()
        self.http = None

    def read(self, response):
        return response.read()

    def post(self, context, body, judge=judge):
        waiter = Waiter(context)
        try:
            try:
                if self.http is not None and self.http.sock is not None and self.http.sock.stale():
                    self.close()
                if self.http is None or self.http.sock is None:
                    self.http = http.client.HTTPConnection(self.host, self.port)
                    self.http.sock = connect(context, waiter, self.host, self.port)
                self.http.sock.waiter = waiter
                self.http.request("POST", self.path, body, self.headers)
                response = self.http.getresponse()
                data = self.read(response)
                headers = {name.lower(): value for name, value in response.getheaders()}
            except http.client.IncompleteRead as error:
                raise ExporterError("the answer was cut short") from error
            except http.client.RemoteDisconnected as error:
                raise Retry("the connection was closed") from error
            except http.client.HTTPException as error:
                raise ExporterError("the answer is not HTTP") from error
            except Retry:
                raise
            except (ConnectionError, OSError) as error:
                if isinstance(error, TimeoutError) and context.done:
                    raise
                raise Retry("the connection failed") from error
        except BaseException:
            self.close()
            raise
        finally:
            waiter.close()
        judge(response.status, headers, data)

    def close(self):
        if self.http is not None:
            self.http.close()
            self.http = None
