"""Scripted backends on the loopback interface, to test exporters against.

A sink runs in a process of its own, started by a ``with`` block and ended with it (or with its parent). It records
every request and every data point with a stamp whose order holds across processes, fails on demand, and can be shut::

    with OtlpHttpSink() as sink:
        sink.script("status:503", "retry-after:0")     # two requests fail, the third succeeds
        ...                                            # export to sink.endpoint
        [point.identity for point in sink.points()]

        with sink.shut() as gate:                      # nothing gets through
            ...                                        # start an export on another thread
            gate.await_entered()                       # it is inside the sink
            gate.open()

Sinks: :class:`OtlpHttpSink`, :class:`OtlpGrpcSink`, :class:`RemoteWriteSink`, :class:`HttpSink`, :class:`TcpSink`,
:class:`FileSink`, :class:`StdoutSink`; :func:`start_sinks` starts several in one process, :class:`SinkHost` one after
the other. OTLP and remote write need the extra ``conformance``. The faults are listed in ``docs/conformance-sinks.md``.
"""

from exporter_core.conformance.sinks.errors import SinkError, SinkPortTakenError, SinkStartError, SinkTimeoutError
from exporter_core.conformance.sinks.process import SinkHost
from exporter_core.conformance.sinks.records import Connection, Line, Point, Request, Stamp, stamp
from exporter_core.conformance.sinks.sink import (
    FileSink,
    Gate,
    HttpSink,
    OtlpGrpcSink,
    OtlpHttpSink,
    RemoteWriteSink,
    Sink,
    StdoutSink,
    TcpSink,
    start_sinks,
)

__all__ = [
    "Connection",
    "FileSink",
    "Gate",
    "HttpSink",
    "Line",
    "OtlpGrpcSink",
    "OtlpHttpSink",
    "Point",
    "RemoteWriteSink",
    "Request",
    "Sink",
    "SinkError",
    "SinkHost",
    "SinkPortTakenError",
    "SinkStartError",
    "SinkTimeoutError",
    "Stamp",
    "StdoutSink",
    "TcpSink",
    "stamp",
    "start_sinks",
]
