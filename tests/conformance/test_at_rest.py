"""Threads are at rest where each of them waits for another one, and none for a time that is soon over."""

import json
import subprocess
import sys

PROGRAM = """
import asyncio, json, socket, threading, time

from exporter_core import Context
from exporter_core.conformance.at_rest import AtRest
from exporter_core.sync import Signal


def poll(end):
    while not end.wait(0.05):
        pass


def call_later(end):
    loop = asyncio.new_event_loop()
    loop.call_later(0.6, end.wait)
    loop.call_later(0.7, loop.stop)
    loop.run_forever()
    loop.close()


def idle_loop(end):
    loop = asyncio.new_event_loop()
    threading.Thread(target=lambda: (end.wait(), loop.call_soon_threadsafe(loop.stop))).start()
    loop.run_forever()
    loop.close()


def read(end):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.settimeout(0.6)
        try:
            ours.recv(1)
        except TimeoutError:
            end.wait()


def await_signal(end):
    signal = Signal()
    threading.Thread(target=lambda: (end.wait(), signal.set())).start()
    signal.wait(3600)


def timer(end):
    timer = threading.Timer(5, print)
    timer.start()
    end.wait()
    timer.cancel()


WAITS = {
    "an event": lambda end: end.wait(),
    "an event for an hour": lambda end: end.wait(3600),
    "a signal for an hour": await_signal,
    "a pause of a context": lambda end: (Context.background().wait(0.6), end.wait()),
    "an event for a moment": lambda end: (threading.Event().wait(0.6), end.wait()),
    "a poll": poll,
    "a sleep": lambda end: (time.sleep(0.6), end.wait()),
    "an event loop's timer": call_later,
    "an idle event loop": idle_loop,
    "a socket": read,
    "a timer": timer,
}


def is_at_rest(wait):
    end, at_rest = threading.Event(), AtRest()
    thread = threading.Thread(target=wait, args=(end,))
    thread.start()
    limit = time.monotonic() + 0.4
    while not (found := at_rest()) and time.monotonic() < limit:
        time.sleep(0.005)
    end.set()
    thread.join()
    return found


print(json.dumps({name: is_at_rest(wait) for name, wait in WAITS.items()}))
"""


def test_only_waits_for_other_threads_are_a_rest() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True, text=True)
    found = json.loads(done.stdout)
    assert {name for name, rests in found.items() if rests} == {
        "an event",
        "an event for an hour",
        "a signal for an hour",
        "an idle event loop",
    }
