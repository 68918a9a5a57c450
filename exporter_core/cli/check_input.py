"""The options of ``exporter-core check --config``: a mapping in JSON or YAML, or a file with one."""

from __future__ import annotations

import os
from typing import Any

from exporter_core.errors import ConfigError, ConfigProblem


def options_of(text: str) -> dict[str, Any]:  # Any: options of an exporter
    """Return the options in a mapping of JSON or YAML, or in a file with one, environment variables substituted.

    A text that is no mapping is the name of a file.

    Raises:
        ConfigError: it is neither; with the position of the problem.
    """
    source = "--config"
    document = _parsed(text, source)
    if isinstance(document, str) and "\n" not in text.strip():
        from exporter_core.config.files import read_text  # noqa: PLC0415 - only for a file

        source = text
        document = _parsed(read_text(text), source)
    if not isinstance(document, dict):
        kind = "null" if document is None else type(document).__name__
        raise ConfigError([ConfigProblem(f"expected a mapping in JSON or YAML, not {kind}", source=source)])
    return document


def _parsed(text: str, source: str) -> object:
    from exporter_core.config.yaml import parse  # noqa: PLC0415 - only for options

    document = parse(text, source=source, environ=os.environ)
    if document.problems:
        raise ConfigError(document.problems)
    return document.root.data()
