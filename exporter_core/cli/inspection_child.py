"""The child's side of :mod:`exporter_core.cli.inspection`: import one plugin, answer in a line of JSON."""

from __future__ import annotations

import inspect
import json
import os
import sys
from traceback import format_exception
from typing import Any, NoReturn

from exporter_core.contract import InstrumentKind
from exporter_core.errors import SetupError
from exporter_core.masking import Masker, cause_of, describe
from exporter_core.option_schema import options_schema
from exporter_core.pull import IsReaderError
from exporter_core.registry import ExporterRegistry
from exporter_core.untrusted import place_of

_LONGEST = 2000  # characters of a failure
_LONGEST_DOCSTRING = 20_000  # characters
_LONGEST_TRACEBACK = 20_000  # characters
_LONGEST_ANSWER = 4 * 1024 * 1024  # bytes; the parent takes twice as many


def main(request: dict[str, Any], answer_fd: int) -> NoReturn:
    """Answer the request through the pipe, and end the process whatever the plugin has left running in it.

    Args:
        request: ``name``, ``pull``, ``build``, and ``path`` or None (Any: JSON).
        answer_fd: the pipe's writing end.
    """
    os.set_inheritable(answer_fd, False)
    status = 1
    try:
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
        status = 0
    finally:
        os._exit(status)


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
