"""Writing a report of the conformance checker in the form, and to the file, that the command line asks for."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from shutil import get_terminal_size
from typing import TYPE_CHECKING, Any, Literal, TypedDict

from exporter_core.cli import output
from exporter_core.cli.files import STANDARD_OUTPUT, write_result
from exporter_core.errors import SetupError

if TYPE_CHECKING:
    from exporter_core.conformance.run.engine import Report

Form = Literal["text", "json", "html", "junit"]

_NARROWEST, _WIDTH, _WIDEST = 70, 80, 110  # columns


class Look(TypedDict):
    """How text is to look."""

    colour: bool
    width: int


def text_look(file: str | None) -> Look:
    """Colours and the terminal's width where text goes to one, plain lines of 80 columns elsewhere."""
    if file not in (None, STANDARD_OUTPUT) or sys.stdout is None or not sys.stdout.isatty():
        return {"colour": False, "width": _WIDTH}
    return {
        "colour": output.coloured(sys.stdout),
        "width": max(_NARROWEST, min(get_terminal_size().columns, _WIDEST)),
    }


def as_json_text(value: Any) -> str:  # Any: JSON
    """The value as a JSON document."""
    return json.dumps(value, indent=2) + "\n"


def check_form(form: Form) -> None:
    """Raise SetupError if a report of this form cannot be made here: better before a check than after it."""
    if form == "html" and find_spec("jinja2") is None:
        raise SetupError("an HTML report needs Jinja2: pip install 'exporter-core[conformance]'")


def write_report(report: Report, form: Form, file: str | None, *, strict: bool) -> None:
    """Write the report, to standard output unless a file is given."""
    write_result(file, _text(report, form, file, strict=strict), replace=True)


def _text(report: Report, form: Form, file: str | None, *, strict: bool) -> str:
    from exporter_core.conformance import report as reports  # noqa: PLC0415 - imports the SDK

    if form == "json":
        return as_json_text(reports.as_json(report, strict=strict))
    if form == "junit":
        return reports.as_junit(report, strict=strict)
    if form == "html":
        from exporter_core.conformance.report.html import as_html  # noqa: PLC0415 - imports Jinja2

        return as_html(report, strict=strict)
    return reports.as_text(report, strict=strict, **text_look(file))
