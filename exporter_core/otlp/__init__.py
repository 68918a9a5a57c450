"""The OTLP wire codec: the SDK's metrics data to and from bytes, without protobuf's generated classes.

Not an exporter: nothing here opens a connection or a file.
"""

from exporter_core.otlp.decoder import DecodeError, decode
from exporter_core.otlp.encoder import DroppedPoint, Encoded, Encoder, encode

__all__ = ["DecodeError", "DroppedPoint", "Encoded", "Encoder", "decode", "encode"]
