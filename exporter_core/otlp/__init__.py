"""The OTLP wire codec: the SDK's metrics data to and from protobuf and JSON, without protobuf's generated classes.

Not an exporter: nothing here opens a connection or a file. Names are imported when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter_core.lazy import lazy_names

if TYPE_CHECKING:
    from exporter_core.otlp.decoder import DecodeError as DecodeError, decode as decode
    from exporter_core.otlp.encoder import (
        Encoded as Encoded,
        Encoder as Encoder,
        JsonEncoder as JsonEncoder,
        Requests as Requests,
        encode as encode,
        encode_json as encode_json,
    )
    from exporter_core.otlp.json_decoder import decode_json as decode_json
    from exporter_core.otlp.planning import DroppedPoint as DroppedPoint
    from exporter_core.otlp.trust import is_trusted as is_trusted, mark_trusted as mark_trusted
    from exporter_core.otlp.wire import VARINTS as VARINTS, field as field

_MODULE_OF = {
    "DecodeError": "decoder",
    "decode": "decoder",
    "Encoded": "encoder",
    "Encoder": "encoder",
    "JsonEncoder": "encoder",
    "Requests": "encoder",
    "encode": "encoder",
    "encode_json": "encoder",
    "decode_json": "json_decoder",
    "DroppedPoint": "planning",
    "is_trusted": "trust",
    "mark_trusted": "trust",
    "VARINTS": "wire",
    "field": "wire",
}

__all__ = [
    "VARINTS",
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
    "field",
    "is_trusted",
    "mark_trusted",
]

__getattr__, __dir__ = lazy_names(__name__, _MODULE_OF)
