"""Plugins whose operations misbehave: each call is one error that names exporter and operation, on time and without
secrets, and a well-behaved exporter in the same process goes on."""

from __future__ import annotations

import pytest

from exporter_core.cli.inspection import check_all

SHUT_DOWN = "ExporterShutdownError: exporter {name!r}: export: the exporter has been shut down"
FAILED = "ExporterError: exporter {name!r}: {operation} failed: "
SOON = 0.5  # seconds that a call which hangs is given

# A Good exporter with this body; what export says each time, all else going well.
EXPORTS = {
    "raises": ("raise OSError(f'POST https://me:{SECRET}@host: 503')", FAILED + "OSError: POST https://***@host: 503"),
    "raises_its_key": ("raise OSError(self.config.password.get_secret_value())", FAILED + "OSError: ***"),
    "raises_a_long_chain": (
        (
            "try:\n            raise OSError(SECRET)\n        except OSError as error:\n"
            "            raise RuntimeError('refused') from error"
        ),
        FAILED + "RuntimeError: refused",
    ),
    "exits": ("raise SystemExit(3)", FAILED + "SystemExit: 3"),
    "interrupts": ("raise KeyboardInterrupt", FAILED + "KeyboardInterrupt"),
    "cancels": ("import asyncio; raise asyncio.CancelledError", FAILED + "CancelledError"),
    "generator_exit": ("raise GeneratorExit", FAILED + "GeneratorExit"),
    "base_exception": ("raise BaseException(f'odd {SECRET}')", FAILED + "BaseException: odd ***"),
    "stops_iterating": ("raise StopIteration(3)", FAILED + "StopIteration: 3"),
    "unprintable": ("raise Unprintable", FAILED + "Unprintable: (its message cannot be shown)"),
    "raises_without_end": ("raise OSError('x' * 10_000_000)", FAILED + f"OSError: {'x' * 900}..."),
    "recurses": ("self.export(context, metrics)", FAILED + "RecursionError: maximum recursion depth exceeded..."),
    "runs_out_of_memory": ("raise MemoryError", FAILED + "MemoryError"),
    "says_it_was_shut_down": (
        "raise ExporterShutdownError('really')",
        FAILED + "really",
    ),
    "says_it_is_late": ("raise DeadlineExceededError('really')", FAILED + "really"),
    "says_it_was_cancelled": ("raise ContextCancelledError('really')", FAILED + "really"),
    "cancels_its_own_context": (
        "context.cancel('mine'); context.raise_if_done()",
        FAILED + "the context was cancelled...",
    ),
    "rejects_nonsense": (
        "raise PartialSuccessError('some', rejected_points='many')",
        "PartialSuccessError: exporter {name!r}: export was accepted in part: some (rejected data points: 1)",
    ),
    "returns_true": ("return True", "ExporterError: ...: export returned bool; it has to return None, or raise"),
    "returns_a_result": (
        "from opentelemetry.sdk.metrics.export import MetricExportResult; return MetricExportResult.FAILURE",
        "ExporterError: ...: export returned MetricExportResult; it has to return None, or raise",
    ),
    "returns_a_coroutine": (
        "async def later(): ...\n        return later()",
        "ExporterError: ...: export returned coroutine; it has to return None, or raise",
    ),
    "returns_a_liar": (
        "class Liar:\n            __class__ = property(lambda self: exit())\n        return Liar()",
        "ExporterError: ...: export returned Liar; it has to return None, or raise",
    ),
    "calls_itself": (
        "guard.export(context, metrics)",
        FAILED + "exporter 'calls_itself': export: called from inside one of the exporter's own operations",
    ),
    "shuts_itself_down": (
        "guard.shutdown(context)",
        FAILED + "exporter 'shuts_itself_down': shutdown: called from inside one of the exporter's own operations",
    ),
    "starts_threads": (
        (
            "import threading\n        for _ in range(20):\n"
            "            threading.Thread(target=threading.Event().wait, daemon=True).start()"
        ),
        "ok",
    ),
    "empties_the_batch": ("metrics.resource_metrics.clear()", "ok"),
    "logs_nothing": ("import logging; logging.disable(logging.CRITICAL)", "ok"),
}

