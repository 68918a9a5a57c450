"""A fork server forks one child for each order, tells how it ends, and leaves none behind."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys

import pytest

from exporter_core.fork_server import ForkServer

PROGRAM = """
import os, signal, sys, time
from exporter_core.fork_server import serve

def work(order, descriptors):
    exec(order["do"])

serve(sys.argv[1:], work)
"""
COMMAND = [sys.executable, "-c", PROGRAM]
HANG = "while True: time.sleep(60)"
LONG = 30.0


@pytest.fixture(scope="module")
def server():
    with ForkServer(COMMAND) as server:
        yield server


@pytest.fixture
def ended(until):
    """Wait until a child has ended by itself; its exit code."""

    def ended(child):
        assert child.started(LONG)
        until(lambda: child.ended)
        return child.end()

    return ended


@pytest.mark.parametrize(
    ("do", "code"),
    [
        ("pass", 0),
        ("raise ValueError", 1),
        ("os._exit(7)", 7),
        ("os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
    ],
)
def test_the_end_of_a_child_is_told(server, ended, do, code):
    assert ended(server.fork({"do": do}, 1)) == code


def test_a_child_has_copies_of_the_descriptors_and_a_group_of_its_own(server, ended):
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as said:
        with os.fdopen(writing, "wb") as file:
            child = server.fork({"do": "os.write(descriptors[0], b'%d' % os.getpgid(0))"}, 1, file.fileno())
        assert said.read() == b"%d" % (child.pid if child.started(LONG) else 0)
    assert ended(child) == 0


def test_a_child_that_hangs_is_killed_with_what_it_has_forked(server):
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as held:
        with os.fdopen(writing, "wb") as file:
            child = server.fork({"do": f"os.fork()\n{HANG}"}, 1, file.fileno())
        assert child.started(LONG)
        assert not child.ended
        assert child.end() == -signal.SIGKILL
        assert held.read() == b""  # nobody has the other end any more


def test_a_child_that_kills_its_parent_ends_and_the_server_goes_on(server, ended):
    child = server.fork({"do": f"os.kill(os.getppid(), signal.SIGKILL)\n{HANG}"}, 1)
    assert ended(child) is None
    assert ended(server.fork({"do": "pass"}, 1)) == 0


def test_a_server_that_has_ended_forks_nobody():
    with ForkServer([sys.executable, "-c", "raise SystemExit(3)"]) as server:
        child = server.fork({"do": "pass"}, 1)
        assert not child.started(LONG)
        assert child.ended
        assert child.end() is None
        assert server.exit_code(LONG) == 3


def test_a_child_whose_parents_parent_was_killed_does_not_stay():
    host = (
        "import sys\nfrom exporter_core.fork_server import ForkServer\n"
        f"server = ForkServer({COMMAND!r})\nchild = server.fork({{'do': {HANG!r}}}, 1)\n"
        f"assert child.started({LONG})\nprint('there', flush=True)\nsys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", host], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"there\n"
        process.kill()
        # The child has the pipe too, and lets go of it only by ending.
        assert select.select([process.stdout], [], [], LONG)[0]
        assert process.stdout.read() == b""
