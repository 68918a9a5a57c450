"""The runners: where a guarded exporter's code runs."""
