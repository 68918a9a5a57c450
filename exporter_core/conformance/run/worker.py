"""The program of the checker's fork server, and what its children do: the workers, in which an exporter runs.

A worker takes messages from a socket of its own, and sends its own there; standard output is the exporter's. The end of
the messages is the end of the worker. SIGUSR1 writes the stacks of all its threads to a file, also while C code holds
the interpreter's lock.
"""

from __future__ import annotations

import faulthandler
import gc
import importlib
import inspect
import os
import signal
import socket
import sys
import traceback
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporter_core.conformance.clause import clauses
from exporter_core.conformance.resources import keep_folders_in
from exporter_core.conformance.run.serving import serve as run_clauses
from exporter_core.fork_server import serve

if TYPE_CHECKING:
    from collections.abc import Mapping


def _entries(environment: Mapping[str, str]) -> list[str]:
    """The folders in ``PYTHONPATH``."""
    return [one for one in environment.get("PYTHONPATH", "").split(os.pathsep) if one]


def _work(path: list[str], order: dict[str, Any], descriptors: list[int]) -> None:  # Any: JSON
    """Run the clauses that messages name, in this child, as a process that was started with these things."""
    try:
        os.chdir(order["directory"])
        os.environ.clear()
        os.environ.update(order["environment"])
        sys.path[:] = [order["directory"], *_entries(order["environment"]), *path]
        importlib.invalidate_caches()
        keep_folders_in(Path(order["dump"]).parent)
        with Path(order["dump"]).open("w") as stacks:
            faulthandler.register(signal.SIGUSR1, stacks, all_threads=True)
            if order["seed"] is not None:
                from exporter_core.conformance.generated import batches_of  # noqa: PLC0415 - the import is half of it

                batches_of(order["seed"])
            run_clauses(socket.socket(fileno=descriptors[0]))
    except BaseException:
        traceback.print_exc()
        raise


def main() -> None:
    """Serve until the parent is gone."""
    clauses()
    inspect.getmodule(sys._getframe())  # keeps the files of all modules, which pydantic asks for in each worker
    gc.collect()
    gc.freeze()  # what is imported need not be looked through by every clause that counts what is left
    # The import path without the folder and the variable of the start, of which a worker has its own.
    path = sys.path[1 + len(_entries(os.environ)) :]
    serve(sys.argv[1:], partial(_work, path))


if __name__ == "__main__":
    main()