# The same with an async export.
ASYNC_EXPORTS = {
    "async_raises": ("raise OSError(SECRET)", FAILED + "OSError: ***"),
    "async_interrupts": ("raise KeyboardInterrupt", FAILED + "KeyboardInterrupt"),
    "async_exits": ("raise SystemExit(SECRET)", FAILED + "SystemExit: ***"),
    "async_cancels": ("import asyncio; raise asyncio.CancelledError", FAILED + "CancelledError"),
    "async_cancels_itself": (
        "import asyncio; asyncio.current_task().cancel(); await asyncio.sleep(0)",
        FAILED + "CancelledError",
    ),
    "stops_its_loop": ("import asyncio; asyncio.get_running_loop().stop()", "ok"),
    "closes_its_loop": (
        "import asyncio; asyncio.get_running_loop().close()",
        FAILED + "RuntimeError: Cannot close a running event loop",
    ),
    "leaves_a_task_that_interrupts": (
        (
            "import asyncio\n        async def later(): raise KeyboardInterrupt(SECRET)\n"
            "        self.task = asyncio.get_running_loop().create_task(later())\n        await asyncio.sleep(0)"
        ),
        "ok",
    ),
    "leaves_a_task_that_raises": (
        (
            "import asyncio\n        async def later(): raise OSError(SECRET)\n"
            "        asyncio.get_running_loop().create_task(later())\n        await asyncio.sleep(0)"
        ),
        "ok",
    ),
    "leaves_a_task_for_ever": (
        "import asyncio\n        self.task = asyncio.get_running_loop().create_task(asyncio.Event().wait())",
        "ok",
    ),
    "calls_itself_on_its_loop": (
        "guard.export(context, metrics)",
        FAILED + "exporter ...: export: called from inside one of the exporter's own operations",
    ),
    "cancels_every_task": (
        "import asyncio\n        for task in asyncio.all_tasks(): task.cancel()\n        await asyncio.sleep(0)",
        FAILED + "CancelledError",
    ),
}

# What another operation does; what it says.
OTHERS = {
    "flush_that_raises": ("force_flush", "raise OSError(SECRET)", FAILED + "OSError: ***"),
    "flush_that_interrupts": ("force_flush", "raise KeyboardInterrupt", FAILED + "KeyboardInterrupt"),
    "flush_that_answers": (
        "force_flush",
        "return 3",
        "ExporterError: ...: force_flush returned int; it has to ret...",
    ),
    "shutdown_that_raises": ("shutdown", "raise OSError(SECRET)", FAILED + "OSError: ***"),
    "shutdown_that_exits": ("shutdown", "raise SystemExit", FAILED + "SystemExit"),
    "shutdown_that_calls_itself": (
        "shutdown",
        "guard.shutdown(context)",
        FAILED + "exporter ...: shutdown: called from inside one of the exporter's own operations",
    ),
}

LATE = "DeadlineExceededError: exporter {name!r}: {operation} timed out; it still runs in the background"
BUSY = "ExporterBusyError: exporter {name!r}: {operation} refused: an earlier {operation} still runs in the background"
FOR_EVER = "import threading; threading.Event().wait()"

