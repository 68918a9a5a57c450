"""Programs whose children record: multiprocessing, forks from a thread, daemons. The argument says which."""

from __future__ import annotations

import multiprocessing
import os
import sys
import threading

CHILDREN = 4
EACH = 5


def numbers(child: int) -> list[str]:
    """Return the measurements of one child."""
    return [f"{child}-{number}" for number in range(EACH)]


def work(child: int) -> None:
    """Record the measurements of one child."""
    import service_app

    for number in numbers(child):
        service_app.record(number)


def processes(method: str) -> None:
    """Start processes that record and end."""
    context = multiprocessing.get_context(method)
    children = [context.Process(target=work, args=(child,)) for child in range(CHILDREN)]
    for child in children:
        child.start()
    for child in children:
        child.join()


def pool(method: str) -> None:
    """Have a pool of two record, and end it in good order."""
    with multiprocessing.get_context(method).Pool(2) as workers:
        workers.map(work, range(CHILDREN), chunksize=1)
        workers.close()
        workers.join()


def forked() -> None:
    """Fork children from a thread; each flushes and leaves through os._exit, the only way out of such a child."""
    import service_app

    def fork(child: int) -> None:
        pid = os.fork()
        if pid == 0:
            work(child)
            service_app.metrics.flush()
            os._exit(0)
        os.waitpid(pid, 0)

    for child in range(CHILDREN):
        thread = threading.Thread(target=fork, args=(child,))
        thread.start()
        thread.join()


def plain_forks() -> None:
    """Fork children from the main thread; each goes on to the interpreter's exit."""
    for child in range(CHILDREN):
        pid = os.fork()
        if pid == 0:
            work(child)
            sys.exit(0)
        os.waitpid(pid, 0)


def daemon() -> None:
    """Become a daemon, by two forks, and record there; the parents leave through os._exit as daemons' parents do."""
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        while os.read(reading, 1):  # until the daemon has ended
            pass
        return
    os.close(reading)
    os.setsid()
    if os.fork():
        os._exit(0)
    work(0)


def main(way: str) -> None:
    """Run one of the ways, ``fork``, ``pool-spawn`` and so on."""
    if way not in {"process-spawn", "process-forkserver", "pool-spawn", "pool-forkserver"}:
        import service_app  # noqa: F401 - built before the children are made, as an application's import does
    kind, _, method = way.partition("-")
    if kind == "exit":
        work(0)
        return
    if kind == "process":
        processes(method)
    elif kind == "pool":
        pool(method)
    else:
        {"thread": forked, "fork": plain_forks, "daemon": daemon}[kind]()


if __name__ == "__main__":
    main(sys.argv[1])
