"""The OTLP wire codec: the SDK's metrics data to and from protobuf and JSON, without protobuf's generated classes.

Not an exporter: nothing here opens a connection or a file.
"""

from exporter_core.otlp.decoder import DecodeError, decode
from exporter_core.otlp.encoder import Encoded, Encoder, JsonEncoder, Requests, encode, encode_json
from exporter_core.otlp.json_decoder import decode_json
from exporter_core.otlp.planning import DroppedPoint
from exporter_core.otlp.trust import is_trusted, mark_trusted

__all__ = [
    "DecodeError",
    "DroppedPoint",
    "Encoded",
    "Encoder",
    "JsonEncoder",
    "Requests",
    "decode",
    "decode_json",
    "encode",
    "encode_json",
    "is_trusted",
    "mark_trusted",
]