# Those that hang: the source, and what two exports, a force_flush and the shutdown say.
HANGING = {
    "hangs": (f"    def export(self, context, metrics): {FOR_EVER}", [LATE, BUSY, "ok", "..."]),
    "blocks_its_loop": (f"    async def export(self, context, metrics): {FOR_EVER}", [LATE, BUSY, "ok", "..."]),
    "cannot_be_cancelled": (
        (
            "    async def export(self, context, metrics):\n        import asyncio\n        while True:\n"
            "            try: await asyncio.Event().wait()\n            except BaseException: pass"
        ),
        [LATE, BUSY, "ok", "..."],
    ),
    "catches_all_and_goes_on": (
        (
            "    def export(self, context, metrics):\n        import threading\n        while True:\n"
            "            try:\n                threading.Event().wait(0.05)\n            except BaseException: pass"
        ),
        [LATE, BUSY, "ok", "..."],
    ),
    "flush_that_hangs": (f"    def force_flush(self, context): {FOR_EVER}", ["ok", "ok", LATE, "ok"]),
    "shutdown_that_hangs": (f"    def shutdown(self, context): {FOR_EVER}", ["ok", "ok", "ok", LATE]),
    "shutdown_that_blocks_its_loop": (
        f"    async def shutdown(self, context): {FOR_EVER}",
        ["ok", "ok", "ok", LATE],
    ),
    "waits_for_itself_elsewhere": (
        (
            "    def export(self, context, metrics):\n        import concurrent.futures\n"
            "        executor = concurrent.futures.ThreadPoolExecutor(1)\n"
            "        executor.submit(guard.export, context, metrics).result()"
        ),
        ["DeadlineExceededError: ...", "...Error: exporter ...", "ok", "..."],
    ),
}


def exporter(body, *, operation="export", asynchronous=False):
    parameters = "context, metrics" if operation == "export" else "context"
    return f"class Plugin(Good):\n    {'async ' * asynchronous}def {operation}(self, {parameters}):\n        {body}\n"


@pytest.fixture
def everything(site):
    """Install every specimen of this file; the names."""
    site.specimens({name: exporter(body) for name, (body, _) in EXPORTS.items()})
    site.specimens({name: exporter(body, asynchronous=True) for name, (body, _) in ASYNC_EXPORTS.items()})
    site.specimens({name: exporter(body, operation=operation) for name, (operation, body, _) in OTHERS.items()})
    site.specimens({name: f"class Plugin(Good):\n{body}\n" for name, (body, _) in HANGING.items()})


def heard(name, export="ok", force_flush="ok", shutdown="ok"):
    """What selecting a specimen and calling it says, the last error that its counts show left out."""
    said = ["ok", export, export, force_flush, shutdown, SHUT_DOWN]
    operations = ["", "export", "export", "force_flush", "shutdown", "export"]
    return [text.format(name=name, operation=operation) for text, operation in zip(said, operations, strict=True)]


CALLS = [("export", 30), ("export", 30), ("force_flush", 30), ("shutdown", 30), ("export", 30)]


def test_each_failure_is_one_error_without_secrets_and_the_host_goes_on(everything, visit, expect):
    expected = {name: heard(name, export=text) for name, (_, text) in {**EXPORTS, **ASYNC_EXPORTS}.items()}
    expected |= {name: heard(name, **{operation: text}) for name, (operation, _, text) in OTHERS.items()}
    said = visit([], **{name: {"calls": CALLS} for name in expected})
    expect({name: texts[:6] for name, texts in said.items()}, expected)


def test_each_that_hangs_is_left_behind_on_time_and_the_host_goes_on_and_ends(everything, visit, expect):
    operations = ("export", "export", "force_flush", "shutdown")
    # A shutdown beside a hung export waits for it, and may end at the deadline or a moment before.
    plans = {
        name: {
            "calls": [
                (call, 30 if text in {"ok", BUSY} else SOON) for call, text in zip(operations, texts, strict=True)
            ]
        }
        for name, (_, texts) in HANGING.items()
    }
    expected = {
        name: ["ok", *(text.format(name=name, operation=call) for text, call in zip(texts, operations, strict=True))]
        for name, (_, texts) in HANGING.items()
    }
    expect({name: texts[:5] for name, texts in visit([], **plans).items()}, expected)


def test_a_check_calls_none_of_it_and_finds_them_usable(site, everything):
    entries = site.entries()
    sample = [entries[name] for name in ("hangs", "async_exits")]
    assert [result.failure for result in check_all(sample, path=site.path)] == [None] * 2
