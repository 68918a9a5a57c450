"""Reports of the checker: JSON, which has everything, and text for people."""

from exporter_core.conformance.report.conclusion import Conclusion, conclude
from exporter_core.conformance.report.json_report import as_json, json_schema
from exporter_core.conformance.report.text import as_text

__all__ = ["Conclusion", "as_json", "as_text", "conclude", "json_schema"]
