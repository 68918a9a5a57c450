"""The place in the exporter's own code where a call raised or waits, for a report."""

from __future__ import annotations

import inspect
import os
import sys
import traceback
from typing import TYPE_CHECKING, Any

from exporter_core.conformance.scheduled import package_of, with_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from threading import Thread
    from types import FrameType

_DEEPEST = 20  # errors of a chain that are looked at


def own_files(exporter_class: Any) -> tuple[str, ...]:  # Any: see Subject
    """The beginnings of the names of the files with the exporter's own code: its package's folder, or its module."""
    found: list[str] = []
    for name in dict.fromkeys(one.__module__ for one in inspect.getmro(exporter_class)):
        module = package_of(name) or with_source(name)
        of_ours = name.startswith("exporter_core.") and found
        if module is None or of_ours or name.partition(".")[0] in sys.stdlib_module_names:
            continue
        file = str(module.__file__)
        found.append(f"{os.path.dirname(file)}{os.sep}" if hasattr(module, "__path__") else file)  # noqa: PTH120 - a text
    return tuple(found)


def raised_in(error: BaseException | None, files: tuple[str, ...]) -> str:
    """FILE:LINE of the last line of the exporter's own that the error passed through, or one that it chains."""
    for one in _chain(error):
        frames = [frame for frame in traceback.extract_tb(one.__traceback__) if frame.filename.startswith(files)]
        if frames:
            return f"{_short(frames[-1].filename)}:{frames[-1].lineno}, in {frames[-1].name}"
    return ""


def waits_in(thread: Thread, files: tuple[str, ...]) -> tuple[str, str]:
    """FILE:LINE of the innermost line of the exporter's own at which it waits now, and the whole stack.

    The call's own thread goes first; behind the guard, and on an event loop, another one runs the exporter's code.
    """
    stacks = sys._current_frames()
    first = stacks.pop(thread.ident or 0, None)
    for frame in filter(None, (first, *stacks.values())):
        for one in _inwards(frame):
            if one.f_code.co_filename.startswith(files):
                place = f"{_short(one.f_code.co_filename)}:{one.f_lineno}, in {one.f_code.co_name}"
                return place, "".join(traceback.format_stack(frame))
    return "", "" if first is None else "".join(traceback.format_stack(first))


def _short(file: str) -> str:
    """The file's name as it stands below the import path."""
    below = [file.removeprefix(f"{one}{os.sep}") for one in sys.path if one]
    return min([file, *below], key=len)


def _inwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _chain(error: BaseException | None) -> Iterable[BaseException]:
    found: list[BaseException] = []
    while error is not None and error not in found and len(found) < _DEEPEST:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found
