"""The children's side of :mod:`exporter_core.cli.inspection`: each imports one plugin and answers in a line of JSON.

The server forks two processes for a plugin: the plugin's own, and one that watches it. So nothing that a plugin does to
its parent reaches the server.
"""

from __future__ import annotations

import inspect
import json
import os
import signal
import socket
import struct
import sys
from traceback import format_exception
from typing import Any, NoReturn, cast

from exporter_core.contract import InstrumentKind
from exporter_core.errors import SetupError
from exporter_core.masking import Masker, cause_of, describe
from exporter_core.option_schema import options_schema
from exporter_core.pull import IsReaderError
from exporter_core.registry import ExporterRegistry
from exporter_core.untrusted import place_of

_MESSAGE = struct.Struct("i")  # as the parent reads it
_MANY = 3  # plugins for which importing the SDK beforehand takes less time than it saves
_LONGEST = 2000  # characters of a failure
_LONGEST_DOCSTRING = 20_000  # characters
_LONGEST_TRACEBACK = 20_000  # characters
_LONGEST_ANSWER = 4 * 1024 * 1024  # bytes; the parent takes twice as many


def serve(control_fd: int) -> NoReturn:
    """Fork a child for each request that comes through the socket, until its other side is closed."""
    control, requests = socket.socket(fileno=control_fd), 0
    while fds := socket.recv_fds(control, 1, 4)[1]:
        requests += 1
        if requests == _MANY:
            _import_sdk()
        if os.fork() == 0:
            try:
                _watch(control_fd, *fds)
            finally:
                os._exit(1)
        for fd in fds:
            os.close(fd)
        _reap(os.WNOHANG)
    _reap(0)
    os._exit(0)


def _import_sdk() -> None:
    """Import the SDK once for all that follow: the modules of most plugins do."""
    try:
        import opentelemetry.sdk.metrics.export  # noqa: F401, PLC0415 - only where it pays
    except Exception:  # noqa: BLE001, S110 - the plugins that need it say so
        pass


def _reap(options: int) -> None:
    try:
        while os.waitpid(-1, options)[0]:
            pass
    except ChildProcessError:
        pass


def _watch(control_fd: int, request_fd: int, status_fd: int, answer_fd: int, output_fd: int) -> None:
    """Fork the plugin's process, tell its id and its exit status, and reap it when the socket is closed."""
    pid = os.fork()
    if pid == 0:
        os.setpgid(0, 0)
        with open(request_fd, encoding="utf-8") as file:
            request = json.load(file)
        for source, target in ((answer_fd, control_fd), (output_fd, 1), (output_fd, 2)):
            os.dup2(source, target)
        for fd in (status_fd, answer_fd, output_fd):
            os.close(fd)
        main(request, control_fd)
    try:
        os.setpgid(pid, pid)
    except OSError:
        pass  # it has done so itself
    with socket.socket(fileno=status_fd) as status:
        try:
            status.sendall(_MESSAGE.pack(pid))
            end = cast("os.waitid_result", os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT))
            status.sendall(_MESSAGE.pack(end.si_status if end.si_code == os.CLD_EXITED else -end.si_status))
            status.recv(1)
        except OSError:  # the other side has given up
            os.killpg(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


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
