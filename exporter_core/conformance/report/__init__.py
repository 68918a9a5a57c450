"""Reports of the checker: JSON, which has everything, and made of the same, text, HTML and JUnit XML."""

from exporter_core.conformance.report.conclusion import Conclusion, conclude
from exporter_core.conformance.report.json_report import as_json, json_schema
from exporter_core.conformance.report.junit import as_junit
from exporter_core.conformance.report.text import as_text

__all__ = ["Conclusion", "as_json", "as_junit", "as_text", "conclude", "json_schema"]
