"""Observing an exporter: harnesses, sinks as harnesses, tokens, and the journal of events."""
