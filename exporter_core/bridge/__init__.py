"""Between the contract and the OpenTelemetry SDK's own ``MetricExporter``: one as the other."""
