"""Bridges between the contract and the OpenTelemetry SDK's ``MetricExporter``.

``inbound`` makes an exporter of the SDK one of the contract; ``selection`` makes its options from its constructor;
``logs`` keeps what it logs, for the error.
"""
