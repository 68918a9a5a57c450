"""The process in which an exporter runs: it takes messages from a socket, and sends its own there.

The first argument is the socket's descriptor; standard output is the exporter's. The end of the messages is the end of
the process. SIGUSR1 writes the stacks of all threads to the file given as the second argument, also while C code holds
the interpreter's lock.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
from pathlib import Path


def main() -> int:
    """Run the clauses that messages name."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(channel.fileno(), False)
    with Path(sys.argv[2]).open("w") as stacks:
        faulthandler.register(signal.SIGUSR1, stacks, all_threads=True)
        from exporter_core.conformance.run.serving import serve  # noqa: PLC0415 - after the signal handler is there

        serve(channel)
    # Threads that an exporter has left behind are not to hold up the end.
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
