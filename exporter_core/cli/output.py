"""Output of commands: text or JSON on standard output or in a file, errors and warnings on standard error.

Every error of the command line is written here.
"""

from __future__ import annotations

import io
import os
import re
import sys
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any, Final, TextIO

from exporter_core.errors import ConfigError, ExporterCoreError, SetupError
from exporter_core.printable import printable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rich.console import Console, RenderableType

    from exporter_core.errors import ConfigProblem

STANDARD_OUTPUT: Final = "-"
"""The file name that stands for standard output."""

_PLAIN: Final = {
    "Input should be a valid number.*": "expected a number",
    "Input should be a valid integer.*": "expected a whole number",
    "Input should be greater than or equal to ": "expected at least ",
    "Input should be less than or equal to ": "expected at most ",
    "Value error, ": "",
}
"""Plain words for the messages of pydantic that Typer quotes, by pattern."""

_UNLIMITED = 10_000  # columns; a file or a pipe has no width


def coloured(stream: TextIO) -> bool:
    """Return True if colours are written to this stream: it is a terminal with colours, and NO_COLOR is not set."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") in {"dumb", "unknown"}:
        return False
    return stream.isatty()


def console(stream: TextIO | None = None) -> Console:
    """Return a rich console on standard output, or on another stream; a file or pipe gets plain, unbroken lines."""
    from rich.console import Console  # noqa: PLC0415 - programs that read JSON need not wait for it

    stream = stream or _stdout()
    return Console(
        file=stream,
        force_terminal=stream.isatty(),
        color_system="auto" if coloured(stream) else None,
        width=None if stream.isatty() else _UNLIMITED,
        highlight=False,
        markup=False,
        emoji=False,
    )


def show(renderable: RenderableType, *, soft_wrap: bool = False) -> None:
    """Write a text, table or other renderable of rich's to standard output, at once.

    A file or pipe gets no padding. Characters that the encoding lacks become escapes, and lines of tables ASCII.

    Args:
        renderable: the text or table.
        soft_wrap: let the terminal break lines, so that they can be copied in one piece.
    """
    out = console()
    rendered = io.BytesIO()
    encoding = _stdout().encoding or "utf-8"
    out.file = io.TextIOWrapper(rendered, encoding, "backslashreplace", newline="\n", write_through=True)
    out.print(renderable, soft_wrap=soft_wrap)
    text = rendered.getvalue().decode(encoding)
    write(text if out.is_terminal else "".join(f"{line.rstrip()}\n" for line in text.splitlines()))
    _stdout().flush()


def emit_json(value: Any) -> None:  # Any: JSON
    """Write a JSON document to standard output."""
    import json  # noqa: PLC0415 - text output does without

    write(json.dumps(value, indent=2) + "\n")


def write(text: str) -> None:
    """Write to standard output; characters that its encoding lacks become escapes."""
    stream = _stdout()
    stream.write(_encodable(text, stream))


def check_writable(path: str | None) -> None:
    """Raise SetupError if :func:`write_result` could not write the file, or replace it; nothing is written."""
    if path is None or path == STANDARD_OUTPUT:
        return
    folder = os.path.dirname(path) or "."  # noqa: PTH120 - pathlib is not imported here
    if os.path.isdir(path):  # noqa: PTH112 - as above
        raise SetupError(f"{path}: is a directory; name a file")
    if not os.path.exists(folder):  # noqa: PTH110 - as above
        raise SetupError(f"{path}: cannot be written: the folder {folder} does not exist")
    if not os.access(path if os.path.exists(path) else folder, os.W_OK):  # noqa: PTH110 - as above
        raise SetupError(f"{path}: cannot be written: permission denied")


def write_result(path: str | None, text: str, *, replace: bool = False) -> None:
    """Write a command's result, in UTF-8.

    Args:
        path: the file; its folder has to exist. None and ``-`` are standard output.
        text: the result.
        replace: replace a file that exists.

    Raises:
        SetupError: the file exists, or cannot be written; one line with the reason.
    """
    if path is None or path == STANDARD_OUTPUT:
        write(text)
        return
    try:
        with open(path or ".", "w" if replace else "x", encoding="utf-8") as file:  # noqa: PTH123 - as above
            file.write(text)
    except (FileExistsError, IsADirectoryError):
        directory = os.path.isdir(path or ".")  # noqa: PTH112 - as above
        problem = "is a directory; name a file" if directory else "exists; --force replaces it"
        raise SetupError(f"{path}: {problem}") from None
    except OSError as error:
        raise SetupError(f"{path}: cannot be written: {error.strerror or error}") from None
    except ValueError:
        raise SetupError(f"{path!s:.80}: cannot be written: its name has a null character") from None


def discard_output() -> None:
    """Discard the buffered rest of standard output, which the interpreter would try to write again at its exit."""
    try:
        _write_nowhere(_stdout().fileno())
    except (OSError, ExporterCoreError):
        pass  # it is closed, or no file


def _write_nowhere(fd: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, fd)
    os.close(null)


def _stdout() -> TextIO:
    if sys.stdout is None:  # the process was started without one
        raise ExporterCoreError("standard output is closed")
    return sys.stdout


def _encodable(text: str, stream: TextIO) -> str:
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def stdout_kept(when: bool = True) -> Iterator[None]:
    """Redirect standard output to standard error meanwhile: plugins may print, and it is for the answer alone."""
    if not when:
        yield
        return
    out = _stdout()
    out.flush()
    kept = os.dup(1)
    if sys.stderr is None:
        _write_nowhere(1)
    else:
        os.dup2(2, 1)  # also for output that does not go through sys.stdout
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        out.flush()
        os.dup2(kept, 1)
        os.close(kept)


def fail(message: str) -> None:
    """Write an error, one line, to standard error."""
    _say("error", "31", message)


def warn(message: str, *, timed: bool = False) -> None:
    """Write a warning, one line, to standard error; ``timed`` puts the local time in front."""
    _say("warning", "33", message, timed=timed)


def inform(message: str) -> None:
    """Write what goes well, one line with the local time, to standard error."""
    _say("info", "32", message, timed=True)


def warn_of(problem: ConfigProblem) -> None:
    """Write a warning about a place in a file: ``FILE:LINE:COL: warning: message``."""
    where = str(problem).removesuffix(problem.message)
    _write(f"{printable(where)}{_word('warning', '33')} {printable(problem.message)}")


def write_note(text: str) -> None:
    """Write a line of what is worth knowing to standard error."""
    _write(printable(text))


def write_traceback(text: str) -> None:
    """Write a traceback to standard error, for ``--verbose``."""
    for line in text.splitlines():
        _write(printable(line))


@contextmanager
def tracebacks(verbose: bool) -> Iterator[None]:
    """Write the traceback of a plugin's error that ends the block, secrets masked, if ``verbose``."""
    try:
        yield
    except ExporterCoreError as error:
        if verbose and error.__cause__ is not None:
            from traceback import format_exception  # noqa: PLC0415 - errors only

            from exporter_core.masking import Masker, cause_of  # noqa: PLC0415 - as above

            masker = Masker()
            write_traceback(masker("".join(format_exception(cause_of(error.__cause__, masker)))))
        raise


