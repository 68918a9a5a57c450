"""The child's side of :mod:`exporter_core.discovery.check`: import one plugin, answer in a line of JSON."""

from __future__ import annotations

import inspect
import json
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from exporter_core.errors import SetupError
from exporter_core.masking import Masker, describe

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LONGEST = 2000  # characters of a failure
_LONGEST_DOCSTRING = 20_000  # characters
_LONGEST_ANSWER = 4 * 1024 * 1024  # bytes; the parent takes twice as many


def main(
    registry: Callable[..., Any],
    options_schema: Callable[[Any], dict[str, Any]],
    kinds: Iterable[Any],
    request: dict[str, Any],
    answer_fd: int,
) -> NoReturn:
    """Answer the request through the pipe, and end the process whatever the plugin has left running in it.

    Args:
        registry: the class ExporterRegistry (Any: this package cannot import it, nor what follows).
        options_schema: the function of that name, from a model to its JSON Schema.
        kinds: the instrument kinds.
        request: ``name``, ``build``, and ``path`` or None (Any: JSON).
        answer_fd: the pipe's writing end.
    """
    os.set_inheritable(answer_fd, False)
    status = 1
    try:
        answer = json.dumps(_answer(registry, options_schema, kinds, request)).encode() + b"\n"
        if len(answer) > _LONGEST_ANSWER:
            answer = json.dumps(_failed("the JSON Schema of its options is too long")).encode() + b"\n"
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except Exception:  # noqa: BLE001, S110 - the plugin may have put anything in its place; the answer counts
                pass
        while answer:
            answer = answer[os.write(answer_fd, answer) :]
        status = 0
    finally:
        os._exit(status)


def _answer(
    registry: Callable[..., Any],
    options_schema: Callable[[Any], dict[str, Any]],
    kinds: Iterable[Any],
    request: dict[str, Any],
) -> dict[str, Any]:  # Any: see main
    try:
        plugins = registry(path=request["path"])
        exporter = plugins.exporter_class(request["name"])
        schema = options_schema(plugins.config_model(request["name"]))
        docstring = exporter.__doc__ if isinstance(exporter.__doc__, str) else ""
        temporality = _temporality(plugins, kinds, request["name"]) if request["build"] else None
    except SetupError as error:
        return _failed(str(error))
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, and that is what is asked for
        return _failed(describe(error, Masker()))
    docstring = inspect.cleandoc(docstring[:_LONGEST_DOCSTRING])
    return {"failure": None, "docstring": docstring, "schema": schema, "temporality": temporality}


def _temporality(plugins: Any, kinds: Iterable[Any], name: str) -> dict[str, str] | None:  # Any: see main
    """What the exporter asks for by kind, when it is built with its options' defaults; None if it cannot be."""
    try:
        guarded = plugins.load(name)
    except SetupError:
        return None
    return {str(kind): guarded.temporality(kind).name.lower() for kind in kinds}


def _failed(message: str) -> dict[str, Any]:  # Any: JSON
    return {
        "failure": Masker()(" ".join(message.split()))[:_LONGEST],
        "docstring": "",
        "schema": None,
        "temporality": None,
    }
