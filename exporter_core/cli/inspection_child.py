"""The children's side of :mod:`exporter_core.cli.inspection`: each imports one plugin and answers in a line of JSON."""

from __future__ import annotations

import inspect
import json
import os
import sys
from functools import partial
from itertools import count
from traceback import format_exception
from typing import TYPE_CHECKING, Any, NoReturn

from exporter_core.contract import InstrumentKind
from exporter_core.errors import SetupError
from exporter_core.fork_server import serve
from exporter_core.masking import Masker, cause_of, describe
from exporter_core.option_schema import options_schema
from exporter_core.pull import IsReaderError
from exporter_core.registry import ExporterRegistry
from exporter_core.untrusted import place_of

if TYPE_CHECKING:
    from collections.abc import Iterator

_MANY = 3  # plugins for which importing the SDK beforehand takes less time than it saves
_LONGEST = 2000  # characters of a failure
_LONGEST_DOCSTRING = 20_000  # characters
_LONGEST_TRACEBACK = 20_000  # characters
_LONGEST_ANSWER = 4 * 1024 * 1024  # bytes; the parent takes twice as many


def main(arguments: list[str]) -> NoReturn:
    """Fork a child for each request."""
    serve(arguments, _answer_request, partial(_prepare, count(1)))


def _prepare(requests: Iterator[int], _request: object) -> None:
    """Import the SDK once for all plugins that follow: the modules of most do."""
    if next(requests) != _MANY:
        return
    try:
        import opentelemetry.sdk.metrics.export  # noqa: F401, PLC0415 - only where it pays
    except Exception:  # noqa: BLE001, S110 - the plugins that need it say so
        pass


def _answer_request(request: dict[str, Any], descriptors: list[int]) -> None:
    """Answer the request through a pipe.

    Args:
        request: ``name``, ``pull``, ``build``, and ``path`` or None (Any: JSON).
        descriptors: the pipe's writing end.
    """
    (answer_fd,) = descriptors
    answer = json.dumps(_answer(**request)).encode() + b"\n"
    if len(answer) > _LONGEST_ANSWER:
        answer = json.dumps(_failed("the JSON Schema of its options is too long")).encode() + b"\n"
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # noqa: BLE001, S110 - the plugin may have put anything in its place; the answer counts
            pass
    while answer:
        answer = answer[os.write(answer_fd, answer) :]


def _answer(name: str, path: list[str] | None, build: bool, pull: bool) -> dict[str, Any]:  # Any: JSON
    try:
        registry = ExporterRegistry(path=path)
        docstring = registry.exporter_class(name, pull=pull).__doc__
        schema = options_schema(registry.config_model(name, pull=pull))
        temporality, shares = _preferences(registry, name) if build and not pull else (None, None)
    except SetupError as error:
        if isinstance(error.__cause__, IsReaderError):
            return _answer(name, path, build, pull=True)
        return _failed(str(error), error.__cause__)
    except BaseException as error:  # noqa: BLE001 - a plugin may raise anything, and that is the answer then
        return _failed(describe(error, Masker()), cause_of(error, Masker()))
    text = inspect.cleandoc(docstring[:_LONGEST_DOCSTRING]) if isinstance(docstring, str) else ""
    return {"failure": None, "docstring": text, "config_schema": schema, "temporality": temporality, "shares": shares}


def _preferences(registry: ExporterRegistry, name: str) -> tuple[dict[str, str] | None, bool | None]:
    """Build the exporter with its options' defaults; return its temporality by kind, and True if it can share.

    Both are None if it cannot be built.
    """
    from exporter_core.reader import shares_with_others  # noqa: PLC0415 - imports the SDK

    try:
        guarded = registry.load(name)
    except SetupError:
        return None, None
    return {str(kind): guarded.temporality(kind).name.lower() for kind in InstrumentKind}, shares_with_others(guarded)


def _failed(message: str, cause: BaseException | None = None) -> dict[str, Any]:  # Any: JSON
    """Return the answer for a failure; its cause tells where it was raised."""
    answer: dict[str, Any] = {"failure": Masker()(" ".join(message.split()))[:_LONGEST]}  # Any: as above
    if cause is not None:
        answer |= {"place": place_of(cause), "traceback": _traceback(cause)}
    return answer


def _traceback(cause: BaseException) -> str:
    try:
        return Masker()("".join(format_exception(cause)))[-_LONGEST_TRACEBACK:]
    except BaseException:  # noqa: BLE001 - the error's own code, which may do anything
        return ""