def report(error: ExporterCoreError) -> int:
    """Write an error, a line for each of its problems, and return the exit code.

    2: the request is wrong or cannot be built. 1: it was tried, and failed.
    """
    if isinstance(error, ConfigError):
        for problem in error.problems:
            if problem.source is None:
                fail(str(problem))
            else:
                _write(printable(str(problem)))
    else:
        from exporter_core.untrusted import place_of_cause  # noqa: PLC0415 - errors only

        first, *rest = str(error).splitlines() or [type(error).__name__]
        for line in (f"{first}{place_of_cause(error)}", *rest):
            fail(line)
    return 2 if isinstance(error, SetupError) else 1


def with_place(error: Exception) -> str:
    """Return an error in one line, with the place where a plugin raised its cause if that is no error of this package.

    The latter are raised on purpose, and say what is wrong.
    """
    from exporter_core.errors import ExporterCoreError  # noqa: PLC0415 - errors only
    from exporter_core.untrusted import is_a, place_of_cause  # noqa: PLC0415 - errors only

    text = " ".join(str(error).split())
    cause = error.__cause__
    return text if cause is None or is_a(cause, ExporterCoreError) else f"{text}{place_of_cause(error)}"


def report_usage(error: Any) -> int:  # Any: Typer's usage errors have no public type
    """Write Typer's usage error on one line, and return the exit code."""
    message = " ".join(error.format_message().split()).rstrip(".").replace(". Did you", "; did you")
    for pydantics, plain in _PLAIN.items():
        message = re.sub(pydantics, plain, message)
    possible = getattr(error, "possibilities", None)
    if possible:
        message = f"{error.message.rstrip('.')}; did you mean {min(possible)}?"
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    fail(f"{message[:1].lower()}{message[1:]}{hint}")
    return 2


def _say(word: str, colour: str, message: str, *, timed: bool = False) -> None:
    from datetime import datetime  # noqa: PLC0415 - of use to few commands

    time = f"{datetime.now().astimezone().isoformat(timespec='seconds')} " if timed else ""
    _write(f"{time}{_word(word, colour)} {printable(' '.join(message.split()))}")


def _word(word: str, colour: str) -> str:
    return f"\033[1;{colour}m{word}:\033[0m" if sys.stderr is not None and coloured(sys.stderr) else f"{word}:"


def _write(line: str) -> None:
    """Write to standard error. If it is closed or full, nothing happens: there is nowhere else to report it."""
    if sys.stderr is None:
        return
    try:
        if sys.stdout is not None:
            sys.stdout.flush()  # where both go to one place, lines stand in the order in which they were written
    except OSError:
        pass  # reported at the end of the command, which flushes again
    try:
        sys.stderr.write(_encodable(f"{line}\n", sys.stderr))
        sys.stderr.flush()
    except OSError:
        pass
